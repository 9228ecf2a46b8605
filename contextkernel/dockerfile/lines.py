"""From text to logical lines: directives, comments, continuations and here-documents (BuildKit, ``parser/parser.go``).

A logical line remembers where each of its characters came from, so that an error about a flag on the third
continuation line points at that flag.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter

import msgspec

from contextkernel.dockerfile.check_options import read_check_options
from contextkernel.dockerfile.instructions import Directives
from contextkernel.dockerfile.text import SPACE
from contextkernel.errors import DockerfileError, InvalidInput, Span

_MAX_LINE = 65535
_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[ \t\f\r]*=[ \t\f\r]*(.+?)[ \t\f\r]*\Z")
_ESCAPES = ("\\", "`")
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_RUN = re.compile(r"\s*RUN(?:\s|\Z)", re.IGNORECASE)
#: str.splitlines ends lines at these too; a Dockerfile does not
_OTHER_LINE_ENDS = str.maketrans(dict.fromkeys("\v\f\x1c\x1d\x1e\x85\u2028\u2029", " "))


class Source:
    """A Dockerfile's text, cut into lines.

    Args:
        text: str, or bytes in UTF-8.
        file: name to show for it.
    """

    def __init__(self, text: str | bytes, file: str) -> None:
        if isinstance(text, bytes):
            # bytes that are not UTF-8 are fine in comments only: see Reader.next_line
            text = text.decode("utf-8", "surrogateescape")
        self.text = text.removeprefix("\ufeff")
        self.file = file
        #: lines with their line ends
        self.lines = _cut(self.text)

    def shown(self) -> str:
        """The text as an error's excerpt can number it: the same lines, printable characters."""
        text = self.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return re.sub(r"\r(?!\n)", " ", text).translate(_OTHER_LINE_ENDS)

    def span(self, line: int, column: int = 1, end_line: int | None = None, end_column: int | None = None) -> Span:
        """A span; without an end it reaches to the end of its line."""
        end_line = end_line or line
        if end_column is None:
            content = self.lines[end_line - 1] if end_line <= len(self.lines) else ""
            end_column = len(content.rstrip("\r\n")) + 1
        return Span(file=self.file, line=line, column=column, end_line=end_line, end_column=end_column)

    def error(self, problem: str, span: Span, hint: str | None = None) -> DockerfileError:
        """An error about a place in this text."""
        return DockerfileError(problem, hint=hint, span=span, source=self.shown())


