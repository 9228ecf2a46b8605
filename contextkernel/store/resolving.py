"""Where a path leads inside of a root that nobody else changes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from contextkernel.errors import InvalidInput, SyscallFailed
from contextkernel.layer.following import follow


def destination_in_root(root: int, path: str) -> str:
    """The clean relative path that ``path`` leads to when every link is followed inside of ``root``.

    Args, returns and errors are those of :func:`destination`.

    Args:
        root: descriptor of the directory that counts as ``/``.
        path: see there.
    """
    # every component on the way is known not to be a link, and nobody else changes this tree
    return destination(lambda step: os.readlink(step, dir_fd=root), path)


def destination(readlink: Callable[[str], str], path: str) -> str:
    """The clean relative path that ``path`` leads to when every link is followed inside of a root.

    The last component is followed too. What does not exist is taken as written.

    Args:
        readlink: gives the target of the link at a clean relative path; ``OSError`` as of readlink(2) where none is.
        path: absolute or relative, counts from there; ``..`` stops there.

    Raises:
        InvalidInput: the links go round in circles, or the name is impossible.
    """
    if "\0" in path:
        raise InvalidInput(f"path {path!r} contains a NUL byte")

    def link_at(step: str) -> str | None:
        try:
            return readlink(step)
        except OSError as problem:
            if problem.errno in {errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.EACCES}:
                return None
            if problem.errno == errno.ENAMETOOLONG:
                raise InvalidInput(f"path {path[:100]!r}... is too long") from problem
            raise SyscallFailed("readlink", problem.errno or 0, step) from problem

    return follow(path, link_at, lambda: InvalidInput(f"{path!r} leads through too many symbolic links"))
