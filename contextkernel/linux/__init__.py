"""Thin wrappers of Linux system calls: one idiom each, errno becomes a typed error, no policy. ctypes is only here."""
