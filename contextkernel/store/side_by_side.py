"""Doing several things at a time, with news of them in the thread that waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOK = 0.1  # seconds


class GivenUp(Exception):
    """Another one failed, or whoever waits has given up."""


class News(Generic[T]):
    """What jobs tell; and how they hear that they are not needed any more."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._ends: dict[object, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Forget everything; no job of before is at work any more."""
        self.items: queue.SimpleQueue[Future[None] | tuple[T]] = queue.SimpleQueue()
        self._stopped.clear()

    def tell(self, item: T) -> None:
        """Pass something on."""
        self.items.put((item,))

    def check(self) -> None:
        """Go on only if it is needed.

        Raises:
            GivenUp: it is not; to be let through.
        """
        if self._stopped.is_set():
            raise GivenUp

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than it is needed.

        Raises:
            GivenUp: see :meth:`check`.
        """
        self._stopped.wait(seconds)
        self.check()

    def stop(self) -> None:
        """Let every job end."""
        self._stopped.set()
        with self._lock:
            for end in self._ends.values():
                end()

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """While the block waits for something that may never come.

        Args:
            end: lets it come to an end; called from another thread when the job is not needed any more.
        """
        mine = object()  # several may have the same way to end
        with self._lock:
            self._ends[mine] = end
        try:
            self.check()
            yield
        finally:
            with self._lock:
                del self._ends[mine]


def side_by_side(
    jobs: Sequence[Callable[[News[T]], None]], tell: Callable[[T], None], most: int, news: News[T] | None = None
) -> None:
    """Do jobs in threads; when one fails, the others end as well, and the first failure is raised.

    Args:
        jobs: begun in this order; each looks now and then whether it is needed (``News.check``).
        tell: receives what they tell, in this thread; may raise to end them all.
        most: how many at a time.
        news: used by nothing else meanwhile; if others are to hear as well when the jobs are not needed any more.
    """
    if not jobs:
        return
    news = News() if news is None else news
    news.begin()
    with ThreadPoolExecutor(min(most, len(jobs)), thread_name_prefix="layer") as pool:
        futures = [pool.submit(job, news) for job in jobs]
        for future in futures:
            future.add_done_callback(news.items.put)
        try:
            left = len(futures)
            while left:
                try:
                    item = news.items.get(timeout=_LOOK)
                except queue.Empty:
                    continue  # an interrupt that came just before the wait is seen only between two of them
                match item:
                    case Future() as future:
                        future.result()
                        left -= 1
                    case (told,):
                        tell(told)
        except BaseException:
            news.stop()
            for future in futures:
                future.cancel()
            raise
