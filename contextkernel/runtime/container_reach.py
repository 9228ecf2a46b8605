"""Which containers there are, how they are, the way to their monitors: what all that is done to them stands on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from contextkernel.errors import Conflict, ContainerNotFound
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
        fake_ids: this host maps a single id only.
        shows_users: all the same, programs are shown the user that was asked for.
        warn: gets what the user should know of what is done all the same.
    """

    def __init__(
        self,
        store: Store,
        runtime: ContainerRuntime,
        events: EventLog,
        *,
        fake_ids: bool = False,
        shows_users: bool = False,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._events = events
        self._fake_ids = fake_ids
        self._shows_users = shows_users
        self._warn = warn

    def _warn_of_user(self, user: str) -> None:
        """Say that a program stays root, if it does."""
        if self._fake_ids and not self._shows_users and user and user.partition(":")[0] not in ("0", "root"):
            self._warn(
                f"this host maps a single id: the program runs as root of the container, not as {user!r}; "
                "a range in /etc/subuid and /etc/subgid changes that"
            )

    def find(self, text: str) -> ContainerSpec:
        """The container with this name, id or unique id prefix.

        Raises:
            ContainerNotFound: there is none.
        """
        spec = self._store.container(text.removeprefix("/"))
        if self._is_gone(spec):
            self._store.remove_container(spec.id, volumes=True)
            raise ContainerNotFound(f"no such container: {text}")
        return spec

    def _is_gone(self, spec: ContainerSpec) -> bool:
        """A ``--rm`` container whose monitor has removed its directory: only the record is left."""
        return spec.auto_remove and not os.path.isdir(self._store.container_dir(spec.id))

    def known(self) -> Iterator[tuple[ContainerSpec, RunState]]:
        """All containers, newest first, with what became of them."""
        for spec in self._store.containers():
            if self._is_gone(spec):
                self._store.remove_container(spec.id, volumes=True)
            else:
                yield spec, self.state(spec)

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
