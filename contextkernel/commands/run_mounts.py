"""Options of ``run`` and ``create`` about volumes and mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import Option

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.mounts import MountKeywords

OPTIONS: tuple[Option, ...] = ()


def keywords(parsed: Parsed) -> MountKeywords:
    """The options as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    del parsed
    return {}
