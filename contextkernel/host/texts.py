"""Small files of /proc and /sys."""

from __future__ import annotations


def text_of(path: str) -> str:
    """What a file says; empty where it cannot be read, or is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
