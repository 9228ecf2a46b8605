"""The same work for several layers at a time: threads that end with the call that started them."""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST = 4
_PATIENCE = 2.0  # seconds that works get to notice that they are to stop
_STEP = 0.1


class GivenUp(Exception):
    """Another work has failed, or the caller was interrupted."""


class _Ended(Generic[R]):
    """The last thing a work says, if it does not fail."""

    __slots__ = ("place", "result")

    def __init__(self, place: int, result: R) -> None:
        self.place, self.result = place, result


class Crew:
    """Does works in threads.

    What works tell is handed on by the thread that waits for them, one piece at a time. When one fails, or the caller
    is interrupted, the others are stopped; those that wait for the network only notice when it answers, and are
    not waited for: they touch nothing afterwards.

    Args:
        jobs: works at a time.
        report: gets what works tell; may raise to stop everything.
        cancel: stops what a thread waits for, given its ident, e.g. ``worker.cancel``.
    """

    def __init__(
        self,
        jobs: int,
        report: Callable[[Any], None] = lambda _: None,
        cancel: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._jobs = jobs
        self._report = report
        self._cancel = cancel
        self._news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._caller = 0

    def check(self) -> None:
        """Works call it now and then.

        Raises:
            GivenUp: the work is to stop.
        """
        if self._stopped.is_set():
            raise GivenUp

    def tell(self, event: object) -> None:
        """Hand something to the reporter; raises :class:`GivenUp` where a work is to stop."""
        self.check()
        if self._caller in (0, threading.get_ident()):
            self._report(event)
        else:
            self._news.put(event)

    def run(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Do ``work`` for each item, in order of their place, and return the results in that order.

        Raises:
            BaseException: what the first work to fail raised, or what interrupted the caller.
        """
        if not items:
            return []
        places = iter(range(len(items)))
        guard = threading.Lock()
        threads: list[threading.Thread] = []

        def body() -> None:
            while not self._stopped.is_set():
                with guard:
                    place = next(places, None)
                if place is None:
                    return
                try:
                    self._news.put(_Ended(place, work(items[place])))
                except BaseException as caught:
                    self._news.put(caught)
                    self._stopped.set()  # only now: the first to fail is the one to tell of

        results: dict[int, R] = {}
        self._caller = threading.get_ident()
        try:
            for _ in range(min(self._jobs, len(items))):
                context = contextvars.copy_context()
                # a daemon: one that waits for the network must not keep the process from ending
                threads.append(threading.Thread(target=context.run, args=(body,), name="layer", daemon=True))
                threads[-1].start()
            while len(results) < len(items):
                try:
                    event = self._news.get(timeout=_STEP)
                except queue.Empty:
                    continue  # an interrupt that came just before the wait is seen only between two of them
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, _Ended):
                    results[event.place] = event.result
                else:
                    self._report(event)
            return [results[place] for place in range(len(items))]
        except BaseException:
            self._stop(threads)
            raise
        finally:
            self._caller = 0

    def _stop(self, threads: Sequence[threading.Thread]) -> None:
        self._stopped.set()
        rest = _PATIENCE
        while rest > 0 and any(thread.is_alive() for thread in threads):
            with suppress(KeyboardInterrupt):  # it only says once more what is being done
                for thread in threads:
                    if thread.is_alive() and thread.ident is not None:
                        self._cancel(thread.ident)
                        thread.join(_STEP)
                        rest -= _STEP


class Turns:
    """Lets works that were begun in order do a part of theirs in that order.

    Args:
        check: raises when it is no use to wait any longer.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._turn = 0
        self._changed = threading.Condition()

    @contextmanager
    def wait(self, place: int) -> Iterator[None]:
        """Wait for the turn of ``place``, counted from 0; the next one's comes at the end of the ``with`` block."""
        with self._changed:
            while self._turn != place:
                self._check()
                self._changed.wait(_STEP)
        yield
        with self._changed:
            self._turn += 1
            self._changed.notify_all()


def processors() -> int:
    """How many layers to pack at a time: one for each processor that this process may use, up to four."""
    return max(1, min(_MOST, len(os.sched_getaffinity(0))))
