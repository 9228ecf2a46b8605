"""Which directories an overlay of layers is mounted from."""

from __future__ import annotations

from collections.abc import Iterable


def overlay_lowers(directories: Iterable[str]) -> tuple[str, ...]:
    """``diff`` directories of layers, base first, each once.

    The kernel refuses an overlay that has a directory twice (equal layers, often empty ones, share one). All of what
    the lower one has is hidden by the upper one, so the upper one is enough.

    Args:
        directories: of the layers, base first.
    """
    once = dict.fromkeys(reversed(list(directories)))
    return tuple(f"{directory}/diff" for directory in reversed(once))
