"""Here-documents: the words that announce them and the values they become (BuildKit, ``parser/parser.go``)."""

from __future__ import annotations

import re

import msgspec

from contextkernel.dockerfile.expand import process
from contextkernel.errors import InvalidInput

_WORD = re.compile(r"[0-9]*<<(-?)[ \t\r\n\f]*([^<]*)\Z")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


class Heredoc(msgspec.Struct, frozen=True, kw_only=True):
    """A here-document.

    Attributes:
        name: the terminating word, quotes removed; for COPY and ADD also the file's name.
        content: the lines as written, line ends included, without the terminator.
        expand: false if any part of the word was quoted.
        chomp: written ``<<-``: leading tabs do not count.
    """

    name: str
    content: str = ""
    expand: bool = True
    chomp: bool = False

    @property
    def text(self) -> str:
        """The content that counts: leading tabs of every line removed for ``<<-``."""
        return _LEADING_TABS.sub("", self.content) if self.chomp else self.content

    def filled(self, content: str) -> Heredoc:
        """The same here-document with its content."""
        return msgspec.structs.replace(self, content=content)


def read_heredoc_word(word: str) -> Heredoc | None:
    """What ``<<EOF``, ``<<-EOF``, ``<<"EOF"`` or ``3<<EOF`` announces; ``None`` if ``word`` announces nothing.

    Args:
        word: one word, or the whole text of a command to see whether it is a here-document alone.
    """
    found = _WORD.match(word)
    if not found or not found[2]:
        return None
    try:
        plain = process(found[2], {}, keep_unset=True).words
        quoted = process(found[2], {}, keep_unset=True, keep_quotes=True).words
    except InvalidInput:
        return None
    if len(plain) != 1 or len(quoted) != 1:
        return None
    return Heredoc(name=plain[0], expand=_quotes(plain[0]) == _quotes(quoted[0]), chomp=bool(found[1]))


def heredocs_announced(line: str) -> tuple[Heredoc, ...]:
    """The here-documents that a line announces, in order; their content follows the line in that order.

    A line that cannot be split into words (an apostrophe in a shell command, say) announces none.
    """
    if "<<" not in line:
        return ()
    try:
        words = process(line, {}, keep_unset=True, keep_quotes=True, keep_escapes=True).words
    except InvalidInput:
        return ()
    return tuple(doc for word in words if (doc := read_heredoc_word(word)))


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
