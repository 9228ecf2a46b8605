"""How much a tree holds, and a look now and then at whether one has grown too far."""

from __future__ import annotations

import os
import stat

from contextkernel.model.room import Growth


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


class GrowthWatch:
    """Looks whether a directory has grown too far; cheap as long as the file system has not filled up by that much.

    Args:
        growth: what may be.
    """

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        self._free = free_space(growth.root)
        self._slack = growth.most - growth.size

    def exceeded(self) -> int:
        """Bytes that the directory has, if these are too many; else 0.

        Others write to the same file system: it says when to measure, not how much was written here.
        """
        free = free_space(self._growth.root)
        if self._free - free <= max(0, self._slack):
            return 0
        size = tree_size(self._growth.directory)
        if size > self._growth.most:
            return size
        self._free, self._slack = free, self._growth.most - size
        return 0
