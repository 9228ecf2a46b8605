"""Values of the domain and the ports to the world. Pure: no I/O."""
