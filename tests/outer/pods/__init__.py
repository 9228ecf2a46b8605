"""Environments as JupyterHub and Binder give them, made on this machine, and what the project does in each."""
