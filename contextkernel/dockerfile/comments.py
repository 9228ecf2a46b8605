"""The comments that stand before an instruction: descriptions of stages and arguments, and checks to leave out.

Source of the rules: BuildKit's ``parser/parser.go`` (``PrevComment``) and ``instructions/parse.go`` (``getComment``).
Every comment since the instruction before counts; a comment without text starts afresh; directives do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from contextkernel.dockerfile.check_options import read_check_options
from contextkernel.dockerfile.instructions import CheckDirective
from contextkernel.dockerfile.lines import Source, directive_lines
from contextkernel.dockerfile.text import SPACE
from contextkernel.errors import InvalidInput, Span

_CHECK = re.compile(r"check[ \t\f\r]*=[ \t\f\r]*(.+?)[ \t\f\r]*\Z", re.IGNORECASE)


def comments_before(text: str, spans: Iterable[Span]) -> Mapping[int, tuple[str, ...]]:
    """The comments before each instruction.

    Args:
        text: the Dockerfile.
        spans: of the instructions, in order.

    Returns:
        First line of the instruction to the texts of its comments, in order; instructions without comments are left
        out.
    """
    source = Source(text, "")
    directives = set(directive_lines(source))
    found: dict[int, tuple[str, ...]] = {}
    line = 1
    for span in spans:
        comments: list[str] = []
        for number in range(line, span.line):
            bare = source.lines[number - 1].lstrip(SPACE)
            if number in directives or not bare.startswith("#"):
                continue
            comment = bare[1:].strip(SPACE)
            comments = [*comments, comment] if comment else []
        if comments:
            found[span.line] = tuple(comments)
        line = span.end_line + 1
    return found


def description(comments: Iterable[str], name: str | None) -> str:
    """What the comments say of ``name``: the rest of the first that begins with it; empty if none does."""
    return next((text[len(name) + 1 :] for text in comments if name and text.startswith(f"{name} ")), "")


def local_check(comments: Iterable[str]) -> CheckDirective | None:
    """The options of a ``# check=`` comment before an instruction; the first counts, a malformed one not at all."""
    for comment in comments:
        found = _CHECK.match(comment)
        if found:
            try:
                return read_check_options(found[1].partition(" ")[0])
            except InvalidInput:
                return None
    return None
