"""Which store, runtime and worker an engine works with; chosen once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from contextkernel.engine.announcing import ImageTeller
    from contextkernel.host import Inspection
    from contextkernel.model.backing import Backing
    from contextkernel.model.ids import IdMap
    from contextkernel.model.ports import ContainerRuntime, LayerWorker
    from contextkernel.runtime.containers import Containers
    from contextkernel.runtime.enforcing import GroupFacts
    from contextkernel.runtime.events import EventLog
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.store import Store


def silent(_event: object) -> None:
    """The reporter of somebody who does not want to know."""


class Composition:
    """The parts of an engine, made when a verb first needs them.

    Args:
        root: directory of the store; default: ``$CONTEXTKERNEL_ROOT`` or the platform's data directory.
        store, runtime, worker: replace the real ones (tests).
        host: what this machine allows, instead of finding it out; also a way to ask for less than it allows.
        fork_launcher: start the launcher by forking this process: only for small single-threaded
            programs such as the command line.

    Attributes:
        on_warning: called with what the user should know of a command that goes on: a limit that cannot be kept.

    Raises:
        HostUnsupported: not on Linux (raised by the first verb, with what to use instead).
        StoreTooNew, StoreProblem: the store cannot be used.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        runtime: ContainerRuntime | None = None,
        worker: LayerWorker | None = None,
        host: Inspection | None = None,
        fork_launcher: bool = False,
    ) -> None:
        self.on_warning: Callable[[str], None] | None = None
        self._root = root
        self._fork_launcher = fork_launcher
        self._store_made = store
        self._runtime_made = runtime
        self._worker_made = worker
        self._host_made = host
        self._facts_made: HostFacts | None = None
        self._host_told = False
        self._lock = threading.RLock()
        self._swept = False

    @property
    def root(self) -> str:
        """Directory of the store."""
        return self._store.root

    @property
    def _store(self) -> Store:
        with self._lock:
            if self._store_made is None:
                from contextkernel.host import require_linux
                from contextkernel.store import Store

                require_linux()
                self._store_made = Store.open(self._root)
                self._store_made.bound.make_room = self._make_room
            return self._store_made

    def _make_room(self, size: int) -> None:
        """Empty the trash, and let unused cache of ``size`` bytes go; see ``engine.caches``, as for the next two."""

    def _keep_free(self) -> None:
        """Before something large is written, let unused build cache go where hardly any room is left."""

    def _tell_evicted(self) -> None:
        """Say once what had to give way."""

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """While something large is written into the store."""
        self._keep_free()
        try:
            yield
        finally:
            self._tell_evicted()

    @property
    def _events(self) -> EventLog:
        from contextkernel.runtime.events import EventLog

        return EventLog(self._store.root)

    @property
    def _tell_image(self) -> ImageTeller:
        from contextkernel.engine.announcing import ImageTeller

        return ImageTeller(self._store, self._events)

    @property
    def _host(self) -> Inspection:
        with self._lock:
            if self._host_made is None:
                from contextkernel import host

                self._host_made = host.inspect(self._store.root)
            return self._host_made

    @property
    def _idmap(self) -> IdMap:
        return self._host.idmap

    @property
    def _backing(self) -> Backing:
        from contextkernel import host

        return host.backing(self._host.report)

    @property
    def _runtime(self) -> ContainerRuntime:
        with self._lock:
            if self._runtime_made is None:
                self._runtime_made = self._choose_runtime()
            return self._runtime_made

    def _choose_runtime(self) -> ContainerRuntime:
        report = self._host.report
        if report.tier == "analysis":
            from contextkernel.runtime.refusal import RefusingRuntime

            return RefusingRuntime(report)
        from contextkernel.linux.userns_shared import registry_of
        from contextkernel.runtime.client import NamespaceRuntime

        return NamespaceRuntime(
            self._idmap,
            fork=self._fork_launcher,
            facts=self._host_facts,
            registry=registry_of(self._store.root),
        )

    @property
    def _host_facts(self) -> HostFacts:
        """What this host allows a container; of files only what they were when it was first asked for."""
        with self._lock:
            if self._facts_made is None:
                from contextkernel.runtime.facts import from_report

                self._facts_made = from_report(self._idmap, self._host.report)
            return self._facts_made

    def _container_facts(self) -> HostFacts | None:
        """The same; ``None`` where no container can be started."""
        return None if self._host.report.tier == "analysis" else self._host_facts

    def _worker(self) -> LayerWorker:
        with self._lock:
            if self._worker_made is None:
                from contextkernel.linux.userns_shared import registry_of
                from contextkernel.store.worker_client import LayerWorkerClient

                worker = LayerWorkerClient(self._idmap, registry=registry_of(self._store.root), backing=self._backing)
                worker.bound = self._store.bound
                worker.bound.measure = worker.measure
                self._worker_made = worker
            return self._worker_made

    @property
    def _containers(self) -> Containers:
        from contextkernel.runtime.containers import Containers
        from contextkernel.store.names import generate_name

        return Containers(
            self._store,
            self._runtime,
            self._worker,
            fake_ids=self._idmap.single,
            shows_users=self._host.report.tier == "ptrace",
            new_name=lambda: generate_name({spec.name for spec in self._store.containers()}),
            events=self._events,
            groups=self._group_facts,
            warn=self._warn,
            facts=self._container_facts,
        )

    def _group_facts(self) -> GroupFacts:
        from contextkernel.runtime.resource_group import base, facts_of

        return facts_of(base())

    def _warn_of_host(self) -> None:
        """Once per engine: what elsewhere holds for all containers, and here does not."""
        facts = self._container_facts()
        if facts is None or self._host_told:
            return
        from contextkernel.runtime.fallbacks import lowered

        self._host_told = True
        for text in lowered(facts):
            self._warn(text)

    def _warn(self, text: str) -> None:
        if self.on_warning is not None:
            self.on_warning(text)

    def close(self) -> None:
        """End the helper processes; containers go on. Idempotent."""
        with self._lock:
            runtime, worker, store = self._runtime_made, self._worker_made, self._store_made
            self._runtime_made = self._worker_made = self._store_made = None
        for part in (runtime, worker, store):
            if part is not None:
                part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sweep(self) -> None:
        """Once per engine: remove what dead processes left behind."""
        if not self._swept:
            self._swept = True
            self._empty_trash()

    def _empty_trash(self) -> None:
        paths = self._store.trash()
        if paths:
            self._worker().remove(paths)
            self._store.forget_trash(paths)
