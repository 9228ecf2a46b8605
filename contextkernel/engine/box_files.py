"""Verbs of the files of containers: cp, diff, export."""

from __future__ import annotations

import errno
import os
import posixpath
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from contextkernel.engine.composition import Composition
from contextkernel.errors import (
    ContextKernelError,
    HostUnsupported,
    InvalidInput,
    NotFound,
    SyscallFailed,
)
from contextkernel.model.box import BoxView, Change, PathFacts, PlaceRequest

if TYPE_CHECKING:
    from contextkernel.engine.local_tree import Source
    from contextkernel.model.container import ContainerSpec

#: what the engine mounts over the files of a container that runs
_HIDDEN = ("proc", "sys", "dev")
_ALIVE = ("running", "paused")


class BoxFiles(Composition):
    """Looking into, taking from and putting into the files of containers, whether they run or not."""

    def copy(
        self,
        source: str,
        destination: str,
        *,
        archive: bool = False,
        follow_link: bool = False,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> None:
        """Copy files between a container and this host, by docker's rules for paths.

        Args:
            source, destination: a local path, or ``CONTAINER:PATH``; one of each. ``-`` is a tar archive, taken from
                ``stdin`` or written to ``stdout``.
            archive: what goes into a container that has a user belongs to that user, as with docker.
            follow_link: copy what a link leads to instead of the link itself.
            stdin, stdout: descriptors for ``-``.

        Raises:
            ContainerNotFound: no such container. NotFound: nothing is there.
            InvalidInput: paths that do not fit, or that cannot be read or written.
            Conflict: a directory meets a file.
        """
        here, there = split_path(source), split_path(destination)
        if here[0] and there[0]:
            raise InvalidInput("copying between containers is not supported", hint="copy to this host first")
        if not here[0] and not there[0]:
            raise InvalidInput("must specify at least one container source", hint="CONTAINER:PATH")
        if here[0]:
            self._copy_out(here[0], here[1], destination, follow=follow_link, stdout=stdout)
        else:
            self._copy_in(source, there[0], there[1], archive=archive, follow=follow_link, stdin=stdin)

    def get_archive(self, container: str, path: str, output: int, *, follow_link: bool = False) -> PathFacts:
        """Write what is at a path of a container as a tar archive; the name follows docker-py.

        Args:
            container: name or id.
            path: in the container.
            output: descriptor to write to.
            follow_link: what a link leads to instead of the link.

        Returns:
            What is there.

        Raises:
            NotFound: nothing is there.
        """
        from contextkernel.engine.local_tree import wanted_name

        spec = self._containers.find(container)
        with self._box(spec) as (view, root):
            facts = self._found(spec, view, path, root, follow=follow_link)
            self._worker().pack(view, facts, wanted_name(path), output, root=root)
        self._containers.tell(spec, "archive-path")
        return facts

    def put_archive(self, container: str, path: str, source: int, *, archive: bool = False) -> None:
        """Unpack a tar archive, plain or compressed, into a directory of a container; the name follows docker-py.

        Args:
            container: name or id.
            path: an existing directory.
            source: descriptor to read from.
            archive: as for :meth:`copy`.

        Raises:
            NotFound: no such directory. InvalidInput: it cannot be written. Conflict: a directory meets a file.
        """
        spec = self._containers.find(container)
        with self._box(spec) as (view, root):
            self._place(spec, view, path, source, root, archive=archive)

    def diff(self, container: str) -> tuple[Change, ...]:
        """What a container has changed of its image: added, changed and deleted paths, sorted."""
        spec = self._containers.find(container)
        return self._worker().changes(self._view(spec))

    def export(self, container: str, output: str | int) -> None:
        """Write the files of a container, without its volumes, as one tar archive.

        Args:
            container: name or id.
            output: path, or open descriptor.

        Raises:
            InvalidInput: the output cannot be written.
        """
        from contextkernel.store.outfile import opened, unwritable

        spec = self._containers.find(container)
        with opened(output) as sink:
            try:
                self._worker().pack(self._view(spec), PathFacts(path="/", kind="dir"), "", sink.fileno())
            except SyscallFailed as failure:
                if failure.number in (errno.EPIPE, errno.ENOSPC, errno.EIO):
                    raise unwritable(OSError(failure.number, os.strerror(failure.number)), output) from failure
                raise
        self._containers.tell(spec, "export")

    # ---- where the files are

    def _view(self, spec: ContainerSpec) -> BoxView:
        """The container's own files, without volumes."""
        from contextkernel.layer.lowers import overlay_lowers

        directory = self._store.container_dir(spec.id)
        return BoxView(
            lowers=overlay_lowers(layer.directory for layer in self._store.layers_of(spec.image_id)),
            upper=f"{directory}/upper",
            work=f"{directory}/work",
            room=directory,
        )

    @contextmanager
    def _box(self, spec: ContainerSpec) -> Iterator[tuple[BoxView, int]]:
        """The container's files with its volumes, and a descriptor of its root while it runs."""
        import msgspec

        from contextkernel.runtime.mounting import box_mounts

        view = self._view(spec)
        root = self._live_root(spec)
        if root < 0:
            yield msgspec.structs.replace(view, mounts=box_mounts(spec.mounts, self._store)), -1
            return
        try:
            yield msgspec.structs.replace(view, running=True, hidden=_HIDDEN), root
        finally:
            os.close(root)

    def _live_root(self, spec: ContainerSpec) -> int:
        state = self._containers.state(spec)
        if state.status not in _ALIVE or self._idmap.own:  # there the process has the host's root
            return -1
        try:
            root = os.open(f"/proc/{state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1  # it has ended meanwhile
        except OSError as problem:
            raise HostUnsupported(
                f"cannot look into the running container {spec.name!r}: {(problem.strerror or '').lower()}",
                hint="stop it first",
            ) from None
        again = self._containers.state(spec)
        if again.status in _ALIVE and again.pid == state.pid:
            return root
        os.close(root)
        return -1

    def _found(self, spec: ContainerSpec, view: BoxView, path: str, root: int, *, follow: bool) -> PathFacts:
        if not path:
            raise InvalidInput("bad parameter: path cannot be empty", hint="CONTAINER:PATH")
        facts = self._worker().look(view, path, root=root, follow=follow)
        shown = posixpath.normpath(f"/{path}").replace("//", "/")
        if facts.kind == "not-a-directory":
            raise InvalidInput(f"lstat {shown}/: not a directory", hint="leave out the / at its end")
        if not facts.kind:
            raise _missing(shown, spec)
        return facts

    # ---- copying

    def _copy_out(self, container: str, path: str, destination: str, *, follow: bool, stdout: int | None) -> None:
        from contextkernel.engine.local_tree import local_place, unpack_local, wanted_name

        if destination == "-":
            self.get_archive(container, path, _given(stdout, "standard output"), follow_link=follow)
            return
        spec = self._containers.find(container)
        with self._box(spec) as (view, root):
            facts = self._found(spec, view, path, root, follow=follow)
            place = local_place(destination, of_directory=facts.kind == "dir")
            name = place.name or wanted_name(path)
            worker = self._worker()
            with _piped(lambda descriptor: worker.pack(view, facts, name, descriptor, root=root)) as archive:
                unpack_local(archive, place)
        self._containers.tell(spec, "archive-path")

    def _copy_in(
        self, source: str, container: str, path: str, *, archive: bool, follow: bool, stdin: int | None
    ) -> None:
        from contextkernel.engine.local_tree import local_source, pack_local

        found = None if source == "-" else local_source(source, follow=follow)
        spec = self._containers.find(container)
        with self._box(spec) as (view, root):
            facts = self._worker().look(view, path or ".", root=root, follow=True)
            if found is None:
                if facts.kind != "dir":
                    raise InvalidInput(f'destination "{container}:{path}" must be a directory', hint="make it first")
                self._place(spec, view, facts.path, _given(stdin, "standard input"), root, archive=archive)
                return
            directory, name = _target(facts, found, path)
            with _piped(lambda descriptor: pack_local(found, name, descriptor, self._idmap)) as packed:
                self._place(spec, view, directory, packed, root, archive=archive)

    def _place(self, spec: ContainerSpec, view: BoxView, path: str, source: int, root: int, *, archive: bool) -> None:
        inside = [mount for mount in spec.mounts.points if path == mount.target or path.startswith(f"{mount.target}/")]
        if any(mount.read_only for mount in inside):
            raise InvalidInput("mounted volume is marked read-only", hint=f"{inside[0].target} was mounted with ro")
        if spec.read_only and not inside:
            raise InvalidInput("container rootfs is marked read-only", hint="copy into one of its volumes")
        request = PlaceRequest(view=view, path=path, owner=spec.user if archive else "")
        try:
            self._worker().place(request, source, root=root)
        except SyscallFailed as failure:
            if failure.number == errno.ENOENT:
                raise _missing(path, spec) from failure
            if failure.number == errno.ENOTDIR:
                raise InvalidInput("extraction point is not a directory", hint=path) from failure
            if failure.number == errno.EROFS:
                raise InvalidInput("mounted volume is marked read-only", hint=path) from failure
            raise
        self._containers.tell(spec, "extract-to-dir")


def split_path(text: str) -> tuple[str, str]:
    """``CONTAINER:PATH`` in two; an empty container for a local path (docker/cli, ``splitCpArg``)."""
    container, colon, path = text.partition(":")
    if os.path.isabs(text) or not colon or container.startswith("."):
        return "", text
    return container, path


def _missing(path: str, spec: ContainerSpec) -> NotFound:
    return NotFound(f"could not find the file {path} in container {spec.name}", hint="paths count from its root")


def _given(descriptor: int | None, what: str) -> int:
    if descriptor is None:
        raise InvalidInput(f"there is no {what} for an archive here", hint="name a path instead of -")
    return descriptor


def _target(facts: PathFacts, source: Source, asked: str) -> tuple[str, str]:
    """Directory of the container and name there (docker's ``PrepareArchiveCopy``)."""
    from contextkernel.engine.local_tree import asserts_directory

    exists = facts.kind not in ("", "not-a-directory")
    if exists and facts.kind == "dir" and asked:
        return facts.path, source.name
    if exists and facts.kind == "other":
        raise InvalidInput(f"destination {asked!r} must be a directory or a regular file")
    if exists and asked and source.is_directory:
        raise InvalidInput("cannot copy directory", hint=f"{facts.path} is not a directory")
    if (not exists or not asked) and not source.is_directory and asserts_directory(asked):
        raise InvalidInput("no such directory", hint="make it first, or leave out the / at its end")
    directory, name = posixpath.split(facts.path.rstrip("/") or "/")
    return directory or "/", name


@contextmanager
def _piped(write: Callable[[int], Any]) -> Iterator[int]:
    """The end to read of a pipe that a thread writes to; what went wrong there is raised at the end.

    Who reads may stop early; the writer then gets EPIPE.
    """
    reader, end = os.pipe()
    problems: list[BaseException] = []

    def run() -> None:
        try:
            write(end)
        except BaseException as problem:
            problems.append(problem)
        finally:
            os.close(end)

    thread = threading.Thread(target=run, name="ck-archive", daemon=True)
    thread.start()
    try:
        yield reader
    except ContextKernelError:
        os.close(reader)
        thread.join()
        # an archive that ends too early is the writer's fault, if it has one to tell of
        if problems and not _is_broken_pipe(problems[0]):
            raise problems[0] from None
        raise
    except BaseException:
        os.close(reader)
        raise
    else:
        os.close(reader)
        thread.join()
        if problems:
            raise problems[0]


def _is_broken_pipe(problem: BaseException) -> bool:
    return isinstance(problem, BrokenPipeError) or (
        isinstance(problem, SyscallFailed) and problem.number == errno.EPIPE
    )
