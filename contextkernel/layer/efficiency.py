"""How much of an image's bytes its final file system still shows (the measure of wagoodman/dive)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from contextkernel.layer.index import links_resolved
from contextkernel.model.layers import Entry


class WastedPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path that several layers write or remove.

    Attributes:
        times: number of layers that have it.
        size: bytes in all of them together.
        smallest: bytes of the smallest of them.
    """

    path: str
    times: int
    size: int
    smallest: int


class Efficiency(msgspec.Struct, frozen=True, kw_only=True):
    """The measure of one image.

    Attributes:
        score: smallest seen sizes of all paths divided by all seen sizes; 1.0 for an image without bytes.
        wasted_bytes: bytes in paths that were seen more than once.
        paths: those paths, most bytes first.
    """

    score: float
    wasted_bytes: int
    paths: tuple[WastedPath, ...]


class _Seen:
    __slots__ = ("smallest", "times", "total")

    def __init__(self, size: int) -> None:
        self.times, self.total, self.smallest = 1, size, size

    def again(self, size: int) -> None:
        self.times += 1
        self.total += size
        self.smallest = min(self.smallest, size)


def measure(layers: Iterable[Iterable[Entry]]) -> Efficiency:
    """Measure a stack of layers, base first; a whiteout counts with the size of the tree that it hides."""
    seen: dict[str, _Seen] = {}
    present: dict[str, int] = {}
    for layer in layers:
        rows = list(layer)
        fresh: dict[str, int] = {}
        for row in links_resolved(row for row in rows if row.kind not in {"whiteout", "opaque"}):
            if row.kind != "dir":
                fresh[row.path] = row.size
        hidden: dict[str, int] = {}
        for row in rows:
            if row.kind == "whiteout":
                hidden[row.path] = _drop(present, row.path, itself=True)
            elif row.kind == "opaque":
                _drop(present, row.path, itself=False)
        for path, size in (*hidden.items(), *fresh.items()):
            if path in seen:
                seen[path].again(size)
            else:
                seen[path] = _Seen(size)
        present.update(fresh)
    total = sum(one.total for one in seen.values())
    least = sum(one.smallest for one in seen.values())
    twice = [
        WastedPath(path=path, times=one.times, size=one.total, smallest=one.smallest)
        for path, one in seen.items()
        if one.times > 1
    ]
    twice.sort(key=lambda one: (-one.size, one.path))
    return Efficiency(
        score=least / total if total else 1.0,
        wasted_bytes=sum(one.size for one in twice),
        paths=tuple(twice),
    )


def _drop(present: dict[str, int], path: str, *, itself: bool) -> int:
    """Forget what lies at and below ``path``; returns its bytes."""
    prefix = "" if path == "." else path + "/"
    gone = [name for name in present if name.startswith(prefix) or (itself and name == path)]
    return sum(present.pop(name) for name in gone)


__all__ = ["Efficiency", "WastedPath", "measure"]
