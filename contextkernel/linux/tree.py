"""Removing directory trees without leaving them."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Remove a file or directory tree; links are removed, not followed. A missing one is fine.

    Directories that their owner may not enter are made accessible first.

    Raises:
        OSError: something could not be removed.
    """
    parent = os.open(os.path.dirname(os.path.abspath(path)), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            _remove(parent, os.path.basename(path))
    finally:
        os.close(parent)


def _remove(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
        return
    except IsADirectoryError:
        pass
    except PermissionError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise
    try:
        directory = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        directory = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        if os.fstat(directory).st_mode & 0o700 != 0o700:
            with suppress(OSError):
                os.fchmod(directory, 0o700)
        for entry in os.listdir(directory):
            _remove(directory, entry)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=parent)
