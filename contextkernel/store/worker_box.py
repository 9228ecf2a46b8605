"""Jobs about the files of a container: looking, packing, unpacking, what has changed.

Of a container that runs, the root comes along as a descriptor, and every name is resolved inside of it
(``RESOLVE_IN_ROOT``), whatever its programs do meanwhile. Of one that does not, the same view is put together here.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, cast

from contextkernel.errors import Conflict, HostUnsupported, InvalidInput, SyscallFailed
from contextkernel.layer import names
from contextkernel.layer.untar import read_members
from contextkernel.linux import mount
from contextkernel.linux.fsops import DIRECTORY
from contextkernel.linux.openat2 import make_dirs_in_root, open_in_root
from contextkernel.model.box import BoxMount, BoxView, PathFacts, PathKind, PlaceRequest
from contextkernel.store.resolving import destination_in_root
from contextkernel.store.tree_pack import Packer, writer
from contextkernel.store.tree_unpack import Peekable, Unpacker
from contextkernel.store.worker_extract import open_source
from contextkernel.store.worker_messages import Pack
from contextkernel.store.worker_new_owners import noted_user
from contextkernel.store.worker_owners import Notes, Owner, owners_below, resolve_owner
from contextkernel.store.worker_stage import MOUNTING
from contextkernel.store.worker_tree import Ids

Check = Callable[[], None]
_KINDS: dict[int, PathKind] = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink"}
_FLAGS = mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC
_ABSENT = {errno.ENOENT, errno.ENOTDIR}


@contextmanager
def open_view(view: BoxView, root: int, ids: Ids, *, write: bool) -> Iterator[int]:
    """A descriptor of the root of a container's files, with its volumes and binds.

    Args:
        view: where they are.
        root: of a running container; else -1.
        ids: of the worker.
        write: something is to be changed.
    """
    if root >= 0:
        yield root
        return
    token = os.urandom(6).hex()
    place, scratch = f"{view.room}/view-{token}", f"{view.room}/scratch-{token}"
    made: list[str] = []
    os.mkdir(place, 0o700)
    try:
        _mount_files(view, place, scratch, ids, write=write)
        try:
            descriptor = os.open(place, DIRECTORY | os.O_CLOEXEC)
            try:
                for one in sorted(view.mounts, key=lambda one: one.target.count("/")):
                    made += _mount_one(one, descriptor)
                yield descriptor
            finally:
                os.close(descriptor)
        finally:
            mount.umount(place, mount.MNT_DETACH)
            if write:
                _remove_points(view.upper, made)
    finally:
        os.rmdir(place)
        shutil.rmtree(scratch, ignore_errors=True)


def _mount_files(view: BoxView, place: str, scratch: str, ids: Ids, *, write: bool) -> None:
    """Mount layers and changes; what is only read gets a writable layer that is thrown away, for mount points."""
    lowers, upper, work = view.lowers, view.upper, view.work
    if not write:
        os.mkdir(scratch, 0o700)
        upper, work = f"{scratch}/upper", f"{scratch}/work"
        info = os.stat(view.upper)
        for path in (upper, work):
            os.mkdir(path, 0o755)
        ids.chown(upper, info.st_uid, info.st_gid, "/")
        os.chmod(upper, stat.S_IMODE(info.st_mode))
        lowers = (*lowers, view.upper)
    with MOUNTING:
        if lowers:
            mount.overlay(place, lowers=lowers, upper=upper, work=work, userxattr=ids.userns, flags=_FLAGS)
        else:
            mount.bind(upper, place)


def _mount_one(one: BoxMount, root: int) -> list[str]:
    """Bind one volume; returns what had to be made for its place, outermost first."""
    source = os.open(one.source, os.O_PATH | os.O_CLOEXEC)
    try:
        if one.subpath:
            whole, source = source, open_in_root(source, one.subpath)
            os.close(whole)
        here = f"/proc/self/fd/{source}"
        directory = os.path.isdir(here)
        place = one.target if directory else posixpath.dirname(one.target)
        point, made = make_dirs_in_root(root, place)
        try:
            if not directory:
                name = posixpath.basename(one.target)
                with suppress(FileExistsError):
                    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=point))
                    made = (*made, one.target.strip("/"))
                os.close(point)
                point = open_in_root(root, one.target)
            attributes = mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_RDONLY * one.read_only
            mount.bind_at(here, point, attributes)
        finally:
            os.close(point)
    finally:
        os.close(source)
    return list(made)


def _remove_points(upper: str, made: list[str]) -> None:
    for path in reversed(made):
        with suppress(OSError):
            if os.path.isdir(f"{upper}/{path}"):
                os.rmdir(f"{upper}/{path}")
            elif os.path.getsize(f"{upper}/{path}") == 0:
                os.unlink(f"{upper}/{path}")


def look(view: BoxView, path: str, root: int, ids: Ids, *, follow: bool) -> PathFacts:
    """What is at a path; see ports.LayerWorker."""
    with open_view(view, root, ids, write=False) as opened:
        return _look(opened, view, path, follow=follow)


def _look(root: int, view: BoxView, path: str, *, follow: bool) -> PathFacts:
    clean = posixpath.normpath(f"/{path}").replace("//", "/")
    as_directory = path.endswith(("/", "/.")) or path in (".", "")
    where = _resolved(root, clean, follow=follow or as_directory)
    if _is_hidden(where, view.hidden):
        return PathFacts(path=f"/{where}")
    shown = "/" if where == "." else f"/{where}"
    try:
        found = open_in_root(root, where, os.O_PATH | os.O_NOFOLLOW)
    except SyscallFailed as failure:
        if failure.number in _ABSENT:
            return PathFacts(path=shown)
        raise
    try:
        info = os.fstat(found)
    finally:
        os.close(found)
    kind = _KINDS.get(stat.S_IFMT(info.st_mode), "other")
    if as_directory and kind != "dir":
        kind = "not-a-directory"
    link = f"/{destination_in_root(root, clean)}".removesuffix("/.") or "/" if kind == "symlink" else ""
    size, mtime = info.st_size, info.st_mtime_ns
    return PathFacts(path=shown, kind=kind, mode=info.st_mode, size=size, mtime=mtime, link=link)


def _resolved(root: int, path: str, *, follow: bool) -> str:
    """``path`` from the root without links on the way; with ``follow`` without any."""
    if follow or path == "/":
        return destination_in_root(root, path)
    directory, name = posixpath.split(path)
    return names.join(destination_in_root(root, directory), name)


def _is_hidden(path: str, hidden: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{one}/") for one in hidden)


def pack(job: Pack, root: int, descriptor: int, ids: Ids, check: Check) -> None:
    """Write what is at a path as a tar archive; see ports.LayerWorker."""
    view, where = job.view, job.path.strip("/")
    with open_view(view, root, ids, write=False) as opened:
        packer = Packer(writer(descriptor), owner=_owners(view, ids), hidden=frozenset(view.hidden), check=check)
        if job.kind == "dir":
            # opened as what it was found to be: a link that has taken its place meanwhile would be one on the host
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
            try:
                here = open_in_root(opened, where or ".", flags)
            except SyscallFailed as failure:
                raise _other(job.path) from failure
            directory, base = here, "."
        else:
            parent, base = names.split(where)
            here = directory = open_in_root(opened, parent, os.O_PATH | os.O_DIRECTORY)
        try:
            if _kind_at(directory, base) != job.kind:
                raise _other(job.path)
            packer.add(directory, base, job.name, where)
            packer.end()
        finally:
            os.close(here)


def _kind_at(directory: int, base: str) -> PathKind:
    try:
        mode = os.stat(base, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    return _KINDS.get(stat.S_IFMT(mode), "other")


def _other(path: str) -> Conflict:
    return Conflict(f"{path} has become something else while it was to be copied", hint="try again")


def _owners(view: BoxView, ids: Ids) -> Callable[[str, os.stat_result], Owner]:
    """With a single id the indexes of the layers know the owners of what the image has."""
    if not ids.single:
        return lambda _path, info: (info.st_uid, info.st_gid)
    known, user = owners_below(view.lowers), noted_user(view.upper)
    elsewhere = tuple(f"{one.target.strip('/')}/" for one in view.mounts)

    def owner(path: str, _info: os.stat_result) -> Owner:
        """What is in a volume may be anybody's; what is new is the program's user's."""
        return known.get(path or ".") or ((0, 0) if f"{path}/".startswith(elsewhere) else user)

    return owner


