"""Turns the outcome of a command into the value that a magic returns, and into the error that fails its cell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, assert_never

from contextkernel.commands.outcome import (
    Built,
    Document,
    DocumentText,
    Grid,
    Host,
    Looked,
    Nothing,
    Platforms,
    Ports,
    Ran,
    Served,
    Table,
    Text,
)
from contextkernel.errors import ContextKernelError
from contextkernel.notebook.document import Documents

if TYPE_CHECKING:
    from contextkernel.commands.outcome import Outcome
    from contextkernel.model.results import RunResult


class ProgramFailed(ContextKernelError):
    """A container's program ended with a status other than 0; its output stands above the message.

    Attributes:
        result: the finished container.
    """

    def __init__(self, result: RunResult) -> None:
        super().__init__(f"the program in container {result.name!r} {_ending(result.exit_code)}")
        self.result = result
        self.exit_code = result.exit_code


class Interrupted(KeyboardInterrupt):
    """The user interrupted a command; shown as one line instead of a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"Interrupted: {self}"]


class Printed(str):
    """Text that a command has printed, as its value: ``ids = %container images -q``."""

    __slots__ = ()


def value_of(outcome: Outcome) -> Any:
    """The outcome's value as a notebook wants it: DataFrame, list of dicts, text (printed here), result.

    Args:
        outcome: of a command that ran; problems and exit code are :func:`problem_of`'s.
    """
    match outcome.value:
        case Platforms() as platforms:
            from contextkernel.notebook.indexview import show as show_index

            return show_index(platforms)
        case Table() as table:
            from contextkernel.notebook.frames import to_frame

            return to_frame(table)
        case Grid(headings=headings, rows=rows):
            from contextkernel.notebook.frames import grid_frame

            return grid_frame(headings, rows)
        case Document(documents=documents):
            return Documents(documents)
        case Ports(places=places):
            from contextkernel.notebook.frames import make_frame

            return make_frame("ports", places)
        case Served(text=text, address=address):
            sys.stdout.write(text)
            return Printed(address)  # to stand before names in later cells
        case DocumentText(documents=documents):
            return Documents(documents)
        case Text(text=text):
            sys.stdout.write(text)
            return Printed(text)
        case Built(result=result, quiet=quiet):
            if quiet:
                sys.stdout.write(f"{result.image}\n")
            return result
        case Ran(result=result):
            return result
        case Host(report=report):
            from contextkernel.notebook.doctor import show

            return show(report)
        case Looked() as looked:
            return _looked(looked)
        case Nothing():
            return None
        case unknown:
            assert_never(unknown)


def problem_of(outcome: Outcome) -> ContextKernelError | None:
    """The error that fails the cell, if one does; further problems are printed on standard error."""
    if outcome.problems:
        first, *rest = outcome.problems
        for problem in rest:
            sys.stderr.write(f"{type(problem).__name__}: {problem}\n")
        return first
    if isinstance(outcome.value, Looked):
        return None  # findings are there to be looked at; an error would keep the cell from assigning them
    if outcome.exit_code and isinstance(outcome.value, Ran):
        return ProgramFailed(outcome.value.result)
    if outcome.exit_code:
        failed = ContextKernelError(f"the command ended with exit code {outcome.exit_code}")
        failed.exit_code = outcome.exit_code
        return failed
    return None


def _ending(code: int) -> str:
    if code <= 128 or code > 192:
        return f"exited with code {code}"
    import signal

    try:
        return f"exited with code {code} ({signal.Signals(code - 128).name})"
    except ValueError:
        return f"exited with code {code}"


def _looked(looked: Looked) -> Any:
    """Frames; JSON as text, where that was asked for."""
    if looked.as_json:
        from contextkernel.commands.looking import looked_text

        text = looked_text(looked)
        sys.stdout.write(text)
        return Printed(text)
    from contextkernel.notebook.looking import show

    return show(looked.value)
