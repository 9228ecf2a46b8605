"""What judges a build: cases, their contexts, docker's results and ours, and the differences."""
