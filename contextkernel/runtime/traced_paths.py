"""Paths as a traced program sees them: which file of the host one means, found as proot finds it.

It is for what has to be known before proot is started: whether the program is there, and where something is shown.
What it says is not relied on for keeping anybody in: proot does that, and Landlock.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

_LINKS = 40  # the kernel's limit
_MAX_FILE = 10 << 20


class Place(NamedTuple):
    """What a path means.

    Attributes:
        guest: the path without links, as the program sees it.
        host: the same on the host.
        missing: how many of its last components do not exist.
    """

    guest: str
    host: str
    missing: int


class View:
    """The files that a traced program sees.

    Args:
        root: directory of the host that is its ``/``.
    """

    def __init__(self, root: str) -> None:
        self._shown: dict[str, str] = {"/": os.path.realpath(root)}

    def show(self, guest: str, host: str) -> None:
        """From now on ``guest``, a path without links, is ``host``."""
        self._shown[guest] = os.path.realpath(host)

    def host(self, guest: str) -> str:
        """Where a path without links is on the host."""
        shown, host = self.around(guest)
        rest = guest[len(shown) :].strip("/")
        return os.path.join(host, rest) if rest else host

    def around(self, guest: str) -> tuple[str, str]:
        """What is shown that ``guest``, a path without links, is in: its place, and where that is on the host."""
        best = max((one for one in self._shown if guest == one or guest.startswith(f"{one.rstrip('/')}/")), key=len)
        return best, self._shown[best]

    def find(self, path: str, *, directory: str = "/") -> Place:
        """Follow a path, and all links on it.

        Args:
            path: as the program says it.
            directory: where it is, for a path that is not absolute.

        Raises:
            OSError: ELOOP, or ENOTDIR for a path through something else than a directory.
        """
        waiting = [*reversed(path.split("/"))]
        guest = "/" if path.startswith("/") else self.find(directory).guest
        links = missing = 0
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                guest = os.path.dirname(guest)
                missing = max(missing - 1, 0)
                continue
            here = os.path.join(guest, name)
            if missing:
                guest, missing = here, missing + 1
                continue
            try:
                mode = os.lstat(self.host(here)).st_mode
            except FileNotFoundError:
                guest, missing = here, 1
                continue
            if stat.S_ISLNK(mode) and here not in self._shown:
                links += 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.readlink(self.host(here))
                waiting.extend(reversed(target.split("/")))
                guest = "/" if target.startswith("/") else guest
                continue
            guest = here
        return Place(guest, self.host(guest), missing)

    def read(self, path: str) -> str:
        """Text of a small file; empty if there is none, or it is no plain file."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.find(path).host, flags)
        except OSError:
            return ""
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return ""
            return file.read(_MAX_FILE).decode("utf-8", "surrogateescape")
