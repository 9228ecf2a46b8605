"""Command lines given to docker and to contextkernel, and what each of them did."""
