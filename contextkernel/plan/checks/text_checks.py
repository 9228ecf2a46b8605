"""The checks that the text alone decides (``instructions/parse.go`` and ``dockerfile2llb/validations.go``)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from contextkernel.dockerfile.instructions import Arg, Dockerfile, From, Instruction, Maintainer
from contextkernel.dockerfile.parse import Reading
from contextkernel.dockerfile.words import split_blanks, split_command
from contextkernel.errors import Span
from contextkernel.plan.checks import rules_text as rules
from contextkernel.plan.checks.settings import Collector
from contextkernel.plan.texts import go_quote

_RESERVED = frozenset({"context", "scratch"})
_WORDS = "apikey|auth|credentials?|key|password|pword|passwd|secret|token"
_SECRET = re.compile(rf"(?:_|^)(?:{_WORDS})(?:_|\Z)", re.IGNORECASE)
_HARMLESS = re.compile(r"(?:_|^)(?:public|file|version)(?:_|\Z)", re.IGNORECASE)


def keyword(instruction: Instruction) -> str:
    """The instruction's name as it is written."""
    return instruction.original.split(maxsplit=1)[0]


def check_instructions(reading: Reading, found: Collector) -> None:
    """What can be said of each instruction on its own; also of a file that breaks off."""
    for span in reading.gaps:
        found.add(rules.NO_EMPTY_CONTINUATION, span)
    for instruction in reading.instructions:
        match instruction:
            case Maintainer(span=span):
                found.add_here(rules.MAINTAINER_DEPRECATED, span)
            case From():
                _check_from(instruction, reading.directives.escape, found)
            case Arg(span=span, items=items):
                _check_description("ARG", [item.name for item in items], span, found)
            case _:
                pass


def _check_from(instruction: From, escape: str, found: Collector) -> None:
    name, _, rest = split_command(instruction.original, escape)
    words = split_blanks(rest)
    if len(words) == 3:
        _, word, stage = words
        if stage != stage.lower():
            found.add_here(rules.STAGE_NAME_CASING, instruction.span, stage)
        # a name in mixed case is for another rule
        wanted = {name.lower(): word.lower(), name.upper(): word.upper()}.get(name, word)
        if word != wanted:
            found.add_here(rules.FROM_AS_CASING, instruction.span, word, name)
    if instruction.name:
        _check_description("FROM", [instruction.name], instruction.span, found)


def _check_description(word: str, names: list[str], span: Span, found: Collector) -> None:
    comments = found.comments.get(span.line)
    if comments and comments[-1].split(" ")[0] not in names:
        shown = names[0] if len(names) == 1 else "<arg_key>"
        found.add_here(rules.INVALID_DEFINITION_DESCRIPTION, span, word, shown)


def check_stage_names(dockerfile: Dockerfile, found: Collector) -> None:
    """Reserved and repeated stage names."""
    seen: set[str] = set()
    for stage in dockerfile.stages:
        if stage.name is None:
            continue
        if stage.name in _RESERVED:
            found.add(rules.RESERVED_STAGE_NAME, stage.base.span, go_quote(stage.name))
        if stage.name in seen:
            found.add(rules.DUPLICATE_STAGE_NAME, stage.base.span, go_quote(stage.name))
        seen.add(stage.name)


def check_casing(dockerfile: Dockerfile, found: Collector) -> None:
    """Names of instructions against what most of them do; ARGs before the first FROM do not take part."""
    names = [(keyword(instruction), instruction.span) for instruction in _in_stages(dockerfile)]
    lower = sum(name == name.lower() for name, _ in names)
    upper = sum(name == name.upper() for name, _ in names)
    for name, span in names:
        if lower > upper and name != name.lower():
            found.add(rules.CONSISTENT_INSTRUCTION_CASING, span, name, "lowercase")
        elif lower <= upper and name != name.upper():
            found.add(rules.CONSISTENT_INSTRUCTION_CASING, span, name, "uppercase")


def _in_stages(dockerfile: Dockerfile) -> Iterator[Instruction]:
    for stage in dockerfile.stages:
        yield stage.base
        yield from stage.instructions


def looks_secret(name: str) -> bool:
    """Whether a variable's name looks as if its value were to be kept secret."""
    return bool(_SECRET.search(name)) and not _HARMLESS.search(name)
