"""How much a directory tree holds."""

from __future__ import annotations

import os
import stat


def measure(path: str) -> int:
    """Bytes of the files below ``path``, each once however many names it has; directories do not count, as with docker.

    Args:
        path: a directory; one that is not there holds nothing.

    Raises:
        PermissionError: this process may not look into all of it.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    left = [path]
    while left:
        try:
            entries = os.scandir(left.pop())
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(facts.st_mode):
                    left.append(entry.path)
                elif facts.st_nlink == 1 or (facts.st_dev, facts.st_ino) not in seen:
                    seen.add((facts.st_dev, facts.st_ino))
                    total += facts.st_size
    return total
