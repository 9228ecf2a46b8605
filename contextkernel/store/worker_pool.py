"""The processes of a layer worker: one for everything, and further ones while several layers are unpacked or rendered.

Much of that work is Python's, which uses one processor per process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from contextkernel.store.worker_helper import Helper
from contextkernel.store.worker_messages import Start

_MOST = 4  # processes; each takes some 25 MB


class Helpers:
    """Starts helper processes when they are needed, again after they died, and ends those that are not needed.

    Safe to use from several threads.

    Args:
        start: tells each what to be.
        most: how many at a time; default as many as there are processors for this process, 4 at most.
    """

    def __init__(self, start: Start, most: int | None = None) -> None:
        self._start = start
        self._most = most or min(len(os.sched_getaffinity(0)), _MOST)
        self._guard = threading.Lock()
        self._main: Helper | None = None
        self._further: list[Helper] = []
        self._jobs: dict[Helper, int] = {}  # large ones, of each process

    def main(self) -> Helper:
        """The one for everything."""
        with self._guard:
            return self._living()

    def _living(self) -> Helper:
        if self._main is None or self._main.gone:
            if self._main is not None:
                self._main.end()
            self._main = Helper(self._start)
        return self._main

    @contextmanager
    def spread(self) -> Iterator[Helper]:
        """One that has the fewest large jobs, and has one more meanwhile."""
        with self._guard:
            helper = self._least()
            self._jobs[helper] = self._jobs.get(helper, 0) + 1
        try:
            yield helper
        finally:
            with self._guard:
                self._jobs[helper] -= 1
                if not self._jobs[helper]:
                    del self._jobs[helper]
                ended = []
                if not self._jobs:
                    ended, self._further = self._further, []
            for one in ended:
                one.end()

    def _least(self) -> Helper:
        main = self._living()
        for helper in [one for one in self._further if one.gone and one not in self._jobs]:
            self._further.remove(helper)
            helper.end()
        living = [main, *(helper for helper in self._further if not helper.gone)]
        found = min(living, key=lambda helper: self._jobs.get(helper, 0))
        if self._jobs.get(found, 0) and len(living) < self._most:
            found = Helper(self._start)
            self._further.append(found)
        return found

    def cancel(self, thread: int) -> None:
        """Stop what a thread waits for, whichever process does it."""
        with self._guard:
            helpers = [*([self._main] if self._main else []), *self._further]
        for helper in helpers:
            helper.cancel(thread)

    def close(self) -> None:
        """End them all. Idempotent; a later call starts another."""
        with self._guard:
            helpers = [*([self._main] if self._main else []), *self._further]
            self._main, self._further = None, []
        for helper in helpers:
            helper.end()
