"""Running containers: the pure launch plan, and the launcher, monitor and child processes that carry it out."""
