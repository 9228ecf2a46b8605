"""What the threads of a build know of each other: finished stages, steps in the making, free places, and the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.model.digest import Digest
from contextkernel.plan.image import MadeLayer
from contextkernel.plan.keys import chain

if TYPE_CHECKING:
    from collections.abc import Iterable


class Canceled(Exception):
    """A step was given up because another one failed, or because of an interrupt; never seen outside of a build."""


class StackLayer(msgspec.Struct, frozen=True):
    """A layer of a stage that is known in full."""

    diff_id: Digest
    directory: str
    made: MadeLayer | None = None


class Board:
    """Shared by the stages of one build; safe to use from several threads.

    A step is in the making from :meth:`claim` to :meth:`record`; whoever comes to an equal step meanwhile, or later
    in the same build, takes its layer. Nobody may wait here with a claimed step of its own unrecorded that only it
    can record: two stages would wait for each other.

    Args:
        jobs: how many steps may run at the same time; kept under this name.
    """

    def __init__(self, jobs: int = 1) -> None:
        self._news = threading.Condition()
        self.jobs = jobs
        self._free = jobs
        self._stages: dict[int, tuple[StackLayer, ...]] = {}
        self._claims: dict[Digest, StackLayer | None] = {}
        self._definitions: dict[Digest, Digest] = {}
        self._stops: list[Callable[[], None]] = []
        self._canceled = False

    # ---- the end

    @property
    def canceled(self) -> bool:
        """Whether everything is to stop."""
        return self._canceled

    def check(self) -> None:
        """Raise :class:`Canceled` if everything is to stop."""
        if self._canceled:
            raise Canceled

    def cancel(self) -> None:
        """Stop everything that runs, and let nothing new begin. May be called again if something goes on."""
        with self._news:
            self._canceled = True
            stops = list(self._stops)
            self._news.notify_all()
        for stop in stops:
            with suppress(Exception):  # it may just have ended
                stop()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Within the block, a cancelation calls ``stop``, from another thread, perhaps several times."""
        with self._news:
            self._stops.append(stop)
            late = self._canceled
        try:
            if late:
                stop()
            yield
        finally:
            with self._news:
                self._stops.remove(stop)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """One of the places for steps that run at the same time.

        Raises:
            Canceled: while waiting for it.
        """
        with self._news:
            self._wait(lambda: self._free > 0)
            self._free -= 1
        try:
            yield
        finally:
            with self._news:
                self._free += 1
                self._news.notify_all()

    def _wait(self, come: Callable[[], bool]) -> None:
        self.check()
        while not come():
            self._news.wait()
            self.check()

    # ---- stages

    def finish(self, index: int, layers: Iterable[StackLayer]) -> None:
        """A stage has come to its end."""
        with self._news:
            self._stages[index] = tuple(layers)
            self._news.notify_all()

    def finished(self, index: int) -> bool:
        """Whether a stage has come to its end."""
        return index in self._stages

    def layers(self, index: int) -> tuple[StackLayer, ...]:
        """The layers of a stage, base first; waits for its end.

        Raises:
            Canceled: while waiting.
        """
        with self._news:
            self._wait(lambda: index in self._stages)
            return self._stages[index]

    # ---- equal steps

    def claim(self, step: Digest) -> bool:
        """Say that one makes a step now; false if somebody does or did.

        Args:
            step: key of the step on top of the :meth:`definition` of what is below it.
        """
        with self._news:
            if step in self._claims:
                return False
            self._claims[step] = None
            return True

    def record(self, step: Digest, layer: StackLayer, stack: Iterable[Digest]) -> None:
        """A claimed step has led to a layer.

        Args:
            step: as claimed.
            layer: what it led to.
            stack: all layers up to this one, base first.
        """
        with self._news:
            self._claims[step] = layer
            self._definitions[chain(stack)] = step
            self._news.notify_all()

    def made(self, step: Digest) -> StackLayer:
        """What a step claimed by somebody led to; waits for it.

        Raises:
            Canceled: while waiting.
        """
        with self._news:
            self._wait(lambda: self._claims[step] is not None)
            layer = self._claims[step]
        assert layer is not None  # noqa: S101 - waited for
        return layer

    def definition(self, identity: Digest) -> Digest:
        """What stands for layers in :meth:`claim`: the steps of this build that led to them, else they themselves."""
        return self._definitions.get(identity, identity)
