"""Verbs about the builds of the past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition
from contextkernel.model.given import several

if TYPE_CHECKING:
    from contextkernel.model.builds import BuildLog, BuildRow, BuildStepRow


class Records(Composition):
    """Looking at recorded builds."""

    def builds(self) -> tuple[BuildRow, ...]:
        """Recorded builds, newest first."""
        return self._store.builds()

    def inspect_build(self, build: str = "") -> tuple[BuildRow, tuple[BuildStepRow, ...]]:
        """A recorded build and its steps.

        Args:
            build: id or a unique part of one from its start, ``^N`` for the Nth before the newest; empty: the newest.

        Raises:
            NotFound: there is none. InvalidInput: more than one id starts so.
        """
        row = self._store.build(build)
        return row, self._store.build_steps(row.id)

    def build_logs(self, build: str = "") -> tuple[BuildLog, ...]:
        """The output of a recorded build's steps; see :meth:`inspect_build`."""
        return self._store.build_logs(self._store.build(build).id)

    def remove_builds(self, builds: str | Sequence[str] = (), *, all: bool = False) -> tuple[str, ...]:
        """Forget recorded builds; images and the cache stay.

        Args:
            builds: as for :meth:`inspect_build`.
            all: every build that has ended.

        Returns:
            Their ids.

        Raises:
            NotFound, InvalidInput: nothing was removed.
        """
        found = [self._store.build(one).id for one in several(builds)]
        if all:
            found += [row.id for row in self._store.builds() if row.status != "running"]
        ids = tuple(dict.fromkeys(found))
        self._store.remove_builds(ids)
        return ids
