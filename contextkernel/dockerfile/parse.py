"""Text into a :class:`Dockerfile`: instructions in order, grouped into stages."""

from __future__ import annotations

import msgspec

from contextkernel.dockerfile.instructions import Arg, Directives, Dockerfile, From, Instruction, Stage
from contextkernel.dockerfile.lines import Reader, Source
from contextkernel.dockerfile.read import read_line
from contextkernel.dockerfile.text import SPACE
from contextkernel.errors import DockerfileError, Span

_EXAMPLE = "start with a base image, e.g. FROM ubuntu:20.04"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How far a text could be read.

    Attributes:
        file: name to show for it.
        source: the text.
        directives: parser directives; the defaults if they are what is wrong.
        instructions: in order, up to the problem.
        gaps: see :class:`Dockerfile`.
        problem: why it is not a Dockerfile, if it is not.
    """

    file: str
    source: str
    directives: Directives = Directives()
    instructions: tuple[Instruction, ...] = ()
    gaps: tuple[Span, ...] = ()
    problem: DockerfileError | None = None


def parse(text: str | bytes, *, file: str = "Dockerfile") -> Dockerfile:
    """Read a Dockerfile as BuildKit does.

    Args:
        text: the file's content; bytes are UTF-8, with or without a byte order mark.
        file: name to show for it in errors.

    Returns:
        At least one stage; nothing is expanded.

    Raises:
        DockerfileError: with the place in the text, and a hint.
    """
    return assemble(read_instructions(text, file=file))


def read_instructions(text: str | bytes, *, file: str = "Dockerfile") -> Reading:
    """Read as far as possible; what build checks can be said of a broken file is said of this much.

    Args:
        text: the file's content; bytes are UTF-8, with or without a byte order mark.
        file: name to show for it in errors.
    """
    source = Source(text, file)
    found: list[Instruction] = []
    reader, problem = None, None
    try:
        reader = Reader(source)
        in_stage = False
        while logical := reader.next_line():
            instruction = read_line(logical, reader)
            in_stage = in_stage or isinstance(instruction, From)
            if not in_stage and not isinstance(instruction, Arg):
                name = type(instruction).__name__.upper()
                raise source.error(
                    f"{name} before the first FROM", instruction.span, hint=f"only ARG may be; {_EXAMPLE}"
                )
            found.append(instruction)
        if not found:
            what = "only comments" if source.text.strip(SPACE) else "empty"
            raise source.error(f"the Dockerfile has no instructions: it is {what}", source.span(1), hint=_EXAMPLE)
        if not in_stage:
            raise source.error("the Dockerfile has no FROM", found[0].span, hint=_EXAMPLE)
    except DockerfileError as error:
        problem = error
    return Reading(
        file=file,
        source=source.text,
        directives=reader.directives if reader else Directives(),
        instructions=tuple(found),
        gaps=tuple(reader.gaps) if reader else (),
        problem=problem,
    )


def assemble(reading: Reading) -> Dockerfile:
    """Group the instructions of a complete reading into stages.

    Raises:
        DockerfileError: the reading's own problem.
    """
    if reading.problem is not None:
        raise reading.problem
    global_args: list[Arg] = []
    bases: list[From] = []
    bodies: list[list[Instruction]] = []
    for instruction in reading.instructions:
        if isinstance(instruction, From):
            bases.append(instruction)
            bodies.append([])
        elif bodies:
            bodies[-1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
    return Dockerfile(
        file=reading.file,
        source=reading.source,
        directives=reading.directives,
        global_args=tuple(global_args),
        stages=tuple(
            Stage(index=index, name=base.name, base=base, instructions=tuple(body))
            for index, (base, body) in enumerate(zip(bases, bodies, strict=True))
        ),
        gaps=reading.gaps,
    )


def parse_trigger(expression: str, *, file: str = "ONBUILD trigger") -> Instruction:
    """Read one ONBUILD expression from an image config.

    Args:
        expression: the text as the config has it.
        file: name to show for it in errors.

    Raises:
        DockerfileError: if it is not exactly one instruction, or a FROM.
    """
    source = Source(expression, file)
    reader = Reader(source)
    logical = reader.next_line()
    if logical is None:
        raise source.error("the ONBUILD trigger is empty", source.span(1), hint="rebuild the base image")
    instruction = read_line(logical, reader)
    if isinstance(instruction, From):
        raise source.error("FROM is not allowed as an ONBUILD trigger", instruction.span)
    following = reader.next_line()
    if following is not None:
        raise source.error("an ONBUILD trigger is one instruction", following.whole(), hint="rebuild the base image")
    return instruction
