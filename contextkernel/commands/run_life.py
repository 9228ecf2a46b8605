"""Options of ``run`` and ``create`` about a container's life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import Option

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.life import LifeKeywords

OPTIONS: tuple[Option, ...] = ()


def keywords(parsed: Parsed) -> LifeKeywords:
    """The options as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    del parsed
    return {}
