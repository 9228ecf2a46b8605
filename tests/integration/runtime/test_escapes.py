"""Escapes of record, tried from inside of a container."""
