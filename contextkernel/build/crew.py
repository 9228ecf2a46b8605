"""Works of a build that go on at the same time, in threads that end with the call that started them."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from contextkernel.build.board import Board, Canceled
from contextkernel.build.reporting import BuildReport

_AGAIN = 0.2  # seconds after which what does not stop is stopped again


class _Ended:
    """The last thing a thread says."""

    __slots__ = ("problem",)

    def __init__(self, problem: BaseException | None) -> None:
        self.problem = problem


def together(works: Sequence[Callable[[], None]], board: Board, report: BuildReport) -> None:
    """Do works at the same time; returns when the last of them has ended.

    Events are handed to the caller's reporter by the calling thread, one at a time. The first work that fails stops
    the others, through ``board``; so does anything that is raised in the calling thread, such as an interrupt.

    Args:
        works: each gets a thread, and takes part in the caller's context variables.
        board: tells the works to stop.
        report: whose events are passed on.

    Raises:
        BaseException: what the first of them to fail raised; or what interrupted the caller.
    """
    news: queue.SimpleQueue[object] = queue.SimpleQueue()
    threads: list[threading.Thread] = []

    def body(work: Callable[[], None]) -> None:
        problem: BaseException | None = None
        try:
            board.check()
            work()
        except Canceled:
            pass
        except BaseException as caught:
            problem = caught
        news.put(_Ended(problem))

    with report.through(news.put) as show:
        try:
            for work in works:
                context = contextvars.copy_context()
                # a daemon: should one not stop, it must not keep the process from ending
                thread = threading.Thread(target=context.run, args=(body, work), name="build-stage", daemon=True)
                threads.append(thread)
                thread.start()
            left = len(threads)
            while left:
                event = news.get()
                if isinstance(event, _Ended):
                    left -= 1
                    if event.problem is not None:
                        raise event.problem
                else:
                    show(event)
            for thread in threads:
                thread.join()
        except BaseException:
            _stop(threads, news, board, show)
            raise


def _stop(
    threads: Sequence[threading.Thread],
    news: queue.SimpleQueue[object],
    board: Board,
    show: Callable[[object], None],
) -> None:
    """See all threads end; interrupts meanwhile only say once more what is being done."""
    working = True
    while working:
        with suppress(KeyboardInterrupt):
            board.cancel()
            for thread in threads:
                if thread.is_alive():
                    thread.join(_AGAIN)
            working = any(thread.is_alive() for thread in threads)
            while not news.empty():
                event = news.get()
                if not isinstance(event, _Ended):
                    with suppress(Exception):  # the problem to tell is another one
                        show(event)
