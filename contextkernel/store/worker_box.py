"""Jobs about the files of a container: looking, packing, unpacking, what has changed.

Of a container that runs, the root comes along as a descriptor, and every name is resolved inside of it
(``RESOLVE_IN_ROOT``), whatever its programs do meanwhile. Of one that does not, the same view is put together here.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from contextkernel.errors import Conflict, HostUnsupported, InvalidInput, SyscallFailed
from contextkernel.layer import names
from contextkernel.layer.untar import read_members
from contextkernel.linux import mount, statx
from contextkernel.linux.openat2 import open_in_root
from contextkernel.model.box import BoxView, PathFacts, PathKind, PlaceRequest
from contextkernel.model.layers import Entry
from contextkernel.model.recorded import OWNER, PLACED, Device, RecordedOwner
from contextkernel.store.resolving import destination_in_root
from contextkernel.store.tree_pack import Packer, writer
from contextkernel.store.tree_unpack import Peekable, Unpacker
from contextkernel.store.worker_commit import changed_rows
from contextkernel.store.worker_extract import open_source
from contextkernel.store.worker_messages import Pack
from contextkernel.store.worker_new_owners import noted_user
from contextkernel.store.worker_owners import Notes, Owner, owners_below, resolve_owner
from contextkernel.store.worker_settle import as_upper
from contextkernel.store.worker_tree import Ids, Tree
from contextkernel.store.worker_view import OpenedView, open_view

Check = Callable[[], None]
_KINDS: dict[int, PathKind] = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink"}
_FLAGS = mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC
_ABSENT = {errno.ENOENT, errno.ENOTDIR}


def look(view: BoxView, path: str, root: int, ids: Ids, check: Check, *, follow: bool) -> PathFacts:
    """What is at a path; see ports.LayerWorker."""
    with open_view(view, root, ids, check, write=False) as opened:
        return _look(opened, view, path, follow=follow)


def _look(opened: OpenedView, view: BoxView, path: str, *, follow: bool) -> PathFacts:
    clean = posixpath.normpath(f"/{path}").replace("//", "/")
    as_directory = path.endswith(("/", "/.")) or path in (".", "")
    where = _resolved(opened.root, clean, follow=follow or as_directory)
    if _is_hidden(where, view.hidden):
        return PathFacts(path=f"/{where}")
    with opened.at(where) as (root, place):
        inside = place
        if root != opened.root:
            inside = _resolved(root, place, follow=follow or as_directory)
            where = opened.shown(where, inside)
        shown = "/" if where == "." else f"/{where}"
        try:
            found = open_in_root(root, inside, os.O_PATH | os.O_NOFOLLOW)
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
    link = f"/{destination_in_root(opened.root, clean)}".removesuffix("/.") or "/" if kind == "symlink" else ""
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
    with open_view(view, root, ids, check, write=False) as whole, whole.at(where or ".") as (opened, inside):
        owner, node = _noted(view, ids, check, whole.changes)
        packer = Packer(writer(descriptor), owner=owner, node=node, hidden=frozenset(view.hidden), check=check)
        if job.kind == "dir":
            # opened as what it was found to be: a link that has taken its place meanwhile would be one on the host
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
            try:
                here = open_in_root(opened, inside, flags)
            except SyscallFailed as failure:
                raise _other(job.path) from failure
            directory, base = here, "."
        else:
            parent, base = names.split(inside)
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


def _noted(
    view: BoxView, ids: Ids, check: Check, changes: str
) -> tuple[Callable[[str, os.stat_result], Owner], Callable[[str], Device | None]]:
    """Owners and device nodes by path; with a single id indexes and notes know them."""
    if not ids.single:
        return (lambda _path, info: (info.st_uid, info.st_gid)), (lambda _path: None)
    known, user = owners_below(view.lowers), noted_user(changes)
    changed = {row.path: row for row in _changed(view, ids, check)}
    elsewhere = tuple(f"{one.target.strip('/')}/" for one in view.mounts)

    def owner(path: str, _info: os.stat_result) -> Owner:
        """What is in a volume may be anybody's; what is new is the program's user's."""
        if f"{path}/".startswith(elsewhere):
            return 0, 0
        row = changed.get(path)
        return (row.uid, row.gid) if row is not None else known.get(path or ".", user)

    def node(path: str) -> Device | None:
        row = changed.get(path)
        if row is None or f"{path}/".startswith(elsewhere):
            return None
        kind = row.kind
        return Device(kind, row.major, row.minor) if kind in ("char", "block") else None

    return owner, node


def reowned(view: BoxView, ids: Ids, check: Check) -> frozenset[str]:
    """Paths that a container has changed and that have another owner than below, where the host cannot store it."""
    if not ids.single:
        return frozenset()
    known = owners_below(view.lowers)
    rows = _changed(view, ids, check)
    return frozenset(row.path for row in rows if known.get(row.path, (row.uid, row.gid)) != (row.uid, row.gid))


def _changed(view: BoxView, ids: Ids, check: Check) -> list[Entry]:
    with as_upper(view, ids, check) as settled, Tree(settled.upper) as tree:
        return changed_rows(tree, settled, ids, check)


def place(request: PlaceRequest, root: int, descriptor: int, ids: Ids, check: Check) -> tuple[str, ...]:
    """Unpack an archive into a directory; see ports.LayerWorker."""
    view = request.view
    with open_view(view, root, ids, check, write=True) as whole:
        where = destination_in_root(whole.root, request.path)
        if _is_hidden(where, view.hidden) or where in view.hidden:
            raise InvalidInput(
                f"cannot copy into /{where}: it is the engine's", hint="choose a directory of the container's own"
            )
        with whole.at(where) as (opened, inside):
            return _place(request, opened, whole.root, destination_in_root(opened, inside), descriptor, ids, check)


def _note_owner(target: int, owner: Owner) -> None:
    """Whose a file or directory is that was put into a container."""
    with suppress(OSError):  # a file system without such attributes
        os.setxattr(target, OWNER, RecordedOwner(*owner).encode(PLACED))


def _place(
    request: PlaceRequest, opened: int, root: int, where: str, descriptor: int, ids: Ids, check: Check
) -> tuple[str, ...]:
    os.close(open_in_root(opened, where, os.O_PATH | os.O_DIRECTORY))
    own = statx.look(root).place if opened == root else None  # volumes and binds in there are other mounts
    fixed = resolve_owner(request.owner, partial(open_in_root, root), Notes(strict=False)) if request.owner else None

    def chown(target: int | str, uid: int, gid: int, path: str, dir_fd: int | None) -> None:
        wanted = fixed or (uid, gid)
        if ids.single:
            if isinstance(target, int) and own is not None and statx.look(target).place == own:
                _note_owner(target, wanted)
            return
        try:
            ids.chown(target, *wanted, path, dir_fd=dir_fd)
        except HostUnsupported:  # an id of the host's that has no like in here: its user is root in here
            ids.chown(target, 0, 0, path, dir_fd=dir_fd)

    unpacker = Unpacker(opened, where, follow=True, chown=chown, check=check)
    stream = Peekable(descriptor)
    if not stream.peek():
        return ()  # nothing at all is an archive of nothing, as with docker
    source = open_source(cast("Any", stream), None, check=check)
    unpacker.run(read_members(source, names.contained))
    source.finish()
    return tuple(unpacker.skipped)
