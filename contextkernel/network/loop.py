"""A small event loop for one thread: descriptors and timers. What ck-network's relays and servers are built on.

No coroutines: a component registers its descriptors, is called when they are ready, and keeps its own state. All
methods are for the thread that runs the loop.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

Callback = Callable[[], None]

_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE


class Timer:
    """Something that is to happen later; made by :meth:`Loop.call_later`."""

    __slots__ = ("_callback", "when")

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self._callback: Callback | None = callback

    @property
    def pending(self) -> bool:
        """Whether it has neither happened nor been cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Make it not happen. Idempotent, also after it has happened."""
        self._callback = None

    def fire(self) -> None:
        """Let it happen, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Loop:
    """Waits for descriptors and for time, and calls back.

    A callback that adds or removes descriptors takes effect at once: one that was removed is not called any more, even
    if it was ready in the same round. A callback that closes a descriptor must remove it here **before**.

    Args:
        failed: told what a callback raised; the loop goes on. Without it the error leaves :meth:`run`.
        clock: seconds, monotonic.
    """

    def __init__(
        self, failed: Callable[[Exception], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._failed = failed
        self._clock = clock
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._running = False

    def add_reader(self, descriptor: int, callback: Callback) -> None:
        """Call back whenever there is something to read, or the other side has gone; replaces an earlier reader."""
        self._set(descriptor, _READ, callback)

    def add_writer(self, descriptor: int, callback: Callback) -> None:
        """Call back whenever something can be written; replaces an earlier writer."""
        self._set(descriptor, _WRITE, callback)

    def remove_reader(self, descriptor: int) -> None:
        """Stop calling back for reading. Idempotent."""
        self._set(descriptor, _READ, None)

    def remove_writer(self, descriptor: int) -> None:
        """Stop calling back for writing. Idempotent."""
        self._set(descriptor, _WRITE, None)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor altogether. Idempotent."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Call back once, after ``seconds``; in the order of their times, then of these calls."""
        timer = Timer(self._clock() + seconds, callback)
        heapq.heappush(self._timers, (timer.when, next(self._count), timer))
        return timer

    def call_soon(self, callback: Callback) -> Timer:
        """Call back once, in the next round."""
        return self.call_later(0, callback)

    @property
    def descriptors(self) -> frozenset[int]:
        """The descriptors that somebody waits for."""
        return frozenset(key.fd for key in self._selector.get_map().values())

    def run(self) -> None:
        """Go round until :meth:`stop`."""
        self._running = True
        while self._running:
            self.run_once()

    def stop(self) -> None:
        """Leave :meth:`run` at the end of this round."""
        self._running = False

    def run_once(self, timeout: float | None = None) -> None:
        """Wait for the next thing to happen, and call back.

        Args:
            timeout: seconds to wait at most; ``None``: as long as it takes.
        """
        for key, ready in self._selector.select(self._patience(timeout)):
            for kind in (_READ, _WRITE):
                if ready & kind:
                    callback = self._callback(key.fd, kind)
                    if callback is not None:
                        self._call(callback)
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            self._call(heapq.heappop(self._timers)[2].fire)

    def close(self) -> None:
        """Forget everything. The descriptors stay open: they belong to whoever added them."""
        self._timers.clear()
        self._selector.close()

    def _patience(self, timeout: float | None) -> float | None:
        while self._timers and not self._timers[0][2].pending:
            heapq.heappop(self._timers)
        if not self._timers:
            return timeout
        left = max(0.0, self._timers[0][0] - self._clock())
        return left if timeout is None else min(left, timeout)

    def _callback(self, descriptor: int, kind: int) -> Callback | None:
        key = self._selector.get_map().get(descriptor)
        if key is None:
            return None
        callback: Callback | None = key.data.get(kind)
        return callback

    def _set(self, descriptor: int, kind: int, callback: Callback | None) -> None:
        key = self._selector.get_map().get(descriptor)
        wanted: dict[int, Callback] = {} if key is None else dict(key.data)
        if callback is None:
            wanted.pop(kind, None)
        else:
            wanted[kind] = callback
        events = sum(wanted)
        if key is None:
            if events:
                self._selector.register(descriptor, events, wanted)
        elif events:
            self._selector.modify(descriptor, events, wanted)
        else:
            self._selector.unregister(descriptor)

    def _call(self, callback: Callback) -> None:
        try:
            callback()
        except Exception as problem:
            if self._failed is None:
                raise
            self._failed(problem)
