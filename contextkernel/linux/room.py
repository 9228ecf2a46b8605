"""How much a tree holds, and a look now and then at whether one has grown too far."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from contextkernel.model.room import Growth

_OFTEN = 2.0  # seconds after which a directory is measured without any other sign
_SHARE = 20  # times what that took, at least, pass before the next


def tree_size(path: str) -> int:
    """Bytes of the files below ``path``, hard links once, as far as this user may look."""
    total, links, left = 0, set[tuple[int, int]](), [path]
    while left:
        try:
            entries = os.scandir(left.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(facts.st_mode):
                    left.append(entry.path)
                elif facts.st_nlink == 1 or (facts.st_dev, facts.st_ino) not in links:
                    links.add((facts.st_dev, facts.st_ino))
                    total += facts.st_size
    return total


def free_space(root: str) -> int:
    """Bytes that this user may still write in the file system of ``root``; plenty where it does not say."""
    try:
        state = os.statvfs(root)
    except OSError:
        return 1 << 62
    return state.f_bavail * state.f_frsize if state.f_blocks else 1 << 62


def bytes_written() -> int:
    """Bytes that this process has written so far, in all its threads (proc(5), ``wchar``); 0 where nobody tells."""
    try:
        with open("/proc/self/io", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("wchar:"))
    except (OSError, ValueError, StopIteration):
        return 0


class GrowthWatch:
    """Looks whether a directory has grown too far; cheap until there is a sign that it may have.

    Signs are: the file system has less room than before, this process has written as much as was left, or some time has
    passed: others fill the same file system, and free it. None of them counts: then the directory is measured.

    Args:
        growth: what may be.
        clock: seconds, growing; for tests.
    """

    def __init__(self, growth: Growth, clock: Callable[[], float] = time.monotonic) -> None:
        self._growth = growth
        self._clock = clock
        self._slack = max(0, growth.most - growth.size)
        self._free, self._written = free_space(growth.root), bytes_written()
        self._due = clock() + _OFTEN

    def exceeded(self) -> int:
        """Bytes that the directory has, if these are too many; else 0."""
        free, written, now = free_space(self._growth.root), bytes_written(), self._clock()
        if self._free - free <= self._slack and written - self._written <= self._slack and now < self._due:
            return 0
        size = tree_size(self._growth.directory)
        if size > self._growth.most:
            return size
        self._free, self._written, self._slack = free, written, self._growth.most - size
        after = self._clock()
        self._due = after + max(_OFTEN, _SHARE * (after - now))  # a large tree takes its time, a part of ours
        return 0
