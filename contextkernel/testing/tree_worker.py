"""A layer worker on plain directories, in this process, that keeps no owners."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Sequence

import msgspec

from contextkernel.errors import SourceNotFound, StoreProblem
from contextkernel.layer.index import pack_index
from contextkernel.layer.selection import Selection
from contextkernel.model.backing import PrepareRequest, Root, SettleRequest
from contextkernel.model.digest import Digest
from contextkernel.model.layers import CopyItem, CopyRequest, Entry, ExportRequest, LayerFacts, MakeDirRequest
from contextkernel.store.measuring import measure


class TreeWorker:
    """A layer worker on plain directories.

    Attributes:
        copies: the copy requests, in order.
        committed: directories that were committed.
        lowers: what was said to lie below each of them.
        exports: the export requests, in order.
    """

    def __init__(self) -> None:
        self.copies: list[CopyRequest] = []
        self.committed: list[str] = []
        self.lowers: list[tuple[str, ...]] = []
        self.exports: list[ExportRequest] = []

    def commit(self, directory: str, *, lowers: Sequence[str] = ()) -> LayerFacts:
        """See ``ports.LayerWorker``; times do not count."""
        return self._commit(directory, lowers)

    def _commit(self, directory: str, lowers: Sequence[str] = (), *, timed: bool = False) -> LayerFacts:
        self.lowers.append(tuple(lowers))
        entries = sorted(_entries(os.path.join(directory, "diff")), key=lambda entry: entry.path.split("/"))
        if timed:
            times = [os.lstat(os.path.join(directory, "diff", entry.path)).st_mtime_ns for entry in entries]
            entries = [
                msgspec.structs.replace(entry, mtime=time) if entry.kind == "file" else entry
                for entry, time in zip(entries, times, strict=True)
            ]
        with open(os.path.join(directory, "index"), "wb") as stream:
            stream.write(pack_index(entries))
        self.committed.append(directory)
        text = repr(entries).encode("utf-8", "surrogateescape")
        size = sum(entry.size for entry in entries)
        return LayerFacts(diff_id=Digest.of(text), size=size, entries=len(entries))

    def prepare(self, request: PrepareRequest) -> Root:
        """See ports.LayerWorker; nothing is to be done."""
        return request.root

    def settle(self, request: SettleRequest) -> None:
        """See ports.LayerWorker; nothing is to be done."""

    def copy(self, request: CopyRequest) -> tuple[str, ...]:
        """See ``ports.LayerWorker``; owners and modes are not applied."""
        self.copies.append(request)
        inside = request.destination.lstrip("/")
        into = request.directory or any(os.path.isdir(os.path.join(lower, inside)) for lower in request.lowers)
        for item in request.items:
            self._copy_one(request, item, os.path.join(request.upper, inside), into=into)
        return ()

    def _copy_one(self, request: CopyRequest, item: CopyItem, target: str, *, into: bool) -> None:
        if item.data is not None:
            path = os.path.join(target, item.name) if into else target
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.write(item.data)
            return
        roots = [request.source_root] if request.source_root else list(reversed(request.source_lowers))
        source = next((p for p in (os.path.join(root, item.source) for root in roots) if os.path.lexists(p)), None)
        if source is None:
            raise SourceNotFound(f"{item.source!r} is not there")
        if item.contents:
            excluded = {os.path.normpath(os.path.join(roots[0], path)) for path in request.excludes}
            selection = Selection(item.include, request.exclude)

            def left_out(path: str) -> bool:
                below = os.path.relpath(path, source)
                is_directory = os.path.isdir(path) and not os.path.islink(path)
                return not (selection.enters(below) if is_directory else selection.takes(below))

            def ignore(directory: str, names: list[str]) -> list[str]:
                paths = {name: os.path.normpath(os.path.join(directory, name)) for name in names}
                return [name for name, path in paths.items() if path in excluded or left_out(path)]

            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=ignore)
            for directory, _, _ in os.walk(target, topdown=False):  # those that nothing was copied to
                if not selection.takes(os.path.relpath(directory, target)) and not os.listdir(directory):
                    os.rmdir(directory)
            return
        path = os.path.join(target, item.name) if into else target
        extract = item.extract and tarfile.is_tarfile(source)
        os.makedirs(target if extract else os.path.dirname(path), exist_ok=True)
        if extract:
            _extract(source, target)
        else:
            shutil.copy(source, path, follow_symlinks=False)

    def cancel(self, thread: int) -> None:
        """See ``OwnerKeepingWorker``; nothing here takes long."""

    def make_dir(self, request: MakeDirRequest) -> tuple[str, ...]:
        """See ``ports.LayerWorker``."""
        inside = request.path.lstrip("/")
        if not any(os.path.isdir(os.path.join(lower, inside)) for lower in request.lowers):
            os.makedirs(os.path.join(request.upper, inside), exist_ok=True)
        return ()

    def unpack(self, source: str | int, directory: str, *, limit: int | None = None) -> LayerFacts:
        """See ``ports.LayerWorker``."""
        del limit
        _extract(source, os.path.join(directory, "diff"))
        return self._commit(directory, timed=True)

    def write_tar(self, directory: str, descriptor: int, *, latest: int | None = None) -> LayerFacts:
        """Not what a builder does."""
        raise StoreProblem(f"{directory}: no tar for {descriptor}, {latest}")

    def export_tar(self, request: ExportRequest, descriptor: int) -> None:
        """See ``ports.LayerWorker``; only the request is kept."""
        del descriptor
        self.exports.append(request)

    def export_tree(self, request: ExportRequest, descriptor: int) -> None:
        """See ``ports.LayerWorker``; only the request is kept."""
        del descriptor
        self.exports.append(request)

    def remove(self, paths: Sequence[str]) -> None:
        """See ``ports.LayerWorker``."""
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)

    def measure(self, paths: Sequence[str]) -> tuple[int, ...]:
        """See ports.LayerWorker."""
        return tuple(measure(path) for path in paths)

    def adopt(self, source: str, directory: str) -> LayerFacts:
        """See ``ports.LayerWorker``."""
        os.rename(source, os.path.join(directory, "diff"))
        return self.commit(directory)

    def close(self) -> None:
        """See ``ports.LayerWorker``."""


def _extract(source: str | int, target: str) -> None:
    with open(source, "rb", closefd=isinstance(source, str)) as file, tarfile.open(fileobj=file) as archive:
        # the attribute is ignored by Pythons before 3.11.4, which extract everything anyway
        archive.extraction_filter = lambda member, _path: member
        archive.extractall(target)  # noqa: S202 - archives that a test has made


def _entries(root: str) -> Iterator[Entry]:
    for directory, folders, files in os.walk(root):
        for name in ("", *folders, *files) if directory == root else (*folders, *files):
            path = os.path.join(directory, name) if name else root
            facts = os.lstat(path)
            relative = os.path.relpath(path, root)
            mode = stat.S_IMODE(facts.st_mode)
            if stat.S_ISDIR(facts.st_mode):
                yield Entry(path=relative, kind="dir", mode=mode)
            elif stat.S_ISLNK(facts.st_mode):
                yield Entry(path=relative, kind="symlink", mode=0o777, link=os.readlink(path))
            else:
                with open(path, "rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                yield Entry(path=relative, kind="file", mode=mode, size=facts.st_size, digest=digest)
