"""Options that ``run`` and ``create`` share, gathered by what they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands import run_basics, run_life, run_mounts, run_network, run_resources, run_security

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked import CreateKeywords

OPTIONS = (
    *run_life.OPTIONS,
    *run_mounts.OPTIONS,
    *run_network.OPTIONS,
    *run_resources.OPTIONS,
    *run_security.OPTIONS,
)


def keywords(parsed: Parsed) -> CreateKeywords:
    """All of them as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    return {
        **run_basics.keywords(parsed),
        **run_life.keywords(parsed),
        **run_mounts.keywords(parsed),
        **run_network.keywords(parsed),
        **run_resources.keywords(parsed),
        **run_security.keywords(parsed),
    }
