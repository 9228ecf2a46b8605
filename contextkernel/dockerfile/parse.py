"""Text into a :class:`Dockerfile`: instructions in order, grouped into stages."""

from __future__ import annotations

from contextkernel.dockerfile.instructions import Arg, Dockerfile, From, Instruction, Stage
from contextkernel.dockerfile.lines import Reader, Source
from contextkernel.dockerfile.read import read_line
from contextkernel.dockerfile.text import SPACE

_EXAMPLE = "start with a base image, e.g. FROM ubuntu:20.04"


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
    source = Source(text, file)
    reader = Reader(source)
    global_args: list[Arg] = []
    bases: list[From] = []
    bodies: list[list[Instruction]] = []
    empty = True
    while logical := reader.next_line():
        empty = False
        instruction = read_line(logical, reader)
        if isinstance(instruction, From):
            bases.append(instruction)
            bodies.append([])
        elif bodies:
            bodies[-1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            name = type(instruction).__name__.upper()
            raise source.error(f"{name} before the first FROM", instruction.span, hint=f"only ARG may be; {_EXAMPLE}")
    if not bases:
        if empty:
            what = "only comments" if source.text.strip(SPACE) else "empty"
            raise source.error(f"the Dockerfile has no instructions: it is {what}", source.span(1), hint=_EXAMPLE)
        raise source.error("the Dockerfile has no FROM", global_args[0].span, hint=_EXAMPLE)
    return Dockerfile(
        file=file,
        source=source.text,
        directives=reader.directives,
        global_args=tuple(global_args),
        stages=tuple(
            Stage(index=index, name=base.name, base=base, instructions=tuple(body))
            for index, (base, body) in enumerate(zip(bases, bodies, strict=True))
        ),
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
