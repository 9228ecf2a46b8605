"""What a command needs of its face to be with a program: input, output, terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from contextkernel.commands.grammar import usage_problem
from contextkernel.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from contextkernel.commands.face import Face
    from contextkernel.commands.grammar import Parsed
    from contextkernel.model.ports import Screen

_STREAMS = ("stdin", "stdout", "stderr")


class Streams(NamedTuple):
    """Arguments of the engine's verbs; see :meth:`contextkernel.engine.Engine.run`."""

    stdin: bytes | int | None
    stdout: int | None
    stderr: int | None
    on_output: Callable[[str, bytes], None]
    screen: Screen | None


def streams_of(face: Face, *, interactive: bool, tty: bool) -> Streams:
    """What ``face`` has for a program.

    Args:
        face: where the command was given.
        interactive: ``-i``; the cell below a cell magic is given in any case.
        tty: the program has, or may have, a terminal.
    """
    stdin = face.stdin
    if not interactive and not isinstance(stdin, bytes):
        stdin = None
    elif stdin is None:
        stdin = b""  # nobody will ever type anything: the end of input right away
    out, err = face.output_descriptors()
    screen = face.screen(keys=isinstance(stdin, int)) if tty else None
    return Streams(stdin, out, err, face.write_output, screen)


def check_terminal(face: Face, *, interactive: bool, tty: bool) -> None:
    """Docker's condition for ``-it``.

    Raises:
        UsageProblem: keys for a terminal cannot come from what is no terminal.
    """
    stdin = face.stdin
    if interactive and tty and isinstance(stdin, int) and not os.isatty(stdin):
        raise usage_problem("the input device is not a TTY", more="use -i without -t", exit_code=1)


def attached_streams(parsed: Parsed) -> tuple[str, ...] | None:
    """``--attach``; ``None`` when it was not given.

    Raises:
        UsageProblem: there is no such stream, or ``--detach`` was given too.
    """
    given = tuple(text.lower() for text in parsed.texts("attach"))
    for text in given:
        if text not in _STREAMS:
            raise usage_problem(f'invalid argument "{text}" for "-a, --attach" flag', more="STDIN, STDOUT or STDERR")
    return given or None


def detached() -> Conflict:
    """What docker calls the end of an ``exec`` or ``attach`` by the detach keys; exit code 1."""
    return Conflict("read escape sequence: it goes on without you")
