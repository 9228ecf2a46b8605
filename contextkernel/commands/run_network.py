"""Options of ``run`` and ``create`` about networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import Option

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.network import NetworkKeywords

OPTIONS: tuple[Option, ...] = ()


def keywords(parsed: Parsed) -> NetworkKeywords:
    """The options as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    del parsed
    return {}
