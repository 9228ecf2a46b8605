"""COPY, ADD and WORKDIR: changing the merged view of a stage.

The rules are BuildKit's (solver/llbsolver/file and tonistiigi/fsutil/copy): where a destination leads, what is made on
the way, what may replace what, which metadata is taken over.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping

from contextkernel.errors import InvalidInput, SourceNotFound, SyscallFailed
from contextkernel.layer import names
from contextkernel.layer.selection import Selection
from contextkernel.linux.openat2 import open_in_root
from contextkernel.model.layers import CopyItem, CopyRequest, MakeDirRequest, PopulateRequest
from contextkernel.model.modes import parse_mode
from contextkernel.store.resolving import destination_in_root
from contextkernel.store.worker_add import extract_archive, is_archive
from contextkernel.store.worker_commit import Check
from contextkernel.store.worker_extract import set_xattrs
from contextkernel.store.worker_files import copy_bytes, is_whiteout, new_file, readable, xattrs_of
from contextkernel.store.worker_noting import copy_device
from contextkernel.store.worker_owners import Notes, Owner, resolve_owner, true_owners
from contextkernel.store.worker_stage import Stage, open_merged, open_source_root, open_stage
from contextkernel.store.worker_tree import Ids


def make_dir(request: MakeDirRequest, ids: Ids, check: Check) -> tuple[str, ...]:
    """See ports.LayerWorker."""
    check()
    with open_stage(request.lowers, request.upper, request.work, ids, check) as stage:
        notes = Notes(strict=not request.lowers)
        owner = resolve_owner(request.owner, stage.tree.open_inside, notes) if request.owner else (0, 0)
        path = stage.tree.resolve(request.path)
        stage.make_dirs(path, request.mode, owner, mtime=request.mtime)
        stage.finish(request.lowers)
    return notes.texts


def copy(request: CopyRequest, ids: Ids, check: Check) -> tuple[str, ...]:
    """See ports.LayerWorker."""
    with (
        open_stage(request.lowers, request.upper, request.work, ids, check) as stage,
        open_source_root(request, ids, check) as source,
    ):
        notes = Notes(strict=not request.lowers)
        owner = resolve_owner(request.chown, stage.tree.open_inside, notes) if request.chown else None
        kept: Mapping[str, Owner] = {}
        if ids.single and owner is None and request.source_root is None and request.source_lowers:
            kept = true_owners(request.source_lowers)
        if owner is None and request.source_root is not None:
            owner = (0, 0)
        job = _Copy(request, stage, source, owner, kept, check)
        for item in request.items:
            job.item(item)
        stage.finish(request.lowers)
    return notes.texts + job.notes


class _Made:
    """A directory of the source that is made at the destination when the first entry in it is copied."""

    def __init__(self, copy: _Copy, target: str, path: str, outer: _Made | None) -> None:
        self._copy = copy
        self._target = target
        self._path = path
        self._outer = outer
        self.done = False
        self.existed = False

    def make(self) -> None:
        """Make it, after those around it."""
        if self.done:
            return
        if self._outer is not None:
            self._outer.make()
        self.existed = self._copy.make_directory(self._target, self._path)
        self.done = True


class _Copy:
    """One COPY or ADD at work.

    Args:
        request: what is wanted.
        stage: where it goes.
        source: descriptor of the source root, ``-1`` without one.
        owner: for everything; ``None`` keeps the source's.
        kept: with a single id, what the source's indexes say of owners.
        check: raises when the client has given up.
        whole: a directory that is there already gets owner, mode and attributes of the source too.
    """

    def __init__(
        self,
        request: CopyRequest,
        stage: Stage,
        source: int,
        owner: Owner | None,
        kept: Mapping[str, Owner],
        check: Check,
        *,
        whole: bool = False,
    ) -> None:
        self._whole = whole
        self._request = request
        self._stage = stage
        self._source = source
        self._owner = owner
        self._kept = kept
        self._check = check
        self._ignored = frozenset(request.excludes)
        self._selection = Selection(None, ())
        self._change = parse_mode(request.chmod) if request.chmod else None
        self._links: dict[tuple[int, int], str] = {}
        self.notes: tuple[str, ...] = ()

    def item(self, item: CopyItem) -> None:
        """Copy one source."""
        self._links.clear()  # BuildKit keeps hard links within one source
        request, stage = self._request, self._stage
        made_owner = self._owner or (0, 0)
        made_mode = 0o755
        if self._change is not None and self._change.absolute is not None:
            made_mode = self._change.absolute & 0o777  # BuildKit: without setuid and the like; never symbolic
        target = stage.tree.resolve(request.destination)
        if item.data is not None:
            self._heredoc(item, item.data, target, made_owner, made_mode)
            return
        path, descriptor = self._open_source(item)
        try:
            info = os.fstat(descriptor)
            if item.extract and stat.S_ISREG(info.st_mode) and is_archive(descriptor):
                stage.make_dirs(target, 0o755, made_owner)
                owner = self._owner if request.chown else None
                self.notes += extract_archive(descriptor, stage, target, owner, self._check)
                return
            directory = stat.S_ISDIR(info.st_mode)
            stage.make_dirs(target if request.directory else names.split(target)[0], made_mode, made_owner)
            existing = stage.kind(target)
            if (directory and not item.contents and existing) or (not directory and existing == "dir"):
                target = names.join(target, item.name or names.split(_base(item.source))[1])
            stage.make_dirs(
                target if directory and item.contents and not existing else names.split(target)[0],
                made_mode,
                made_owner,
            )
            if directory:
                self._selection = Selection(item.include, request.exclude)
                self._directory(descriptor, path, target, "", None)
            else:
                parent, name = names.split(path)
                holder = self._open_beneath(parent)
                try:
                    self._other(holder, name, path, target, info)
                finally:
                    os.close(holder)
        finally:
            os.close(descriptor)

    def tree(self, source: int, path: str) -> None:
        """Copy what is in an open directory, ``path`` from the source root, into the root of the destination."""
        self._directory(source, path, ".", "", None)

    def _heredoc(self, item: CopyItem, data: bytes, target: str, owner: Owner, made_mode: int) -> None:
        stage = self._stage
        stage.make_dirs(target if self._request.directory else names.split(target)[0], made_mode, owner)
        if stage.kind(target) == "dir":
            target = names.join(target, item.name or names.split(_base(item.source))[1])
        self._make_room(target)
        mode = 0o644 if self._change is None else self._change.apply(0o644, directory=False)
        parent, name = stage.tree.parent(target)
        descriptor = new_file(parent, name)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            stage.own(descriptor, target, owner)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def _open_source(self, item: CopyItem) -> tuple[str, int]:
        """The real path of a source (links followed inside of its root), and a descriptor of what is there."""
        path = destination_in_root(self._source, item.source)
        try:
            with readable(item.source):
                descriptor = open_in_root(self._source, path, os.O_PATH | os.O_NOFOLLOW)
        except SyscallFailed as failure:
            if failure.number in {errno.ENOENT, errno.ENOTDIR}:
                raise _missing(item.source) from failure
            raise
        if path in self._ignored:
            os.close(descriptor)
            raise SourceNotFound(
                f"{item.source!r} does not exist in the build context", hint="the ignore file leaves it out"
            )
        info = os.fstat(descriptor)
        if is_whiteout(info):
            os.close(descriptor)
            raise _missing(item.source)
        if stat.S_ISREG(info.st_mode):
            os.close(descriptor)
            with readable(item.source):
                descriptor = open_in_root(self._source, path, os.O_RDONLY | os.O_NOFOLLOW)
        return path, descriptor

    def _open_beneath(self, path: str) -> int:
        return open_in_root(self._source, path, os.O_PATH | os.O_DIRECTORY)

    def _directory(self, source: int, path: str, target: str, below: str, made: _Made | None) -> None:
        """Merge a directory into ``target``; what is already there keeps its metadata only at the top.

        Args:
            source: descriptor of the directory.
            path: its path from the source root.
            target: where it goes.
            below: its path in the source that is copied, empty for that itself.
            made: what is to be made around it.
        """
        stage, top = self._stage, not below
        with readable(path):
            listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source)
        try:
            info = os.fstat(listing)
            taken = self._selection.takes(below)
            here = _Made(self, target, path, made)
            if taken:
                here.make()
            with os.scandir(listing) as entries:
                inside = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
            for name, facts in inside:
                self._check()
                place, deeper = names.join(path, name), f"{below}/{name}" if below else name
                if place in self._ignored:
                    continue
                if stat.S_ISDIR(facts.st_mode):
                    if not self._selection.enters(deeper):
                        continue
                    with readable(place):
                        step = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=listing)
                    try:
                        self._directory(step, place, names.join(target, name), deeper, here)
                    finally:
                        os.close(step)
                elif self._selection.takes(deeper) and not is_whiteout(facts):
                    here.make()
                    self._other(listing, name, place, names.join(target, name), facts)
            if not here.done:
                return
            descriptor = stage.tree.open(target, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if top and here.existed and not self._whole:
                    if path != "." or self._request.source_root is None:
                        # the time of a context's own directory is not sent along
                        os.utime(descriptor, ns=(info.st_atime_ns, info.st_mtime_ns))
                elif taken or not here.existed:
                    self._metadata(descriptor, target, path, info, self._xattrs(listing), timed=taken)
                else:
                    os.fchmod(descriptor, stat.S_IMODE(info.st_mode))
            finally:
                os.close(descriptor)
        finally:
            os.close(listing)

    def make_directory(self, target: str, path: str) -> bool:
        """Make one directory of the destination, whose parent is there; returns whether it was there already."""
        existing = self._stage.kind(target)
        if existing and existing != "dir":
            raise InvalidInput(
                f"cannot copy the directory {path!r} to {'/' + target!r}: it is not a directory",
                hint="remove it in an earlier step, or choose another destination",
            )
        if not existing:
            parent, name = self._stage.tree.parent(target)
            os.mkdir(name, 0o700, dir_fd=parent)
        return bool(existing)

    def _make_room(self, target: str) -> None:
        """Take away what a file or link replaces."""
        existing = self._stage.kind(target)
        if existing == "dir":
            raise InvalidInput(
                f"cannot replace the directory {'/' + target!r} with a file",
                hint="end the destination in / to copy into the directory",
            )
        if existing:
            self._stage.tree.unlink(target)

    def _other(self, holder: int, name: str, path: str, target: str, info: os.stat_result) -> None:
        """Copy anything but a directory."""
        stage = self._stage
        self._make_room(target)
        parent, last = stage.tree.parent(target)
        if stat.S_ISREG(info.st_mode):
            self._regular(holder, name, path, target, info)
            return
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=holder), last, dir_fd=parent)
        else:
            try:
                # a socket means nothing without its process; docker makes an empty file of it
                kind = stat.S_IFREG if stat.S_ISSOCK(info.st_mode) else stat.S_IFMT(info.st_mode)
                os.mknod(last, kind | 0o600, info.st_rdev, dir_fd=parent)
            except PermissionError as problem:
                raise InvalidInput(
                    f"cannot copy the device {path!r}: devices cannot be made in a user namespace",
                    hint="leave it out with the ignore file or --exclude; containers have their own /dev",
                ) from problem
        owner = self._owner_of(path, info)
        stage.own(last, target, owner, dir_fd=parent)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(last, self._mode(info), dir_fd=parent)
        os.utime(last, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _regular(self, holder: int, name: str, path: str, target: str, info: os.stat_result) -> None:
        stage = self._stage
        parent, last = stage.tree.parent(target)
        key = (info.st_dev, info.st_ino)
        leader = self._links.get(key) if info.st_nlink > 1 else None
        if leader is not None:
            holder_of_leader, first = stage.tree.parent(leader)
            parent, last = stage.tree.parent(target)
            os.link(first, last, src_dir_fd=holder_of_leader, dst_dir_fd=parent, follow_symlinks=False)
            owner = stage.owners.get(leader)
            if owner is not None:
                stage.owners[target] = owner
            return
        if info.st_nlink > 1:
            self._links[key] = target
        with readable(path):
            source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=holder)
        try:
            descriptor = new_file(parent, last)
            try:
                copy_bytes(source, descriptor, info)
                if self._request.source_root is None:
                    copy_device(source, descriptor)
                self._metadata(descriptor, target, path, info, self._xattrs(source))
            finally:
                os.close(descriptor)
        finally:
            os.close(source)

    def _owner_of(self, path: str, info: os.stat_result) -> Owner:
        if self._owner is not None:
            return self._owner
        return self._kept.get(path, (0, 0)) if self._stage.ids.single else (info.st_uid, info.st_gid)

    def _xattrs(self, descriptor: int) -> dict[str, bytes]:
        """Those of an image; BuildKit's client sends none along."""
        return {} if self._request.source_root is not None else xattrs_of(descriptor)

    def _mode(self, info: os.stat_result) -> int:
        mode = stat.S_IMODE(info.st_mode)
        return mode if self._change is None else self._change.apply(mode, directory=stat.S_ISDIR(info.st_mode))

    def _metadata(
        self,
        descriptor: int,
        target: str,
        path: str,
        info: os.stat_result,
        attributes: Mapping[str, bytes],
        *,
        timed: bool = True,
    ) -> None:
        """Owner, then mode (a change of owner clears setuid), then attributes, then time."""
        self._stage.own(descriptor, target, self._owner_of(path, info))
        os.fchmod(descriptor, self._mode(info))
        set_xattrs(descriptor, attributes)
        if timed:
            os.utime(descriptor, ns=(info.st_atime_ns, info.st_mtime_ns))


def populate(request: PopulateRequest, ids: Ids, check: Check) -> None:
    """See ports.LayerWorker."""
    with open_merged(request.lowers, request.room, ids, check, (request.target,)) as source:
        path = destination_in_root(source, request.target)
        try:
            here = open_in_root(source, path, os.O_PATH | os.O_DIRECTORY)
        except SyscallFailed as failure:
            if failure.number in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return  # nothing to copy, or a file: the launch will say so
            raise
        try:
            with open_stage((), request.directory, "", ids, check) as stage:
                with os.scandir(request.directory) as listing:
                    if next(listing, None) is not None:
                        return
                kept = true_owners(request.lowers) if ids.single else {}
                wanted = CopyRequest(lowers=(), upper=request.directory, work="", destination="/")
                _Copy(wanted, stage, source, None, kept, check, whole=True).tree(here, path)
        finally:
            os.close(here)


def _base(source: str) -> str:
    return source.rstrip("/") or "."


def _missing(source: str) -> SourceNotFound:
    return SourceNotFound(f"{source!r} does not exist in the source of the copy")
