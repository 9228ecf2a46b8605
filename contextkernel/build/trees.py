"""Trees that COPY takes files from: the build context on disk, and merged layers; one port for both."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, Protocol

import msgspec

from contextkernel.layer import merge as merging
from contextkernel.layer.index import encode_name
from contextkernel.model.layers import Entry

NodeKind = Literal["file", "dir", "symlink", "char", "block", "fifo"]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as COPY sees it: what it is, not when it was made.

    Attributes:
        path: relative to the tree's root, ``"."`` for itself.
        kind: never a hard link: that is the file it stands for.
        mode, uid, gid: of the image; files of the context belong to 0:0.
        size: of a file.
        link: target of a symbolic link.
        xattrs: name to value, sorted.
        device: major and minor number.
    """

    path: str
    kind: NodeKind
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    link: str = ""
    xattrs: tuple[tuple[str, str], ...] = ()
    device: tuple[int, int] = (0, 0)


class SourceTree(Protocol):
    """Files to copy from. Paths are relative with ``/``, the root is ``"."``; what is ignored is not there."""

    @property
    def label(self) -> str:
        """What it is, for messages."""
        ...

    def get(self, path: str) -> Node | None:
        """What is at ``path``, links in its parents not followed; ``None`` if nothing is."""
        ...

    def resolve(self, path: str) -> str | None:
        """Where ``path`` leads, all links followed inside of the tree, the last one too; ``None`` if nowhere.

        Raises:
            InvalidInput: the links go round in circles.
        """
        ...

    def children(self, path: str) -> list[str]:
        """Names in a directory, sorted."""
        ...

    def below(self, path: str, enter: Callable[[Node], bool] | None = None) -> Iterator[Node]:
        """The entry at ``path`` and all below it, in a fixed order; not what is in directories not to ``enter``."""
        ...

    def digest(self, node: Node) -> str:
        """sha256 (hex) of a file's content."""
        ...


class MergedTree:
    """The merged view of layers, made from their indexes.

    Args:
        entries: from :func:`contextkernel.layer.merge.merge`.
        label: what it is, for messages: ``stage build``.
    """

    def __init__(self, entries: Mapping[str, Entry], label: str) -> None:
        self.label = label
        self._entries = entries
        self._order = [_order(path) for path in entries]
        self._paths = list(entries)

    def get(self, path: str) -> Node | None:
        """See :class:`SourceTree`."""
        entry = self._entries.get(path)
        return None if entry is None else self._node(path, entry)

    def resolve(self, path: str) -> str | None:
        """See :class:`SourceTree`."""
        return merging.resolve(self._entries, path)

    def children(self, path: str) -> list[str]:
        """See :class:`SourceTree`."""
        prefix = "" if path == "." else path + "/"
        found = (name[len(prefix) :] for name in self._inside(path) if name != path)
        return sorted(name for name in found if "/" not in name)

    def below(self, path: str, enter: Callable[[Node], bool] | None = None) -> Iterator[Node]:
        """See :class:`SourceTree`."""
        closed = ""
        for name in self._inside(path):
            if closed and name.startswith(closed):
                continue
            node = self._node(name, self._entries[name])
            yield node
            if enter is not None and node.kind == "dir" and not enter(node):
                closed = name + "/"

    def digest(self, node: Node) -> str:
        """See :class:`SourceTree`."""
        return self._leader(self._entries[node.path]).digest

    def _inside(self, path: str) -> Iterator[str]:
        """``path`` and what is below it: neighbours, since the entries are sorted depth first."""
        if path == ".":
            yield from self._paths
            return
        key = _order(path)
        for index in range(bisect.bisect_left(self._order, key), len(self._paths)):
            if self._order[index] != key and not self._order[index].startswith(key + b"\0"):
                return
            yield self._paths[index]

    def _leader(self, entry: Entry) -> Entry:
        return self._entries[entry.link] if entry.kind == "hardlink" else entry

    def _node(self, path: str, entry: Entry) -> Node:
        entry = self._leader(entry)
        kind = entry.kind
        assert kind not in {"hardlink", "whiteout", "opaque"}, entry  # noqa: S101 - merge() has none
        return Node(
            path=path,
            kind=kind,  # type: ignore[arg-type] # mypy does not narrow a literal by "not in"
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            size=entry.size,
            link=entry.link,
            xattrs=tuple((name, value.hex()) for name, value in sorted(entry.xattrs.items())),
            device=(entry.major, entry.minor),
        )


def _order(path: str) -> bytes:
    return b"" if path == "." else encode_name(path).replace(b"/", b"\0")
