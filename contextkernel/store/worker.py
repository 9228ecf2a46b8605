"""The layer worker: a process of its own that works on layer directories with the container's ids.

It starts with one thread, enters the user namespace and a private mount namespace, and only then starts the threads
that do the jobs. It ends when its socket does; a job that is cut off leaves a directory that is safe to remove.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable

from contextkernel.errors import ProtocolViolation, StoreProblem, SyscallFailed
from contextkernel.linux.room import GrowthWatch
from contextkernel.model.layers import LayerFacts
from contextkernel.store import worker_messages as messages
from contextkernel.store.worker_messages import Cancelled, Channel, Job, Outgrown, Request, to_problem
from contextkernel.store.worker_tree import Ids

_THREADS = 2  # a commit overlaps whatever comes next
_MAX_DEPTH = 2048  # levels of directories that a path of PATH_MAX bytes can have
_WITH_DESCRIPTOR = (
    messages.WriteTar,
    messages.ExportTar,
    messages.ExportTree,
    messages.Pack,
    messages.Place,
    messages.WriteChanges,
)


class Worker:
    """The jobs of one client."""

    def __init__(self, channel: Channel, ids: Ids) -> None:
        self._channel = channel
        self._ids = ids
        self._queue: queue.SimpleQueue[tuple[Job, int, int]] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._rooms: dict[int, GrowthWatch] = {}

    def serve(self) -> None:
        """Take requests until the client is gone."""
        for number in range(_THREADS):
            threading.Thread(target=self._work, name=f"layer-{number}", daemon=True).start()
        request: Request | None
        while (request := self._channel.receive(Request)) is not None:
            if isinstance(request, messages.Start):
                raise ProtocolViolation("the client of the layer worker started it twice")
            if isinstance(request, messages.Cancel):
                self._cancelled.add(request.id)
                continue
            if isinstance(request, messages.Bounded):
                self._rooms[request.job.id] = GrowthWatch(request.growth)
                request = request.job
            descriptor = self._channel.descriptors.popleft() if _has_descriptor(request) else -1
            root = self._channel.descriptors.popleft() if _has_root(request) else -1
            if isinstance(request, messages.Unpack):
                # it may wait for whoever sends the archive, and others must not wait for that
                threading.Thread(target=self._finish, args=(request, descriptor, root), daemon=True).start()
            else:
                self._queue.put((request, descriptor, root))

    def _work(self) -> None:
        while self._finish(*self._queue.get()):
            pass

    def _finish(self, job: Job, descriptor: int, root: int) -> bool:
        """Do a job and answer; false if the client is gone, and the main thread about to end the process."""
        answer: messages.Answer
        try:
            answer = self._do(job, descriptor, root)
        except BaseException as error:
            answer = messages.Failed(id=job.id, error=to_problem(error))
        finally:
            for one in (descriptor, root):
                if one >= 0:
                    os.close(one)
            self._cancelled.discard(job.id)
            self._rooms.pop(job.id, None)
        try:
            self._channel.send(answer)
        except OSError:
            return False
        return True

    def _do(self, job: Job, descriptor: int, root: int) -> messages.Done:
        if isinstance(job, messages.BoxJob):
            return self._do_box(job, descriptor, root)
        if isinstance(job, messages.TreeJob):
            return self._do_tree(job)
        match self._outcome(job, descriptor):
            case LayerFacts() as facts:
                return messages.Done(id=job.id, facts=facts)
            case notes:
                return messages.Done(id=job.id, notes=notes)

    def _do_box(self, job: messages.BoxJob, descriptor: int, root: int) -> messages.Done:
        """The jobs about a container's files."""
        from contextkernel.store import worker_box, worker_changes, worker_commit, worker_settle

        check, ids = self._checker(job), self._ids
        check()
        match job:
            case messages.Look():
                return messages.Done(
                    id=job.id, path=worker_box.look(job.view, job.path, root, ids, check, follow=job.follow)
                )
            case messages.Pack():
                worker_box.pack(job, root, descriptor, ids, check)
            case messages.Place():
                return messages.Done(id=job.id, notes=worker_box.place(job.request, root, descriptor, ids, check))
            case messages.Changes():
                reowned = worker_box.reowned(job.view, ids, check)
                return messages.Done(id=job.id, changes=worker_changes.changes(job.view, ids, check, reowned))
            case messages.WriteChanges():
                with worker_settle.as_upper(job.view, ids, check) as view:
                    worker_commit.write_changes(view, descriptor, ids, check)
        return messages.Done(id=job.id)

    def _do_tree(self, job: messages.TreeJob) -> messages.Done:
        """The jobs about complete trees."""
        from contextkernel.store import worker_settle, worker_trees

        check = self._checker(job)
        check()
        match job:
            case messages.Prepare():
                return messages.Done(id=job.id, root=worker_trees.prepare(job.request, self._ids, check))
            case messages.Settle():
                worker_settle.settle(job.request, self._ids, check)
        return messages.Done(id=job.id)

    def _checker(self, job: Job) -> Callable[[], None]:
        room = self._rooms.get(job.id)

        def check() -> None:
            if job.id in self._cancelled:
                raise Cancelled("given up by the client")
            if room is not None and (size := room.exceeded()):
                raise Outgrown(str(size))

        return check

    def _outcome(self, job: Job, descriptor: int) -> LayerFacts | tuple[str, ...]:
        check = self._checker(job)
        check()
        ids = self._ids
        match job:
            case messages.Commit():
                from contextkernel.store.worker_commit import commit

                return commit(job.directory, ids, check, job.lowers)
            case messages.Unpack():
                from contextkernel.store.worker_unpack import unpack

                source = descriptor if job.source is None else job.source
                return unpack(source, job.directory, job.limit, ids, check)
            case messages.Copy():
                from contextkernel.store.worker_copy import copy

                return copy(job.request, ids, check)
            case messages.MakeDir():
                from contextkernel.store.worker_copy import make_dir

                return make_dir(job.request, ids, check)
            case messages.Populate():
                from contextkernel.store.worker_copy import populate

                populate(job.request, ids, check)
            case messages.WriteTar():
                from contextkernel.store.worker_commit import write_tar

                return write_tar(job.directory, descriptor, check, job.latest)
            case messages.ExportTar():
                from contextkernel.store.worker_export import export_tar

                export_tar(job.request, descriptor, check)
            case messages.ExportTree():
                from contextkernel.store.worker_export import export_tree

                export_tree(job.request, descriptor, ids, check)
            case messages.Remove():
                remove(job.paths)
            case messages.Measure():
                from contextkernel.store.worker_settle import measured

                return tuple(str(measured(path, check)) for path in job.paths)
            case messages.Adopt():
                return adopt(job.source, job.directory, ids, check)
        return ()


