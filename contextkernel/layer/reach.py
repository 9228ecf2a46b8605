"""What of a merged view is needed to look at some paths in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contextkernel.layer import names
from contextkernel.model.layers import Entry

_MAX_LINKS = 40  # as the kernel (path_resolution(7))


def needed(merged: Mapping[str, Entry], paths: Iterable[str]) -> set[str]:
    """Paths of everything at and below ``paths``, of the directories around it, and of the links that lead there.

    Args:
        merged: all rows by path (``layer.merge``).
        paths: absolute or relative, counted from the root; ``..`` stops there. What does not exist needs nothing but
            what is on the way to it.
    """
    found = {"."}
    tops: set[str] = set()
    for path in paths:
        found |= _on_the_way(merged, path, tops)
    if "." in tops:
        return set(merged)
    prefixes = tuple(f"{top}/" for top in tops)
    if prefixes:
        found.update(path for path in merged if path.startswith(prefixes))
    return found


def _on_the_way(merged: Mapping[str, Entry], path: str, tops: set[str]) -> set[str]:
    """What a look-up passes; where it ends is added to ``tops``."""
    found: set[str] = set()
    todo = path.split("/")[::-1]
    here, links = ".", 0
    while todo:
        part = todo.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            here = names.split(here)[0] if here != "." else "."
            continue
        step = names.join(here, part)
        entry = merged.get(step)
        if entry is None:
            return found
        found.add(step)
        if entry.kind == "hardlink":
            entry = merged[entry.link]
        if entry.kind == "symlink":
            links += 1
            if links > _MAX_LINKS:
                return found
            if entry.link.startswith("/"):
                here = "."
            todo.extend(entry.link.split("/")[::-1])
            continue
        here = step
    tops.add(here)
    return found
