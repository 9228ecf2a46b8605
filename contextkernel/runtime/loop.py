"""What a monitor waits for: descriptors of its sources, and timers; nothing blocks but the waiting itself."""

from __future__ import annotations

import heapq
import itertools
import math
import select
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
WRITABLE = select.POLLOUT | select.POLLERR | select.POLLHUP


class Source(Protocol):
    """Something with descriptors to wait for."""

    def interests(self) -> Iterable[tuple[int, int]]:
        """Descriptors and poll events it waits for now; 0 for the close of the other end alone. May change each turn.

        One that has something to clean up may do so here, it is asked before each wait.
        """
        ...

    def ready(self, events: Mapping[int, int]) -> None:
        """What has happened, by descriptor; may hold descriptors of others, and none of its own."""
        ...


class Timer:
    """One action to come.

    Args:
        action: what to do.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    @property
    def pending(self) -> bool:
        """It has neither been done nor cancelled."""
        return self._action is not None

    def cancel(self) -> None:
        """Do not do it. Idempotent."""
        self._action = None

    def fire(self) -> None:
        """Do it, once."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Loop:
    """Waits for sources and timers.

    Args:
        clock: seconds, growing; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sources: list[Source] = []
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def add(self, source: Source) -> None:
        """Wait for ``source`` from the next turn on."""
        self._sources.append(source)

    def discard(self, source: Source) -> None:
        """Wait for it no more; one that is not there is no error. A turn that is under way may still call it."""
        if source in self._sources:
            self._sources.remove(source)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Do ``action`` once, in a turn that is at least ``seconds`` from now."""
        timer = Timer(action)
        heapq.heappush(self._timers, (self._clock() + seconds, next(self._order), timer))
        return timer

    def turn(self) -> None:
        """Wait until something happens, and let those whom it concerns handle it; timers that are due come last."""
        poll = select.poll()
        wanted: dict[int, int] = {}
        for source in tuple(self._sources):
            for descriptor, events in source.interests():
                wanted[descriptor] = wanted.get(descriptor, 0) | events
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        ready = dict(poll.poll(self._patience()))
        if ready:
            for source in tuple(self._sources):
                source.ready(ready)
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2].fire()

    def _patience(self) -> int | None:
        """Milliseconds until the next timer, rounded up; ``None`` without one."""
        while self._timers and not self._timers[0][2].pending:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        # poll(2) takes an int of milliseconds: one that is further away is waited for in parts
        return min(max(0, math.ceil((self._timers[0][0] - self._clock()) * 1000)), 1 << 30)