def _has_descriptor(request: Job) -> bool:
    """Whether a descriptor to read from or to write to comes along."""
    return isinstance(request, _WITH_DESCRIPTOR) or (isinstance(request, messages.Unpack) and request.source is None)


def _has_root(request: Job) -> bool:
    """Whether the root of a running container comes along."""
    match request:
        case messages.Look(view=view) | messages.Pack(view=view):
            return view.running
        case messages.Place(request=place):
            return place.view.running
    return False


def remove(paths: tuple[str, ...]) -> None:
    """See ports.LayerWorker."""
    from contextkernel.store.worker_tree import remove_at

    for path in paths:
        clean = path.rstrip("/")
        if not os.path.isabs(clean):
            raise StoreProblem(f"will not remove {path!r}: not an absolute path")
        try:
            parent = os.open(os.path.dirname(clean), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            remove_at(parent, os.path.basename(clean))
        finally:
            os.close(parent)


def adopt(source: str, directory: str, ids: Ids, check: Callable[[], None]) -> LayerFacts:
    """See ports.LayerWorker."""
    from contextkernel.store.worker_commit import commit

    try:
        os.rename(source, f"{directory}/diff")
    except OSError as problem:
        raise SyscallFailed("rename", problem.errno or 0, source, "the tree must be on the store's file system") from (
            problem
        )
    return commit(directory, ids, check)


def _raise_limits() -> None:
    """As many descriptors as allowed, and calls inside of calls: deep trees need some per level."""
    import resource
    import sys

    sys.setrecursionlimit(4 * _MAX_DEPTH)

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _enter(start: messages.Start) -> Ids:
    """Take on the ids, and get mounts of our own where that is allowed."""
    from contextkernel.linux import mount, namespaces
    from contextkernel.linux.userns_shared import enter_shared

    enter_shared(start.idmap, start.registry)
    os.umask(0)
    _raise_limits()
    mounts = not start.idmap.own
    try:
        if mounts:
            namespaces.unshare(namespaces.CLONE_NEWNS)
            mount.make_private()
    except SyscallFailed:
        if not start.idmap.identity:
            raise
        mounts = False  # root in a container, without the capability for it
    return Ids(start.idmap, backing=start.backing, mounts=mounts)


def main(descriptor: int) -> None:
    """Serve the client at the other end of a socket; does not return.

    Args:
        descriptor: a connected unix stream socket.
    """
    channel = Channel(socket.socket(fileno=descriptor))
    status = 0
    try:
        start: Request | None = channel.receive(Request)
        if isinstance(start, messages.Start):
            try:
                ids = _enter(start)
            except BaseException as error:
                channel.send(messages.Failed(id=0, error=to_problem(error)))
                raise
            channel.send(messages.Ready())
            Worker(channel, ids).serve()
        elif start is not None:
            raise ProtocolViolation(f"the client of the layer worker began with {type(start).__name__}, not Start")
    except BaseException:
        status = 1
    finally:
        os._exit(status)  # without waiting for jobs: nobody is there to hear of them
