"""Committing an overlay upper directory, and rendering a layer's tar: each file is read once."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec.structs import replace

from contextkernel.errors import StoreProblem
from contextkernel.layer import names, tar
from contextkernel.layer.index import encode_name, layer_size, pack_index, sort_key, unpack_index
from contextkernel.linux.xattr import OVERLAY_PREFIXES
from contextkernel.model.box import BoxView
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Entry, EntryKind, LayerFacts
from contextkernel.model.recorded import Device
from contextkernel.store.file_rows import KINDS, file_row
from contextkernel.store.worker_changes import without_points
from contextkernel.store.worker_new_owners import noted_user, with_new_owners
from contextkernel.store.worker_noting import note_owners
from contextkernel.store.worker_owners import Owner, OwnerTable, index_of, owner_for, owners_below
from contextkernel.store.worker_records import Records
from contextkernel.store.worker_tree import Ids, Tree, write_file
from contextkernel.store.worker_unchanged import without_unchanged

_CHUNK = 1 << 20
#: the one attribute that BuildKit writes into a layer (containerd's archive/tar.go); others end with the build
_CARRIED = "security.capability"

Check = Callable[[], None]
#: owners by path, where the host can store one only; those of the layers below come last
Known = tuple[Mapping[str, Owner], ...]


class Sink:
    """Takes the bytes of a tar: hashes them, and writes them to a descriptor if there is one."""

    def __init__(self, descriptor: int = -1) -> None:
        self._descriptor = descriptor
        self._sha = hashlib.sha256()
        self._parts: list[bytes] = []
        self._waiting = 0

    def add(self, data: bytes) -> None:
        """Take a small piece."""
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting >= _CHUNK:
            self.flush()

    def add_large(self, data: memoryview) -> None:
        """Take a piece whose memory the caller will use again."""
        self.flush()
        self._out(data)

    def flush(self) -> None:
        """Pass on what was gathered."""
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._waiting = 0
            self._out(memoryview(data))

    def _out(self, data: memoryview) -> None:
        self._sha.update(data)
        if self._descriptor >= 0:
            while data:
                data = data[os.write(self._descriptor, data) :]

    def digest(self) -> Digest:
        """The digest of everything."""
        self.flush()
        return Digest.from_hex(self._sha.hexdigest())


def commit(directory: str, ids: Ids, check: Check, lowers: tuple[str, ...] = ()) -> LayerFacts:
    """See ports.LayerWorker.

    Args:
        directory: the layer's.
        ids: of the worker.
        check: raises when the client has given up.
        lowers: the ``diff`` directories below, asked for owners with a single id and for what has not changed.
    """
    sink = Sink()
    owners: Known | None = None
    if ids.single:
        owners = (OwnerTable(directory).owners, _indexed(directory), owners_below(lowers))
    with Tree(f"{directory}/diff") as tree:
        scanned = _owned(tree, f"{directory}/diff", check, owners)
        scanned = without_unchanged(scanned, tree, lowers, _xattrs, _CARRIED)
        entries = list(_emit(tree, scanned, sink, check, known=False))
        if ids.single:
            note_owners(tree, entries)
    sink.add(tar.END)
    diff_id = sink.digest()
    write_file(f"{directory}/index", pack_index(entries))
    return LayerFacts(diff_id=diff_id, size=layer_size(entries), entries=len(entries))


def write_changes(view: BoxView, descriptor: int, ids: Ids, check: Check) -> None:
    """See ports.LayerWorker."""
    sink = Sink(descriptor)
    with Tree(view.upper) as tree:
        scanned = changed_rows(tree, view, ids, check)
        scanned = without_unchanged(scanned, tree, view.lowers, _xattrs, _CARRIED)
        for _ in _emit(tree, without_points(scanned, view.lowers), sink, check, known=False):
            pass
    sink.add(tar.END)
    sink.flush()


def write_tar(directory: str, descriptor: int, check: Check, latest: int | None = None) -> LayerFacts:
    """See ports.LayerWorker."""
    entries = index_of(f"{directory}/diff")
    if latest is not None:
        entries = [replace(row, mtime=latest) if row.mtime > latest else row for row in entries]
    sink = Sink(descriptor)
    with Tree(f"{directory}/diff") as tree:
        for _ in _emit(tree, entries, sink, check, known=True):
            pass
    sink.add(tar.END)
    return LayerFacts(diff_id=sink.digest(), size=layer_size(entries), entries=len(entries))


def _indexed(directory: str) -> dict[str, Owner]:
    """Owners that an earlier index of the same directory has."""
    try:
        with open(f"{directory}/index", "rb") as stream:
            entries = unpack_index(stream.read())
    except FileNotFoundError:
        return {}
    return {entry.path: (entry.uid, entry.gid) for entry in entries if entry.kind not in {"whiteout", "opaque"}}


def changed_rows(tree: Tree, view: BoxView, ids: Ids, check: Check) -> list[Entry]:
    """What a container has changed, with the owners that the files are to have; contents are still to be read.

    Args:
        tree: its upper directory.
        view: where its files are.
        ids: of the worker.
        check: raises when the client has given up.
    """
    return _owned(tree, view.upper, check, (owners_below(view.lowers),) if ids.single else None)


def _owned(tree: Tree, diff: str, check: Check, owners: Known | None) -> list[Entry]:
    """The rows of an upper directory with the owners that they have, or, with a single id, that they should have."""
    if owners is None:
        return scan(tree, check, None)
    records = Records(os.path.dirname(diff))
    rows = scan(tree, check, owners, records)
    return with_new_owners(rows, owners, noted_user(diff), records.seen)


def scan(tree: Tree, check: Check, owners: Known | None, records: Records | None = None) -> list[Entry]:
    """The rows of an upper directory in index order; contents and attributes of files are still to be read."""
    found: list[tuple[bytes, str, os.stat_result, bool, Device | None]] = []
    rows: list[Entry] = []
    todo = ["."]
    while todo:
        path = todo.pop()
        check()
        descriptor = tree.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if path != ".":
                attributes = _xattrs(descriptor, path)
                if any(attributes.get(f"{prefix}opaque") == b"y" for prefix in OVERLAY_PREFIXES):
                    rows.append(Entry(path=path, kind="opaque", mode=0))
                if records is not None:
                    records.read(path, attributes)
                rows.append(_row(path, "dir", os.fstat(descriptor), owners, xattrs=_carried(attributes)))
            with os.scandir(descriptor) as listing:
                for item in listing:
                    info = item.stat(follow_symlinks=False)
                    below = names.join(path, item.name)
                    if stat.S_ISDIR(info.st_mode):
                        todo.append(below)
                    elif not stat.S_ISSOCK(info.st_mode):  # a socket means nothing without its process
                        key = encode_name(below).replace(b"/", b"\0")
                        device = None if records is None else records.look(descriptor, item.name, info, below).device
                        found.append((key, below, info, item.name.startswith(names.WHITEOUT), device))
        finally:
            os.close(descriptor)
    found.sort(key=lambda one: one[0])
    first: dict[int, str] = {}
    for _, path, info, marked, device in found:
        kind = KINDS[stat.S_IFMT(info.st_mode)]
        if kind == "char" and info.st_rdev == 0:
            rows.append(Entry(path=path, kind="whiteout", mode=0))
        elif marked:
            # what fuse-overlayfs leaves where it may not make devices; anywhere else it means the same in the tar
            rows += _marked(path)
        elif info.st_nlink > 1 and (leader := first.setdefault(info.st_ino, path)) != path:
            rows.append(_row(path, "hardlink", info, owners, link=leader))
        elif kind == "symlink":
            directory, name = tree.parent(path)
            rows.append(_row(path, kind, info, owners, link=os.readlink(name, dir_fd=directory)))
        elif kind == "file" and device is not None:
            row = _row(path, device.kind, info, owners)
            rows.append(replace(row, major=device.major, minor=device.minor))
        else:
            rows.append(_row(path, kind, info, owners))
    rows.sort(key=sort_key)
    return rows


def _marked(path: str) -> list[Entry]:
    """The row for a file whose name is a whiteout mark; none for other bookkeeping of union file systems."""
    directory, name = names.split(path)
    if names.is_aufs_metadata(path):
        return []
    target = names.whiteout_target(name)
    if target == ".":
        return [Entry(path=directory, kind="opaque", mode=0)]
    return [Entry(path=names.join(directory, str(target)), kind="whiteout", mode=0)]


def _row(
    path: str,
    kind: EntryKind,
    info: os.stat_result,
    owners: Known | None,
    *,
    link: str = "",
    xattrs: dict[str, bytes] | None = None,
) -> Entry:
    owner = (info.st_uid, info.st_gid) if owners is None else owner_for(path, owners)
    return file_row(path, kind, info, owner, link=link, xattrs=xattrs)


def _xattrs(descriptor: int, path: str) -> dict[str, bytes]:
    """All extended attributes of an open file, sorted by name."""
    try:
        found = os.listxattr(descriptor)
    except OSError:
        return {}  # a file system without them
    attributes = {name: os.getxattr(descriptor, name) for name in sorted(found)} if found else {}
    for name in attributes:
        if name.startswith(OVERLAY_PREFIXES) and name.endswith((".redirect", ".metacopy")):
            raise StoreProblem(
                f"{path!r} is not complete in this layer: it carries {name}",
                hint="the overlay was mounted with redirect_dir or metacopy on; report this as a bug",
            )
    return attributes


def _carried(attributes: Mapping[str, bytes]) -> dict[str, bytes]:
    return {_CARRIED: attributes[_CARRIED]} if _CARRIED in attributes else {}


def _emit(tree: Tree, entries: Iterable[Entry], sink: Sink, check: Check, *, known: bool) -> Iterator[Entry]:
    """Render rows to ``sink``; yields them completed, or as they were if ``known``."""
    buffer = memoryview(bytearray(_CHUNK))
    for entry in entries:
        check()
        if entry.kind != "file":
            sink.add(tar.header(entry))
            yield entry
            continue
        directory, name = tree.parent(entry.path)
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
        try:
            yield emit_file(descriptor, entry, sink, buffer, known=known)
        finally:
            os.close(descriptor)


def emit_file(descriptor: int, entry: Entry, sink: Sink, buffer: memoryview, *, known: bool) -> Entry:
    """Render one file.

    Args:
        descriptor: the open file.
        entry: its row.
        sink: takes header, content and padding.
        buffer: for content.
        known: the row has digest and attributes already.

    Returns:
        The row, completed unless it was known.
    """
    xattrs = entry.xattrs
    if not known:
        attributes = _xattrs(descriptor, entry.path)
        if attributes:
            if any(f"{prefix}whiteout" in attributes for prefix in OVERLAY_PREFIXES) and entry.size == 0:
                hidden = Entry(path=entry.path, kind="whiteout", mode=0)
                sink.add(tar.header(hidden))
                return hidden
            xattrs = _carried(attributes)
            if xattrs:
                entry = _completed(entry, "", xattrs)
    sink.add(tar.header(entry))
    size = entry.size
    if size <= _CHUNK // 4:
        # one byte more is asked for, to notice a file that grew
        data = os.read(descriptor, size + 1) if size else b""
        if len(data) != size:
            raise _changed(entry)
        sink.add(data)
        digest = "" if known else hashlib.sha256(data).hexdigest()
    else:
        content = hashlib.sha256()
        left = size
        while left:
            count = os.readv(descriptor, [buffer[: min(left, _CHUNK)]])
            if not count:
                raise _changed(entry)
            sink.add_large(buffer[:count])
            if not known:
                content.update(buffer[:count])
            left -= count
        digest = content.hexdigest()
    sink.add(tar.padding(size))
    return entry if known else _completed(entry, digest, xattrs)


def _changed(entry: Entry) -> StoreProblem:
    return StoreProblem(f"{entry.path!r} does not have the {entry.size} bytes it should have")


def _completed(entry: Entry, digest: str, xattrs: dict[str, bytes]) -> Entry:
    return Entry(
        path=entry.path,
        kind=entry.kind,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime=entry.mtime,
        digest=digest,
        xattrs=xattrs,
    )
