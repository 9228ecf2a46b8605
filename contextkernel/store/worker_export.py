"""Writing what a stack of layers looks like: one tar, or files in a directory of the caller.

Source of the rules: BuildKit's ``exporter/local`` and ``exporter/tar``, and ``fsutil``, which writes the files at the
client: owners are kept in a tar and are the caller's own in a directory; modes, times, hard links, devices and
attributes are kept in both; sockets are in no layer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from contextkernel.errors import InvalidInput, StoreProblem, SyscallFailed
from contextkernel.layer import names, tar
from contextkernel.layer.index import sort_key
from contextkernel.layer.merge import merge_located
from contextkernel.model.layers import Entry, ExportRequest, ExtraFile
from contextkernel.store.worker_commit import Check, Sink, emit_file
from contextkernel.store.worker_owners import index_of
from contextkernel.store.worker_tree import Ids, Tree, remove_at

_CHUNK = 1 << 20
_SECOND = 1_000_000_000
_TYPES = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}

_Place = tuple[int, str]


def export_tar(request: ExportRequest, descriptor: int, check: Check) -> None:
    """See ports.LayerWorker."""
    sink = _Outlet(descriptor)
    buffer = memoryview(bytearray(_CHUNK))
    with _Sources(request.layers) as sources:
        for entry, place in _rows(request):
            check()
            # whole seconds, rounded as Go's archive/tar does
            row = msgspec.structs.replace(entry, mtime=(entry.mtime + _SECOND // 2) // _SECOND * _SECOND)
            if isinstance(place, ExtraFile):
                sink.add(tar.header(row) + place.data + tar.padding(row.size))
            elif row.kind != "file":
                sink.add(tar.header(row))
            else:
                with sources.open(entry, place) as source:
                    emit_file(source, row, sink, buffer, known=True)
    if not request.more:
        sink.add(tar.END)
    sink.flush()


def export_tree(request: ExportRequest, descriptor: int, ids: Ids, check: Check) -> None:
    """See ports.LayerWorker."""
    with Tree(os.dup(descriptor)) as target, _Sources(request.layers) as sources:
        writer = _TreeWriter(target, sources, ids)
        for entry, place in _rows(request):
            check()
            writer.put(entry, place)
        writer.finish(check, delete=request.delete)


def _rows(request: ExportRequest) -> Iterator[tuple[Entry, _Place | ExtraFile | None]]:
    """What to write, in order, under the names of the output."""
    rows: list[tuple[Entry, _Place | ExtraFile | None]] = [
        (entry, place)
        for entry, place in merge_located(index_of(f"{layer}/diff") for layer in request.layers)
        if entry.path != "."
    ]
    if request.only:
        wanted = frozenset(request.only)
        rows = [row for row in rows if row[0].path in wanted]
    extras = {extra.path: extra for extra in request.extras}
    if extras:  # a file of the result under such a name gives way
        rows = [row for row in rows if row[0].path not in extras]
        rows += [
            (Entry(path=one.path, kind="file", mode=one.mode, size=len(one.data), mtime=one.mtime), one)
            for one in extras.values()
        ]
        rows.sort(key=lambda row: sort_key(row[0]))
    if request.prefix:
        yield Entry(path=request.prefix, kind="dir", mode=0o755, mtime=request.mtime or 0), None
    for entry, place in rows:
        changes: dict[str, object] = {}
        if request.mtime is not None:
            changes["mtime"] = request.mtime
        if request.prefix:
            changes["path"] = names.join(request.prefix, entry.path)
            if entry.kind == "hardlink":
                changes["link"] = names.join(request.prefix, entry.link)
        yield (msgspec.structs.replace(entry, **changes) if changes else entry), place


class _Outlet(Sink):
    """A sink whose refusals are the output's, not the store's."""

    def _out(self, data: memoryview) -> None:
        try:
            super()._out(data)
        except OSError as problem:
            raise _refused("the output", problem) from problem


class _Sources:
    """The trees of the layers, opened when first needed."""

    def __init__(self, layers: tuple[str, ...]) -> None:
        self._layers = layers
        self._trees: dict[int, Tree] = {}

    def __enter__(self) -> _Sources:
        return self

    def __exit__(self, *_: object) -> None:
        for tree in self._trees.values():
            tree.close()

    @contextmanager
    def open(self, entry: Entry, place: _Place | ExtraFile | None) -> Iterator[int]:
        """A descriptor to read a file from."""
        if not isinstance(place, tuple):
            raise StoreProblem(f"{entry.path!r} is in no layer")
        number, path = place
        if number not in self._trees:
            self._trees[number] = Tree(f"{self._layers[number]}/diff")
        directory, name = self._trees[number].parent(path)
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _refused(path: str, problem: OSError) -> InvalidInput:
    return InvalidInput(
        f"cannot write {path}: {(problem.strerror or str(problem)).lower()}",
        hint="choose another place for the output, or remove what is in the way",
    )


class _TreeWriter:
    """Writes entries below an open directory; parents come before what is in them."""

    def __init__(self, target: Tree, sources: _Sources, ids: Ids) -> None:
        self._target = target
        self._sources = sources
        self._ids = ids
        self._directories: list[Entry] = []
        self._kept: dict[str, set[str]] = {".": set()}

    def put(self, entry: Entry, place: _Place | ExtraFile | None) -> None:
        """Write one entry."""
        try:
            directory, name = self._target.parent(entry.path)
        except SyscallFailed as problem:
            raise InvalidInput(
                f"cannot write {entry.path!r} in the output directory: {problem.problem}",
                hint="somebody else changes the directory meanwhile: export to another one",
            ) from problem
        self._kept.setdefault(names.split(entry.path)[0], set()).add(name)
        if entry.kind == "dir":
            self._directory(directory, name, entry)
            return
        temporary = f".tmp.{os.urandom(8).hex()}"
        try:
            self._make(directory, temporary, entry, place)
            with _placed(entry):
                self._move(entry.path, temporary)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise

    def _directory(self, directory: int, name: str, entry: Entry) -> None:
        with _placed(entry):
            try:
                os.mkdir(name, 0o700, dir_fd=directory)
            except FileExistsError:
                there = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if not stat.S_ISDIR(there.st_mode):
                    os.unlink(name, dir_fd=directory)
                    os.mkdir(name, 0o700, dir_fd=directory)
                elif there.st_mode & 0o700 != 0o700:
                    os.chmod(name, there.st_mode & 0o7777 | 0o700, dir_fd=directory)
        self._directories.append(entry)
        self._kept.setdefault(entry.path, set())

    def _make(self, directory: int, temporary: str, entry: Entry, place: _Place | ExtraFile | None) -> None:
        """Make the entry under a temporary name, complete but for its name."""
        match entry.kind:
            case "file":
                with _placed(entry):
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                    output = os.open(temporary, flags, 0o600, dir_fd=directory)
                try:
                    if isinstance(place, ExtraFile):
                        with _placed(entry):
                            _write(output, place.data)
                    else:
                        with self._sources.open(entry, place) as source:
                            _transfer(source, output, entry)
                    with _placed(entry):
                        self._attributes(output, entry)
                        os.fchmod(output, entry.mode & 0o7777)
                        os.utime(output, ns=(entry.mtime, entry.mtime))
                finally:
                    os.close(output)
                return
            case "hardlink":
                with _placed(entry):
                    source, name = self._target.parent(entry.link)
                    os.link(name, temporary, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
                return
            case "symlink":
                with _placed(entry):
                    os.symlink(entry.link, temporary, dir_fd=directory)
            case "char" | "block" | "fifo":
                try:
                    mode = _TYPES[entry.kind] | 0o600
                    os.mknod(temporary, mode, os.makedev(entry.major, entry.minor), dir_fd=directory)
                except PermissionError:
                    raise InvalidInput(
                        f"cannot make the device {entry.path!r} in the output directory: only root may",
                        hint="use -o type=tar,dest=FILE, which can hold devices",
                    ) from None
                os.chmod(temporary, entry.mode & 0o7777, dir_fd=directory)
            case kind:
                raise StoreProblem(f"{entry.path!r} is a {kind}, which no merged tree has")
        with _placed(entry):
            os.utime(temporary, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)

    def _move(self, path: str, temporary: str) -> None:
        directory, name = self._target.parent(path)
        try:
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except IsADirectoryError:
            remove_at(directory, name)
            self._target.forget()
            directory, name = self._target.parent(path)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        # a link over another name of the same file is no change, and leaves the temporary name
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)

    def _attributes(self, output: int, entry: Entry) -> None:
        """Extended attributes, as far as the file system and the caller's rights go; docker does not insist either."""
        for key, value in entry.xattrs.items():
            if key.startswith("user.") or not (self._ids.userns or self._ids.own):
                with suppress(OSError):
                    os.setxattr(output, key, value)

    def finish(self, check: Check, *, delete: bool) -> None:
        """Remove what does not belong there, if asked; give directories their modes and times, innermost first."""
        if delete:
            for path, kept in self._kept.items():
                check()
                self._remove_others(path, kept)
        self._target.forget()
        for entry in reversed(self._directories):
            with _placed(entry):
                here = self._target.open(entry.path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    self._attributes(here, entry)
                    os.fchmod(here, entry.mode & 0o7777)
                    os.utime(here, ns=(entry.mtime, entry.mtime))
                finally:
                    os.close(here)

    def _remove_others(self, path: str, kept: set[str]) -> None:
        with _placed(Entry(path=path, kind="dir")):
            here = self._target.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in os.listdir(here):
                    if name not in kept:
                        remove_at(here, name)
            finally:
                os.close(here)


@contextmanager
def _placed(entry: Entry) -> Iterator[None]:
    """What the output directory refuses is no problem of the store."""
    try:
        yield
    except OSError as problem:
        raise _refused(f"{entry.path!r} in the output directory", problem) from problem


def _write(output: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(output, view) :]


def _transfer(source: int, output: int, entry: Entry) -> None:
    left = entry.size
    while left:
        data = os.read(source, min(left, _CHUNK))
        if not data:
            raise StoreProblem(f"{entry.path!r} does not have the {entry.size} bytes it should have")
        with _placed(entry):
            _write(output, data)
        left -= len(data)
