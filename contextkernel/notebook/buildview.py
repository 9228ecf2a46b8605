"""The live view of a build in a notebook: one display that is updated while events come in.

Events may come from any thread and often; one thread of the view draws them, at most :data:`RATE` times a second,
and about once a second while a step is silent so that its time goes on. No script is needed in the browser, and what
the last update leaves is what the saved notebook shows.
"""

from __future__ import annotations

import contextvars
import threading
import time
from typing import TYPE_CHECKING, TypeAlias

from contextkernel.errors import ContextKernelError
from contextkernel.notebook.buildrender import to_html, to_text
from contextkernel.notebook.buildstate import BuildState, reduce, stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from contextkernel.model.ports import Reporter
    from contextkernel.notebook.buildstate import Work

    Publish: TypeAlias = Callable[[dict[str, str], bool], None]

RATE = 8
"""Most updates in a second."""
_SILENT = 1.0
"""Seconds between updates when nothing comes in."""


class LiveView:
    """A context manager that shows the events it is given.

    Nothing is shown before the first event, so a command that fails at once shows its error and no empty box.

    Args:
        publish: shows a mime bundle; the flag says whether it replaces the one shown before.
        title: what is built, for the head line.
        work: see :class:`BuildState`.
        clock: seconds, monotonic.
        threaded: draw in a thread of its own; without it :meth:`draw` is the caller's to call.
    """

    def __init__(
        self,
        publish: Publish,
        *,
        title: str = "",
        work: Work = "build",
        clock: Callable[[], float] = time.monotonic,
        threaded: bool = True,
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._threaded = threaded
        self._news = threading.Condition()
        self._dirty = False
        self._ended = False
        self._shown = False
        self._thread: threading.Thread | None = None
        self.state = BuildState(title=title, work=work, started=clock())

    def feed(self, event: object) -> None:
        """Take an event; quick, and safe from any thread."""
        with self._news:
            self.state = reduce(self.state, event, self._clock())
            self._dirty = True
            self._news.notify()

    def draw(self) -> None:
        """Show the present state, if there is anything to show."""
        with self._news:
            state, self._dirty = self.state, False
        if not (state.steps or state.warnings or state.image or state.layers or state.notes):
            return
        now = self._clock()
        self._publish({"text/html": to_html(state, now), "text/plain": to_text(state, now)}, self._shown)
        self._shown = True

    def __enter__(self) -> Reporter:
        if self._threaded:
            # the context says which cell an output belongs to
            context = contextvars.copy_context()
            self._thread = threading.Thread(
                target=context.run, args=(self._keep_drawing,), name="contextkernel-build-view", daemon=True
            )
            self._thread.start()
        return self.feed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self.state = _ended(self.state, error, self._clock())
            self._ended = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
        self.draw()

    def _keep_drawing(self) -> None:
        while True:
            with self._news:
                if not self._dirty and not self._ended:
                    self._news.wait(_SILENT)
                if self._ended:
                    return
            self.draw()
            with self._news:
                if not self._ended:
                    self._news.wait_for(lambda: self._ended, 1 / RATE)


def _ended(state: BuildState, error: BaseException | None, now: float) -> BuildState:
    """The state at the end of the ``with`` block."""
    if error is None:
        return stop(state, "done", now) if state.status == "running" else state
    if isinstance(error, KeyboardInterrupt):
        return stop(state, "interrupted", now)
    told = any(step.state == "failed" for step in state.steps)
    problem = error.problem if isinstance(error, ContextKernelError) else f"{type(error).__name__}: {error}"
    return stop(state, "failed", now, "" if told else problem)
