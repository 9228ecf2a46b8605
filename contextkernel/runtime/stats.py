"""Looking at several containers again and again, and the rows of ``stats`` that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.errors import Conflict
from contextkernel.model.measurements import StatsRow
from contextkernel.runtime.cgroups import Group, group_at
from contextkernel.runtime.measuring import Measured, counts, cpu_percent, measure

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec, RunState
    from contextkernel.model.ports import RunningContainer


class Sampler:
    """Looks at containers.

    Args:
        state: what became of a container.
        connect: the running container.
    """

    def __init__(
        self,
        state: Callable[[ContainerSpec], RunState],
        connect: Callable[[ContainerSpec], RunningContainer | None],
    ) -> None:
        self._state = state
        self._connect = connect
        self._before: dict[str, Measured] = {}

    def look(self, wanted: Iterable[tuple[str, ContainerSpec]]) -> tuple[StatsRow, ...]:
        """One row for each container; shares of processors are those since the last look.

        Args:
            wanted: what the user called it, and the container.
        """
        return tuple(self._row(name, spec) for name, spec in wanted)

    def _row(self, called: str, spec: ContainerSpec) -> StatsRow:
        now = self._measured(spec)
        if now is None:
            self._before.pop(spec.id, None)
            return StatsRow(container=called, id=spec.id, name=spec.name)
        before = self._before.get(spec.id, now)
        self._before[spec.id] = now
        return StatsRow(
            container=called,
            id=spec.id,
            name=spec.name,
            cpu_percent=cpu_percent(before, now),
            memory=now.memory,
            memory_limit=now.memory_limit,
            memory_percent=now.memory / now.memory_limit * 100 if now.memory_limit else 0.0,
            received=now.received,
            sent=now.sent,
            read=now.read,
            written=now.written,
            pids=now.processes,
            whole=now.whole,
        )

    def _measured(self, spec: ContainerSpec) -> Measured | None:
        state = self._state(spec)
        if not state.alive or not state.pid:
            return None
        group: Group | None = group_at(state.groups) if state.groups else None
        return measure(group, () if counts(group) else self._processes(spec), state.pid)

    def _processes(self, spec: ContainerSpec) -> Sequence[int]:
        process = self._connect(spec)
        if process is None:
            return ()
        try:
            with suppress(Conflict):  # it has just ended
                return process.processes()
            return ()
        finally:
            process.close()
