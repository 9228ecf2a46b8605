"""A container's files may take so much room and no more: looked at now and then by its monitor."""

from __future__ import annotations

from collections.abc import Callable

from contextkernel.linux.room import GrowthWatch
from contextkernel.model.room import Growth, human_size
from contextkernel.runtime.loop import Loop

_OFTEN = 0.5  # seconds between two looks; cheap as long as there is no sign that it grows


class RoomKeeper:
    """Tells when what a container has written is too much.

    Args:
        growth: what its files may take; ``None``: anything, nobody looks.
        loop: of the monitor.
        full: told once, with the bytes that there are and a sentence about it.
    """

    def __init__(self, growth: Growth | None, loop: Loop, full: Callable[[int, str], None]) -> None:
        self._loop = loop
        self._full = full
        if growth is not None:
            self._most = growth.most
            self._watch = GrowthWatch(growth)
            self._loop.after(_OFTEN, self._look)

    def _look(self) -> None:
        size = self._watch.exceeded()
        if size:
            self._full(
                size,
                f"killed: it has written {human_size(size)}, and the store had room for {human_size(self._most)}"
                " (CONTEXTKERNEL_MAX_SIZE)",
            )
        else:
            self._loop.after(_OFTEN, self._look)