def place(request: PlaceRequest, root: int, descriptor: int, ids: Ids, check: Check) -> tuple[str, ...]:
    """Unpack an archive into a directory; see ports.LayerWorker."""
    view = request.view
    with open_view(view, root, ids, write=True) as opened:
        where = destination_in_root(opened, request.path)
        if _is_hidden(where, view.hidden) or where in view.hidden:
            raise InvalidInput(
                f"cannot copy into /{where}: it is the engine's", hint="choose a directory of the container's own"
            )
        os.close(open_in_root(opened, where, os.O_PATH | os.O_DIRECTORY))
        fixed = (
            resolve_owner(request.owner, partial(open_in_root, opened), Notes(strict=False)) if request.owner else None
        )

        def chown(target: int | str, uid: int, gid: int, path: str, dir_fd: int | None) -> None:
            wanted = fixed or (uid, gid)
            try:
                ids.chown(target, *wanted, path, dir_fd=dir_fd)
            except HostUnsupported:  # an id of the host's that has no like in here: its user is root in here
                ids.chown(target, 0, 0, path, dir_fd=dir_fd)

        unpacker = Unpacker(opened, where, follow=True, chown=chown, check=check)
        stream = Peekable(descriptor)
        if not stream.peek():
            return ()  # nothing at all is an archive of nothing, as with docker
        source = open_source(cast("Any", stream), None)
        unpacker.run(read_members(source, names.contained))
        source.finish()
        return tuple(unpacker.skipped)
