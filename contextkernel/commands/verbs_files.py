"""Verbs about the files of containers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Nothing, Outcome, Table, Text
from contextkernel.errors import InvalidInput

if TYPE_CHECKING:
    from contextkernel.commands.call import Call


def copy(call: Call) -> Outcome:
    """Copy between a container and this host."""
    parsed = call.parsed
    source, destination = parsed.arguments
    if not source:
        raise usage_problem("source can not be empty", more="cp SOURCE DESTINATION", exit_code=1)
    if not destination:
        raise usage_problem("destination can not be empty", more="cp SOURCE DESTINATION", exit_code=1)
    out, _ = call.face.output_descriptors()
    stdin = call.face.stdin
    if source == "-" and isinstance(stdin, bytes):
        with _held(stdin) as descriptor:
            _copy(call, source, destination, stdin=descriptor, stdout=None)
        return Outcome(value=Nothing())
    if destination == "-" and out is not None and os.isatty(out):
        raise InvalidInput("refusing to copy to a terminal", hint="redirect it: cp CONTAINER:PATH - > FILE")
    _copy(call, source, destination, stdin=stdin if isinstance(stdin, int) else None, stdout=out)
    return Outcome(value=Nothing())


def _copy(call: Call, source: str, destination: str, *, stdin: int | None, stdout: int | None) -> None:
    parsed = call.parsed
    call.engine.copy(
        source,
        destination,
        archive=parsed.flag("archive"),
        follow_link=parsed.flag("follow-link"),
        stdin=stdin,
        stdout=stdout,
    )


@contextmanager
def _held(data: bytes) -> Iterator[int]:
    """A descriptor to read ``data`` from."""
    import tempfile

    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


def diff(call: Call) -> Outcome:
    """What a container has changed."""
    return Outcome(value=Table("changes", call.engine.diff(call.parsed.arguments[0])))


def export(call: Call) -> Outcome:
    """A container's files as a tar archive."""
    container = call.parsed.arguments[0]
    path = call.parsed.maybe("output")
    if path is not None:
        parent = os.path.dirname(path)
        if parent and not os.path.isdir(parent):
            raise InvalidInput(
                f"failed to export container: invalid output path: stat {parent}: no such file or directory",
                hint="make the directory first",
            )
        call.engine.export(container, path)
        return Outcome(value=Nothing())
    out, _ = call.face.output_descriptors()
    if out is None:
        raise InvalidInput("there is no standard output for an archive here", hint="use -o FILE")
    if os.isatty(out):
        raise InvalidInput("cowardly refusing to save to a terminal", hint="use -o FILE, or redirect it")
    call.engine.export(container, out)
    return Outcome(value=Nothing())


def commit(call: Call) -> Outcome:
    """Make an image of a container; prints its id."""
    parsed = call.parsed
    container, *name = parsed.arguments
    image = call.engine.commit(
        container,
        name[0] if name else None,
        message=parsed.text("message"),
        author=parsed.text("author"),
        changes=parsed.texts("change"),
        pause=parsed.flag("pause") and not parsed.flag("no-pause"),
    )
    return Outcome(value=Text(f"{image}\n"))
