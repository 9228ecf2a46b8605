"""Why a build step was taken from the cache or had to be done: frozen rows for tables, JSON and DataFrames."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Reason: TypeAlias = Literal["", "changed", "parent", "new", "pruned", "no-cache"]
"""Why a step was not in the cache.

``changed``: an input of its key changed; ``parent``: what it stands on changed; ``new``: nothing like it was ever built
here; ``pruned``: it was built, and its result has been removed from the cache since; ``no-cache``: the cache was not
asked. Empty for a hit.
"""


class KeyChange(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a cache key that differs from the last time.

    Attributes:
        input: what kind of input: ``file``, ``ARG``, ``ENV``, ``command``, ``base``, or the input's name (``user``).
        name: which one: a path, a variable, an image; empty where there is only one.
        change: what became of it.
        old, new: its values then and now; ``None`` where there is none or where it says nothing (files).
    """

    input: str
    name: str = ""
    change: Literal["added", "removed", "changed"] = "changed"
    old: str | None = None
    new: str | None = None


class StepExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache had for one step of a build.

    Attributes:
        step: number in the build's progress.
        name: title there.
        line: in the Dockerfile.
        state: ``hit`` or ``miss``.
        reason: of a miss.
        detail: the same in a sentence.
        changes: the first changes found; for a hit none.
        more: number of changes beyond those.
    """

    step: int
    name: str
    line: int = 0
    state: Literal["hit", "miss"] = "hit"
    reason: Reason = ""
    detail: str = ""
    changes: tuple[KeyChange, ...] = ()
    more: int = 0
