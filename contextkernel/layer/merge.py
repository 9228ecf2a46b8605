"""The merged view of a stack of layers, as values: what a container would see (OCI image-spec, layer.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.layer import names
from contextkernel.layer.following import follow
from contextkernel.layer.index import encode_name, links_resolved
from contextkernel.model.layers import Entry

_IMPLIED = Entry(path="", kind="dir", mode=0o755)


class _Node:
    """One name in the merged view; ``origin`` tells hard links of one file apart from equal files."""

    __slots__ = ("children", "entry", "origin")

    def __init__(self, entry: Entry | None = None, origin: tuple[int, str] | None = None) -> None:
        self.entry = entry
        self.origin = origin
        self.children: dict[str, _Node] = {}


def merge(layers: Iterable[Iterable[Entry]]) -> dict[str, Entry]:
    """Lay indexes over each other.

    Args:
        layers: rows of each layer, base first.

    Returns:
        Path to row, sorted depth first by the bytes of the names, without whiteouts. ``"."`` is always there. A hard
        link whose first name is hidden by a later layer becomes the file.
    """
    return {entry.path: entry for entry, _ in _flatten(_overlaid(layers))}


def merge_located(layers: Iterable[Iterable[Entry]]) -> Iterator[tuple[Entry, tuple[int, str] | None]]:
    """The rows of :func:`merge`, each with the layer (its number, base 0) and the path there that its content is at.

    Directories that no layer has as an entry are nowhere.
    """
    return _flatten(_overlaid(layers))


def _overlaid(layers: Iterable[Iterable[Entry]]) -> _Node:
    root = _Node(Entry(path=".", kind="dir", mode=0o755))
    for number, layer in enumerate(layers):
        rows = list(layer)
        # what a layer removes is below it, whatever the order of its rows
        for row in rows:
            if row.kind == "whiteout":
                _remove(root, row.path)
            elif row.kind == "opaque":
                node = _find(root, row.path)
                if node is not None:
                    node.children = {}
        for row, full in zip(rows, _full(rows), strict=True):
            if full is not None:
                _add(root, row, full, number)
    return root


def _full(rows: list[Entry]) -> Iterator[Entry | None]:
    """Per row: the row with links resolved, or ``None`` for whiteouts."""
    things = links_resolved(row for row in rows if row.kind not in {"whiteout", "opaque"})
    for row in rows:
        yield None if row.kind in {"whiteout", "opaque"} else next(things)


def _find(root: _Node, path: str) -> _Node | None:
    node = root
    if path != ".":
        for part in path.split("/"):
            child = node.children.get(part)
            if child is None:
                return None
            node = child
    return node


def _remove(root: _Node, path: str) -> None:
    directory, name = names.split(path)
    node = _find(root, directory)
    if node is not None:
        node.children.pop(name, None)


def _add(root: _Node, row: Entry, full: Entry, layer: int) -> None:
    node = root
    if row.path != ".":
        for part in row.path.split("/"):
            child = node.children.get(part)
            if child is None:
                child = node.children[part] = _Node()
            node = child
    node.entry = full
    node.origin = (layer, row.link if row.kind == "hardlink" else row.path)
    if full.kind != "dir":
        node.children = {}


def _flatten(root: _Node) -> Iterator[tuple[Entry, tuple[int, str] | None]]:
    """Rows in order; the first name of each file is the file, later ones are links to it."""
    first: dict[tuple[int, str], str] = {}
    todo: list[tuple[str, _Node]] = [(".", root)]
    while todo:
        path, node = todo.pop()
        entry = node.entry
        if entry is None or (node.children and entry.kind != "dir"):
            entry = msgspec.structs.replace(_IMPLIED, path=path)
        elif node.origin is not None and entry.kind != "dir":
            leader = first.setdefault(node.origin, path)
            if leader != path:
                entry = msgspec.structs.replace(entry, kind="hardlink", link=leader, size=0, digest="", xattrs={})
        if entry.path != path:  # a hard link whose first name is gone
            entry = msgspec.structs.replace(entry, path=path)
        yield entry, node.origin
        inside = sorted(node.children, key=encode_name, reverse=True)
        todo.extend((names.join(path, name), node.children[name]) for name in inside)


def resolve(merged: Mapping[str, Entry], path: str, passed: set[str] | None = None) -> str | None:
    """Where ``path`` leads when all symbolic links are followed inside of the root, the last one too.

    Args:
        merged: see ``merge``.
        path: relative to the root; ``..`` stops at the root.
        passed: gets the paths of all that the look-up passes, links and its end included, also if it fails.

    Returns:
        The path of what is there, ``None`` if nothing is.

    Raises:
        InvalidInput: the links go round in circles.
    """

    def link_at(step: str) -> str | None:
        entry = merged[step]
        if passed is not None:
            passed.add(step)
        if entry.kind == "hardlink":
            entry = merged[entry.link]
        return entry.link if entry.kind == "symlink" else None

    try:
        return follow(path, link_at, lambda: InvalidInput(f"{path!r} leads through too many symbolic links"))
    except KeyError:
        return None


def below(merged: Mapping[str, Entry], path: str) -> Iterator[Entry]:
    """The row at ``path`` and all rows below it, in order."""
    if path == ".":
        yield from merged.values()
        return
    own = merged.get(path)
    if own is not None:
        yield own
    prefix = path + "/"
    for name, entry in merged.items():
        if name.startswith(prefix):
            yield entry
