"""Words in, outcome out: the one way from any face to the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from contextkernel.commands.face import Face

if TYPE_CHECKING:
    from contextkernel.commands.outcome import Outcome
    from contextkernel.engine import Engine

__all__ = ["Face", "execute"]


def execute(
    engine: Engine | Callable[[], Engine], words: Sequence[str], face: Face, *, dockerfile: str | None = None
) -> Outcome:
    """Run one command.

    Args:
        engine: the engine, or a function that makes it: called only when the command needs one (not for ``--help``).
        words: the command without the program's name: ``["run", "--rm", "greet"]``.
        face: where input comes from and output goes.
        dockerfile: text of the Dockerfile for ``build`` (the cell of ``%%dockerfile``); then the context is optional
            and is the current directory by default.

    Returns:
        The value to show and the exit code; ``run`` of a program that exits with 3 is an outcome with exit code 3.

    Raises:
        UsageProblem: the words do not fit the grammar.
        ContextKernelError: the command failed; ``exit_code`` on the error is the command line's.
        KeyboardInterrupt: after the build or container has been stopped.
    """
    from contextkernel.commands.verbs import run_words

    return run_words(engine, tuple(words), face, dockerfile)