def _cut(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines


class Logical(msgspec.Struct):
    """One instruction's line with its continuations joined.

    Attributes:
        text: the joined text; comments and empty lines inside are gone.
        pieces: offset in ``text``, line number and column of each stretch that came from one line.
        end_line: last line, here-documents included.
    """

    source: Source
    text: str
    pieces: list[tuple[int, int, int]]
    end_line: int

    def place(self, start: int, end: int) -> Span:
        """The span of ``text[start:end]``; an end on another line is cut at the first line's end."""
        line, column = self._where(start)
        end_line, end_column = self._where(max(start, end - 1))
        if end_line != line:
            return self.source.span(line, column)
        return self.source.span(line, column, line, end_column + 1)

    def whole(self) -> Span:
        """From the instruction's first character to the end of its last line."""
        _, line, column = self.pieces[0]
        return self.source.span(line, column, self.end_line)

    def _where(self, offset: int) -> tuple[int, int]:
        begin, line, column = self.pieces[max(0, bisect_right(self.pieces, offset, key=itemgetter(0)) - 1)]
        return line, column + offset - begin


class Reader:
    """Reads logical lines, one after the other, and on demand the here-documents that follow them.

    Args:
        source: the text.

    Attributes:
        directives: the parser directives at the top.
        gaps: the last lines of instructions whose continuations have an empty line among them.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.directives = read_directives(source)
        self.gaps: list[Span] = []
        self._position = 0

    def next_line(self) -> Logical | None:
        """The next instruction; ``None`` at the end.

        Raises:
            DockerfileError: for a line that is too long, not UTF-8, or has a NUL byte.
        """
        while self._position < len(self.source.lines):
            raw = self._physical()
            text = raw.lstrip(SPACE)
            if text.startswith("#"):
                continue
            column = len(raw) - len(text) + 1
            text, ended = self._trim(text)
            if ended and not text:
                continue
            pieces = [(0, self._position, column)]
            gap = False
            while not ended and self._position < len(self.source.lines):
                raw = self._physical()
                bare = raw.lstrip(SPACE)
                if not bare or bare.startswith("#"):
                    gap = gap or not bare
                    continue
                pieces.append((len(text), self._position, 1))
                part, ended = self._trim(raw)
                text += part
            if gap:
                self.gaps.append(self.source.span(self._position))
            logical = Logical(self.source, text, pieces, self._position)
            logical.text = self._decoded(text, logical.whole())
            return logical
        return None

    def heredoc(self, logical: Logical, name: str, *, chomp: bool, file: bool) -> str:
        """The content of a here-document that starts at the present line; ``logical`` grows by it.

        Args:
            logical: the line that announces it.
            name: what ends it.
            chomp: leading tabs of the end do not count.
            file: it becomes a file (COPY, ADD), in which any bytes may be; else a program.

        Raises:
            DockerfileError: if the terminator ``name`` does not come, or a program is not text.
        """
        content: list[str] = []
        while self._position < len(self.source.lines):
            line = self.source.lines[self._position]
            self._physical()
            logical.end_line = self._position
            candidate = line.rstrip("\r\n")
            if (candidate.lstrip("\t") if chomp else candidate) == name:
                text = "".join(content)
                if not file:
                    self._check_text(text, logical.whole())
                return text
            content.append(line)
        first = logical.pieces[0]
        raise self.source.error(
            f"here-document {name!r} is not terminated",
            self.source.span(first[1], first[2]),
            hint=f"end it with a line that is {name} alone",
        )

    def _physical(self) -> str:
        line = self.source.lines[self._position]
        self._position += 1
        if len(line) > _MAX_LINE // 4 and len(line.rstrip("\n").encode("utf-8", "surrogateescape")) > _MAX_LINE:
            raise self.source.error(
                f"line {self._position} is longer than {_MAX_LINE} bytes",
                self.source.span(self._position, 1, self._position, 2),
                hint="split it with continuations, or COPY a file",
            )
        return line.rstrip("\r\n")

    def _trim(self, line: str) -> tuple[str, bool]:
        """Without its continuation character; whether the instruction ends here."""
        escape = self.directives.escape
        bare = line.rstrip(" \t")
        # an escaped escape character does not continue the line
        if not bare.endswith(escape) or bare.endswith(escape * 2):
            return line, True
        return bare[:-1], False

    def _decoded(self, text: str, span: Span) -> str:
        """The text of an instruction; bytes that are not UTF-8 become U+FFFD, as where Go expands words.

        BuildKit has no such step for RUN, and then cannot send it: there they are refused.
        """
        if text.isascii() or not _NOT_UTF8.search(text) or _RUN.match(text):
            self._check_text(text, span)
            return text
        text = _NOT_UTF8.sub("\ufffd", text)
        self._check_text(text, span)
        return text

    def _check_text(self, text: str, span: Span) -> None:
        if not text.isascii() and _NOT_UTF8.search(text):
            raise self.source.error("text is not UTF-8", span, hint="save the file in UTF-8")
        if "\0" in text:  # no argument, variable or path of a program can have one
            raise self.source.error("a NUL byte in the line", span, hint="is this a Dockerfile, saved as UTF-8 text?")


def read_directives(source: Source) -> Directives:
    """The parser directives: comments of the form ``# key=value`` at the very top.

    Raises:
        DockerfileError: for a directive given twice and for values that are not allowed.
    """
    found: dict[str, tuple[str, Span]] = {}
    # BuildKit's escape does not survive a #! line, syntax and check do
    shebang = _shebang(source)
    for number, key, value in _directive_lines(source):
        span = source.span(number)
        if key in found:
            raise source.error(f"parser directive {key!r} is given twice", span, hint="keep one of them")
        found[key] = (value, span)
    syntax = found.get("syntax")
    escape = "\\"
    if "escape" in found and not shebang:
        escape, span = found["escape"]
        if escape not in _ESCAPES:
            raise source.error(f"invalid escape character {escape!r}", span, hint="it is \\ or `")
    check = None
    if "check" in found:
        value, span = found["check"]
        try:
            check = read_check_options(value.partition(" ")[0])
        except InvalidInput as problem:
            raise source.error(problem.problem, span, hint=problem.hint) from None
    return Directives(syntax=syntax[0] if syntax else None, escape=escape, check=check)


def directive_lines(source: Source) -> list[int]:
    """The numbers of the lines that are directives; behind a ``#!`` line the parser takes none for one."""
    return [] if _shebang(source) else [number for number, _, _ in _directive_lines(source)]


def _shebang(source: Source) -> bool:
    return bool(source.lines) and source.lines[0].startswith("#!")


def _directive_lines(source: Source) -> Iterator[tuple[int, str, str]]:
    """Number, key and value of each directive."""
    first = 1 if _shebang(source) else 0
    for number, line in enumerate(source.lines[first:], first + 1):
        text = line.rstrip("\r\n").lstrip(SPACE)
        match = _DIRECTIVE.match(text[1:].lstrip(SPACE)) if text.startswith("#") else None
        if match is None or match[1].lower() not in ("syntax", "escape", "check"):
            return
        yield number, match[1].lower(), match[2]
