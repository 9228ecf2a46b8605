"""How containers are, the way to their monitors, and what is told of them: what all that is done to them stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.errors import Conflict
from contextkernel.runtime.events import EventLog, event_attributes

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec, RunState
    from contextkernel.model.ports import ContainerRuntime, RunningContainer
    from contextkernel.store import Store


class ContainerReach:
    """The containers of one store, within reach.

    Args:
        store: where they are recorded.
        runtime: what starts and reaches them.
        events: where it is told what happens.
    """

    def __init__(self, store: Store, runtime: ContainerRuntime, events: EventLog) -> None:
        self._store = store
        self._runtime = runtime
        self._events = events

    def state(self, spec: ContainerSpec) -> RunState:
        """What became of the container."""
        return self._runtime.state(self._store.container_dir(spec.id))

    def connect(self, spec: ContainerSpec) -> RunningContainer | None:
        """The running container, whoever started it."""
        return self._runtime.connect(self._store.container_dir(spec.id))

    def tell(self, spec: ContainerSpec, action: str, **attributes: str) -> None:
        """Note that something happened to a container, with docker's attributes."""
        self._events.write("container", action, spec.id, event_attributes(spec, attributes))

    def _process(self, spec: ContainerSpec, what: str) -> RunningContainer:
        """The running container, to ``what`` it."""
        process = self.connect(spec)
        if process is None:
            raise Conflict(
                f"cannot {what} container {spec.name!r}: it is not running", hint="ps -a shows what became of it"
            )
        return process
