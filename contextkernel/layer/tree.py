"""A layer while it is being read: where each name really lands, and what the layer is at the end.

Names in an archive may run through symbolic links that the archive itself made. Everything is resolved here,
as values, so that the extractor only ever works on paths whose parents are real directories.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from contextkernel.errors import InvalidArchive
from contextkernel.layer import names
from contextkernel.layer.following import follow
from contextkernel.layer.index import sort_key
from contextkernel.model.layers import Entry


class _Inode:
    """What one or several names stand for; hard links share it."""

    __slots__ = ("entry",)

    def __init__(self, entry: Entry) -> None:
        self.entry = entry


class LayerTree:
    """The entries of one layer by path.

    Attributes:
        whiteouts: paths that the layer removes.
        opaques: directories that hide everything below.
    """

    def __init__(self) -> None:
        self.whiteouts: set[str] = set()
        self.opaques: set[str] = set()
        self._inodes: dict[str, _Inode] = {}
        self._children: dict[str, set[str]] = {".": set()}

    def __len__(self) -> int:
        return len(self._inodes) + len(self.whiteouts) + len(self.opaques)

    def get(self, path: str) -> Entry | None:
        """The entry at ``path``; for a further hard link that of the first name."""
        inode = self._inodes.get(path)
        return inode.entry if inode else None

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at ``path``, be it only implied."""
        return path in self._children

    def place(self, path: str, mtime: int = 0) -> tuple[str, tuple[str, ...]]:
        """Where a name from the archive lands.

        Args:
            path: a clean path.
            mtime: time for directories that the archive uses without having them.

        Returns:
            The path with all symbolic links in its parents resolved, and the parents that had to be made,
            outermost first: mode 0755, owned by root, as docker makes them.

        Raises:
            InvalidArchive: a parent is not a directory, or the links go round in circles.
        """
        directory, name = names.split(path)
        if directory in self._children:
            return path, ()
        made: list[str] = []

        def link_at(step: str) -> str | None:
            inode = self._inodes.get(step)
            if inode is None:
                self.put(Entry(path=step, kind="dir", mode=0o755, mtime=mtime))
                made.append(step)
            elif inode.entry.kind == "symlink":
                return inode.entry.link
            elif inode.entry.kind != "dir":
                raise InvalidArchive(f"entry {path!r} lies below {step!r}, which is a {inode.entry.kind}")
            return None

        here = follow(directory, link_at, lambda: InvalidArchive(f"entry {path!r} lies behind too many symbolic links"))
        return names.join(here, name), tuple(made)

    def put(self, entry: Entry) -> None:
        """Set what is at ``entry.path`` (a placed path); a directory on a directory keeps its children."""
        path = entry.path
        if path in self._inodes and not (entry.kind == "dir" and path in self._children):
            self.discard(path)
        self._inodes[path] = _Inode(entry)
        self._adopt(path)
        if entry.kind == "dir":
            self._children.setdefault(path, set())

    def link(self, path: str, target: str) -> Entry:
        """Make ``path`` a further name of ``target`` (both placed).

        Returns:
            The entry they share.

        Raises:
            InvalidArchive: there is no such target in this layer, or it is a directory.
        """
        inode = self._inodes.get(target)
        if inode is None:
            raise InvalidArchive(f"hard link {path!r} names {target!r}, which is not in the layer")
        if inode.entry.kind == "dir":
            raise InvalidArchive(f"hard link {path!r} names the directory {target!r}")
        if target.startswith(path + "/"):
            raise InvalidArchive(f"hard link {path!r} would replace the directory of its target {target!r}")
        if path != target:
            self.discard(path)
            self._inodes[path] = inode
            self._adopt(path)
        return inode.entry

    def discard(self, path: str) -> None:
        """Take ``path`` and everything below it out."""
        if path == ".":
            raise InvalidArchive("the root of the layer is not a directory")
        doomed = [path]
        while doomed:
            one = doomed.pop()
            self._inodes.pop(one, None)
            doomed += self._children.pop(one, ())
        siblings = self._children.get(names.split(path)[0])
        if siblings:
            siblings.discard(path)

    def _adopt(self, path: str) -> None:
        if path != ".":
            self._children[names.split(path)[0]].add(path)

    def hide(self) -> tuple[list[str], list[str]]:
        """What has to be marked on disk: paths to white out and directories to make opaque.

        A whiteout removes what lower layers have at its path. Where the layer puts something else there, a file hides
        the lower one anyway and a directory has to be opaque.
        """
        whiteouts = sorted(
            path
            for path in self.whiteouts
            if path not in self._inodes and names.split(path)[0] in self._children and path != "."
        )
        opaques = self.opaques | {path for path in self.whiteouts if path in self._children}
        return whiteouts, sorted(path for path in opaques if path in self._children)

    def entries(self) -> list[Entry]:
        """The rows of the layer's index: in order, each file under the first of its names."""
        whiteouts, opaques = self.hide()
        rows = [Entry(path=path, kind="whiteout", mode=0) for path in whiteouts]
        rows += [Entry(path=path, kind="opaque", mode=0) for path in opaques]
        rows += self._named()
        rows.sort(key=sort_key)
        return rows

    def _named(self) -> Iterator[Entry]:
        groups: dict[int, list[str]] = {}
        for path, inode in self._inodes.items():
            groups.setdefault(id(inode), []).append(path)
        for paths in groups.values():
            entry = self._inodes[paths[0]].entry
            if len(paths) == 1:
                yield entry if entry.path == paths[0] else msgspec.structs.replace(entry, path=paths[0])
                continue
            ranked = sorted(paths, key=lambda path: sort_key(Entry(path=path, kind="file")))
            yield msgspec.structs.replace(entry, path=ranked[0])
            for path in ranked[1:]:
                yield link_row(path, entry, ranked[0])

    def replace_content(self, path: str, size: int, digest: str) -> None:
        """Record what the content of the file at ``path`` turned out to be."""
        inode = self._inodes[path]
        inode.entry = msgspec.structs.replace(inode.entry, size=size, digest=digest)


def link_row(path: str, entry: Entry, link: str) -> Entry:
    """The row for a further name of a file.

    Args:
        path: this name.
        entry: the file's row.
        link: the first name.
    """
    return Entry(
        path=path, kind="hardlink", mode=entry.mode, uid=entry.uid, gid=entry.gid, mtime=entry.mtime, link=link
    )
