"""Pausing a container: by its cgroup's freezer, or, where there is none, by a signal to each process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

_ROUNDS = 64  # a process that was not stopped yet may still fork


class Freezer(Protocol):
    """Pauses all processes of a container."""

    def freeze(self) -> None:
        """Pause them.

        Raises:
            ContextKernelError: refused; they run on.
        """
        ...

    def thaw(self) -> None:
        """Let them go on.

        Raises:
            ContextKernelError: refused.
        """
        ...


class SignalFreezer:
    """Stops each process with SIGSTOP; implements :class:`Freezer`. Programs inside may see that their children stop.

    Args:
        roots: process ids from which all others descend: the init, and what was started by ``exec``.
    """

    def __init__(self, roots: Callable[[], Iterable[int]]) -> None:
        self._roots = roots

    def freeze(self) -> None:
        """Stop all, until nobody is new: one that was missed may have forked."""
        stopped: set[int] = set()
        for _ in range(_ROUNDS):
            new = set(descendants(self._roots())) - stopped
            if not new:
                return
            for pid in new:
                with suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= new

    def thaw(self) -> None:
        """Continue all; children first, so that a parent finds them running."""
        for pid in reversed(descendants(self._roots())):
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)


def descendants(roots: Iterable[int]) -> list[int]:
    """``roots`` and all that descends from them, parents before children; those that have gone are left out.

    Orphans of a pid namespace belong to its init, so a container's processes are what descends from its init.
    """
    found: dict[int, None] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        below = children(pid)
        if below is None:
            continue
        found[pid] = None
        waiting.extend(below)
    return list(found)


def children(pid: int) -> list[int] | None:
    """Children of all threads of a process; ``None`` if it has gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    found: list[int] = []
    for thread in threads:
        with suppress(OSError, ValueError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            found.extend(map(int, file.read().split()))
    return found
