"""What of a merged view is needed to look at some paths in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from contextkernel.errors import InvalidInput
from contextkernel.layer.merge import resolve
from contextkernel.model.layers import Entry


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
        with suppress(InvalidInput):  # links that go round in circles lead nowhere
            end = resolve(merged, path, found)
            if end is not None:
                tops.add(end)
    if "." in tops:
        return set(merged)
    prefixes = tuple(f"{top}/" for top in tops)
    if prefixes:
        found.update(path for path in merged if path.startswith(prefixes))
    return found
