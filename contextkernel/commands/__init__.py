"""The docker grammar, declared once; three faces (command line, notebook, reference page) use it."""
