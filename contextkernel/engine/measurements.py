"""Verbs about what containers use and see."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition
from contextkernel.errors import Conflict, ContextKernelError
from contextkernel.model.given import several

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.measurements import NamespaceRow, StatsRow

_ONE_SHOT = 0.5  # seconds between the two looks of a single measurement
_INTERVAL = 1.0  # docker's, between two of a stream


class Measurements(Composition):
    """Statistics and namespaces."""

    def stats(self, containers: str | Sequence[str] = (), *, all: bool = False) -> tuple[StatsRow, ...]:
        """What containers use right now: two looks, half a second apart.

        Args:
            containers: names or ids, or a single one; none: all that run.
            all: without names: those that do not run too.

        Raises:
            ContainerNotFound: there is none of a name.
        """
        rows = self._samples(several(containers), all=all, interval=_ONE_SHOT)
        next(rows)
        return next(rows)

    def stats_stream(
        self, containers: str | Sequence[str] = (), *, all: bool = False
    ) -> Iterator[tuple[StatsRow, ...]]:
        """Like :meth:`stats`, again and again, once a second; without names it follows what starts and ends.

        Containers that were named and are gone are left out; when none is left, it ends.
        """
        return self._samples(several(containers), all=all, interval=_INTERVAL)

    def _samples(self, names: Sequence[str], *, all: bool, interval: float) -> Iterator[tuple[StatsRow, ...]]:
        from contextkernel.runtime.stats import Sampler

        mine = self._containers
        sampler = Sampler(mine.state, mine.connect)
        wanted = [(name, mine.find(name)) for name in names]
        while True:
            if not names:
                wanted = [(spec.id, spec) for spec in self._store.containers() if all or mine.state(spec).alive]
            yield sampler.look(wanted)
            time.sleep(interval)
            if names:
                wanted = [(name, spec) for name, spec in wanted if self._is_there(spec)]
                if not wanted:
                    return

    def _is_there(self, spec: ContainerSpec) -> bool:
        try:
            self._containers.find(spec.id)
        except ContextKernelError:
            return False
        return True

    def namespaces(self, containers: str | Sequence[str] = ()) -> tuple[NamespaceRow, ...]:
        """Which namespaces containers live in, and what they see there; the host's first, to compare.

        Args:
            containers: names or ids, or a single one; none: all that run.

        Raises:
            ContainerNotFound: there is none of a name. Conflict: it does not run, so it has none.
        """
        from contextkernel.runtime.seeing import HOST, Seen, namespace_rows

        mine = self._containers
        chosen = [mine.find(name) for name in several(containers)] or list(self._store.containers())
        seen = []
        for spec in chosen:
            state = mine.state(spec)
            if state.alive and state.pid:
                seen.append(Seen(spec.id, spec.name, state.pid, spec.hostname))
            elif containers:
                raise Conflict(
                    f"container {spec.name!r} is not running: it has no namespaces", hint=f"start it: start {spec.name}"
                )
        return namespace_rows(Seen("", HOST, os.getpid(), os.uname().nodename), seen)
