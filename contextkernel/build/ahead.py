"""Copies that stand on nothing (``COPY --link``), made beside the step whose turn it is.

A stage does its steps one after the other, because each stands on the one before. A linked copy does not: while one is
made, those that follow it are made too, each into a directory of its own; when their turn comes there is nothing left
to do but to take it. What turns out not to be needed, because an equal step is found, is given up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING

from contextkernel.build.copy_step import copy_files
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.tools import Tools
from contextkernel.model.digest import Digest
from contextkernel.plan import keys
from contextkernel.plan.steps import CopyStep, LayerStep

if TYPE_CHECKING:
    from concurrent.futures import Future

_AGAIN = 0.2  # seconds after which a copy that does not stop is stopped again
_NOTHING = Digest.of(b"")  # what is below a linked copy is no part of its key


class LinkedCopy:
    """One copy, in a thread of its own.

    Attributes:
        directory: of the layer to be.
    """

    def __init__(self, step: CopyStep, found: ResolvedCopy, tools: Tools) -> None:
        from concurrent.futures import Future

        self.directory = tools.store.new_layer_dir()
        self._notes: Future[tuple[str, ...]] = Future()
        self._tools = tools
        self._thread = threading.Thread(target=self._work, args=(step, found), name="copy-ahead", daemon=True)
        self._thread.start()

    def _work(self, step: CopyStep, found: ResolvedCopy) -> None:
        tools, thread = self._tools, threading.get_ident()
        try:
            with tools.board.stopping(lambda: tools.worker.cancel(thread)):
                self._notes.set_result(copy_files(step, found, (), self.directory, tools))
        except BaseException as problem:
            self._notes.set_exception(problem)

    def wait(self) -> tuple[str, ...]:
        """What the worker noted, once it is done; whatever is raised, nothing works on the directory any more.

        Raises:
            SourceNotFound, InvalidInput: what the copy came to.
        """
        try:
            return self._notes.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """See the thread end."""
        while self._thread.is_alive():
            with suppress(KeyboardInterrupt):
                if self._thread.ident is not None:
                    self._tools.worker.cancel(self._thread.ident)
                self._thread.join(_AGAIN)


class CopiesAhead:
    """The copies that one stage has begun before their turn. Used by the thread of the stage.

    Args:
        tools: of the build.
        ready: whether all that a step copies from is there.
        resolved: the sources of a copy.
        uses_cache: whether steps of this stage are looked up in the cache.
    """

    def __init__(
        self,
        tools: Tools,
        ready: Callable[[LayerStep], bool],
        resolved: Callable[[CopyStep], ResolvedCopy],
        *,
        uses_cache: bool,
    ) -> None:
        self._tools = tools
        self._ready = ready
        self._resolved = resolved
        self._uses_cache = uses_cache
        self._copies: dict[CopyStep, LinkedCopy] = {}

    def begin(self, following: Iterable[LayerStep]) -> None:
        """Begin the linked copies at the head of ``following``, as far as there is room for them.

        Args:
            following: the steps behind the linked copy that is made now.
        """
        for step in takewhile(_linked, following):
            if len(self._copies) >= self._tools.board.jobs - 1 or not self._ready(step):
                return
            if isinstance(step, CopyStep) and step not in self._copies:
                found = self._resolved(step)
                if not found.parts and not self._cached(step, found):
                    self._copies[step] = LinkedCopy(step, found, self._tools)

    def _cached(self, step: CopyStep, found: ResolvedCopy) -> bool:
        key = keys.copy_key(step, _NOTHING, found.content)
        return self._uses_cache and self._tools.store.step(key) is not None

    def take(self, step: LayerStep) -> LinkedCopy | None:
        """The copy, if it was begun; the caller's from now on."""
        return self._copies.pop(step, None) if isinstance(step, CopyStep) else None

    def close(self) -> None:
        """Stop and give up what nobody took."""
        for copy in self._drained():
            copy.stop()
            self._tools.committer.give_up(copy.directory)

    def _drained(self) -> Iterator[LinkedCopy]:
        while self._copies:
            yield self._copies.popitem()[1]


def _linked(step: LayerStep) -> bool:
    return isinstance(step, CopyStep) and step.link
