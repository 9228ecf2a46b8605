"""The client's side of the layer worker: starts it when it is first needed and hands jobs to it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence

from contextkernel.errors import ProtocolViolation
from contextkernel.model.backing import TREE, Backing, PrepareRequest, Root, SettleRequest
from contextkernel.model.box import BoxView, Change, PathFacts, PlaceRequest
from contextkernel.model.ids import IdMap
from contextkernel.model.layers import CopyRequest, ExportRequest, LayerFacts, MakeDirRequest, PopulateRequest
from contextkernel.model.room import Growth
from contextkernel.store import worker_messages as messages
from contextkernel.store.bound import Bound
from contextkernel.store.worker_helper import Helper
from contextkernel.store.worker_messages import Job
from contextkernel.store.worker_pool import Helpers


class LayerWorkerClient:
    """A ``ports.LayerWorker``: helper processes, started at first use and again after they died.

    Safe to use from several threads; jobs of different threads overlap. A call that is interrupted
    (``KeyboardInterrupt``) has its job stopped before it returns.

    Args:
        idmap: the ids the helpers work with; the identity map means no user namespace.
        backing: what they make file systems of.
        registry: directory by which their user namespace is shared (``linux.userns_shared``); ``None``: it is not.

    Attributes:
        bound: says how far what jobs write may grow; ``None``: as far as the disk goes.
    """

    def __init__(self, idmap: IdMap, *, registry: str | None = None, backing: Backing = "overlay") -> None:
        self._backing = backing
        self.bound: Bound | None = None
        self._helpers = Helpers(messages.Start(idmap, registry, backing))
        self._numbers = itertools.count(1)

    def commit(self, directory: str, *, lowers: Sequence[str] = ()) -> LayerFacts:
        """See ports.LayerWorker.

        Args:
            directory: the layer's directory.
            lowers: ``diff`` directories of the layers below, base first: what is the same there is left out. Where the
                host can store a single id, a file that was copied up keeps the owner that their indexes have for it.
        """
        return self._facts(lambda job: messages.Commit(id=job, directory=directory, lowers=tuple(lowers)))

    def unpack(self, source: str | int, directory: str, *, limit: int | None = None) -> LayerFacts:
        """See ports.LayerWorker."""
        path, descriptor = (source, -1) if isinstance(source, str) else (None, source)
        return self._facts(
            lambda job: messages.Unpack(id=job, source=path, directory=directory, limit=limit), descriptor
        )

    def copy(self, request: CopyRequest) -> tuple[str, ...]:
        """See ports.LayerWorker."""
        return self._call(lambda job: messages.Copy(id=job, request=request)).notes

    def make_dir(self, request: MakeDirRequest) -> tuple[str, ...]:
        """See ports.LayerWorker."""
        return self._call(lambda job: messages.MakeDir(id=job, request=request)).notes

    def populate(self, request: PopulateRequest) -> None:
        """See ports.LayerWorker."""
        self._call(lambda job: messages.Populate(id=job, request=request))

    def look(self, view: BoxView, path: str, *, root: int = -1, follow: bool = False) -> PathFacts:
        """See ports.LayerWorker."""
        found = self._call(lambda job: messages.Look(id=job, view=view, path=path, follow=follow), root).path
        if found is None:
            raise ProtocolViolation("the layer worker did not tell of a path it was asked about")
        return found

    def pack(self, view: BoxView, facts: PathFacts, name: str, descriptor: int, *, root: int = -1) -> None:
        """See ports.LayerWorker."""
        self._call(
            lambda job: messages.Pack(id=job, view=view, path=facts.path, name=name, kind=facts.kind), descriptor, root
        )

    def place(self, request: PlaceRequest, descriptor: int, *, root: int = -1) -> tuple[str, ...]:
        """See ports.LayerWorker."""
        return self._call(lambda job: messages.Place(id=job, request=request), descriptor, root).notes

    def changes(self, view: BoxView) -> tuple[Change, ...]:
        """See ports.LayerWorker."""
        return self._call(lambda job: messages.Changes(id=job, view=view)).changes

    def write_changes(self, view: BoxView, descriptor: int) -> None:
        """See ports.LayerWorker."""
        self._call(lambda job: messages.WriteChanges(id=job, view=view), descriptor)

    def prepare(self, request: PrepareRequest) -> Root:
        """See ports.LayerWorker."""
        if self._backing == "overlay" and not _has_tree(request.root.upper):
            return request.root
        root = self._call(lambda job: messages.Prepare(id=job, request=request)).root
        if root is None:
            raise ProtocolViolation("the layer worker did not tell of a root that it was asked for")
        return root

    def settle(self, request: SettleRequest) -> None:
        """See ports.LayerWorker."""
        if _has_tree(request.upper):
            self._call(lambda job: messages.Settle(id=job, request=request))

    def write_tar(self, directory: str, descriptor: int, *, latest: int | None = None) -> LayerFacts:
        """See ports.LayerWorker."""
        return self._facts(lambda job: messages.WriteTar(id=job, directory=directory, latest=latest), descriptor)

    def export_tar(self, request: ExportRequest, descriptor: int) -> None:
        """See ports.LayerWorker."""
        self._call(lambda job: messages.ExportTar(id=job, request=request), descriptor)

    def export_tree(self, request: ExportRequest, descriptor: int) -> None:
        """See ports.LayerWorker."""
        self._call(lambda job: messages.ExportTree(id=job, request=request), descriptor)

    def remove(self, paths: Sequence[str]) -> None:
        """See ports.LayerWorker."""
        if paths:
            self._call(lambda job: messages.Remove(id=job, paths=tuple(os.path.abspath(path) for path in paths)))

    def measure(self, paths: Sequence[str]) -> tuple[int, ...]:
        """See ports.LayerWorker."""
        done = self._call(lambda job: messages.Measure(id=job, paths=tuple(paths)))
        return tuple(int(note) for note in done.notes)

    def adopt(self, source: str, directory: str) -> LayerFacts:
        """See ports.LayerWorker."""
        return self._facts(lambda job: messages.Adopt(id=job, source=source, directory=directory))

    def cancel(self, thread: int) -> None:
        """Stop what a thread waits for in here: its call raises, and its job has ended by then.

        Args:
            thread: as of ``threading.get_ident``; fine if it waits for nothing.
        """
        self._helpers.cancel(thread)

    def close(self) -> None:
        """End its processes. Idempotent; a later call starts another."""
        self._helpers.close()

    def _facts(self, make: Callable[[int], Job], descriptor: int = -1) -> LayerFacts:
        facts = self._call(make, descriptor).facts
        if facts is None:
            raise ProtocolViolation("the layer worker answered a job without its facts")
        return facts

    def _call(self, make: Callable[[int], Job], *descriptors: int) -> messages.Done:
        job = make(next(self._numbers))
        if isinstance(job, (messages.Unpack, messages.WriteTar)):
            with self._helpers.spread() as helper:
                return self._run(helper, job, descriptors)
        return self._run(self._helpers.main(), job, descriptors)

    def _run(self, helper: Helper, job: Job, descriptors: tuple[int, ...]) -> messages.Done:
        growth = self._growth(job)
        try:
            return helper.run(job, tuple(one for one in descriptors if one >= 0), growth)
        except messages.Outgrown as outgrown:
            if self.bound is None:
                raise
            raise self.bound.problem(int(outgrown.problem)) from None

    def _growth(self, job: Job) -> Growth | None:
        directory = messages.target(job)
        return self.bound.growth(directory) if directory and self.bound is not None else None


def _has_tree(upper: str) -> bool:
    """Whether what belongs to an upper directory is a tree; one that is not complete counts too."""
    return os.path.lexists(f"{os.path.dirname(upper)}/{TREE}")
