"""Quotes and variables of a Dockerfile word, as BuildKit's shell lexer (``frontend/dockerfile/shell/lex.go``) has them.

Operators: ``$v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r} ${v//p/r}``;
in patterns ``*`` is any text and ``?`` any character, a backslash takes their meaning away.

Two slips of that lexer are not followed, since they contradict its documentation: when a text is split into words, a
``${v:-w}`` inside a word does not drop what precedes it; and ``$`` in the replacement of ``${v//p/r}`` is literal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from contextkernel.dockerfile.glob import Glob
from contextkernel.dockerfile.text import SPACE
from contextkernel.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPECIAL = frozenset("@*#?-$!0")
_END = ""
_BRACES = "close the variable: ${name}, ${name:-default}"
_NOT_UTF8 = re.compile("[\ud800-\udfff]")


class Expansion(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of expanding one text.

    Attributes:
        text: quotes removed and variables replaced; spaces kept.
        words: the same split at unquoted white space.
        matched: names of variables that were used and known.
        unmatched: names of variables that were used and not known.
    """

    text: str
    words: tuple[str, ...]
    matched: frozenset[str]
    unmatched: frozenset[str]


def process(
    word: str,
    env: Mapping[str, str],
    *,
    escape: str = "\\",
    keep_quotes: bool = False,
    keep_escapes: bool = False,
    literal_quotes: bool = False,
    keep_unset: bool = False,
    lenient: bool = False,
) -> Expansion:
    """Expand ``word`` and say which variables it used.

    Args:
        word: the text.
        env: the variables.
        escape: backslash or backtick.
        keep_quotes: quotes still quote, and stay in the result.
        keep_escapes: escape characters still escape, and stay in the result.
        literal_quotes: quotes are characters like any other.
        keep_unset: a variable that is not in ``env`` stays as written.
        lenient: ``${v:?message}`` does not fail.

    Raises:
        InvalidInput: for an unclosed quote or brace, an unknown operator, a pattern that is not one, and for
            ``${v:?message}`` whose variable is missing.
    """
    lexer = _Lexer(word, env, escape, keep_quotes, keep_escapes, literal_quotes, keep_unset, lenient)
    try:
        text, words = lexer.until(_END, raw=keep_escapes)
    except RecursionError:
        raise InvalidInput(f"cannot expand {_short(word)}: substitutions are nested too deep") from None
    return Expansion(
        text=text, words=tuple(words), matched=frozenset(lexer.matched), unmatched=frozenset(lexer.unmatched)
    )


def expand(word: str, env: Mapping[str, str], *, escape: str = "\\") -> str:
    """Expand one word: variables replaced, quotes and escapes removed.

    Args:
        word: the text as the Dockerfile has it.
        env: the variables.
        escape: the file's escape character.

    Raises:
        InvalidInput: see :func:`process`.
    """
    return process(word, env, escape=escape).text


def expand_words(text: str, env: Mapping[str, str], *, escape: str = "\\") -> tuple[str, ...]:
    """Expand ``text`` and split the result at unquoted white space; EXPOSE takes several ports from one variable so.

    Raises:
        InvalidInput: see :func:`process`.
    """
    return process(text, env, escape=escape).words


def expand_document(content: str, env: Mapping[str, str]) -> str:
    """Expand the variables of a COPY or ADD here-document: quotes are plain characters, the escape is a backslash.

    Bytes that are not UTF-8 become U+FFFD, as Go reads characters; documents that are not expanded keep them.

    Raises:
        InvalidInput: see :func:`process`.
    """
    return process(_NOT_UTF8.sub("\ufffd", content), env, literal_quotes=True).text


def unresolved(word: str, env: Mapping[str, str] | None = None, *, escape: str = "\\") -> tuple[str, ...]:
    """Names of the variables that ``word`` uses and ``env`` lacks (all of them without ``env``), sorted.

    Raises:
        InvalidInput: if ``word`` cannot be expanded at all.
    """
    return tuple(sorted(process(word, env or {}, escape=escape, lenient=True).unmatched))


def _short(word: str) -> str:
    return repr(word if len(word) <= 80 else word[:77] + "...")


class _Words:
    """Collects words; white space ends one, except where it comes from a quoted part."""

    __slots__ = ("buffer", "done", "inside")

    def __init__(self) -> None:
        self.done: list[str] = []
        self.buffer: list[str] = []
        self.inside = False

    def add(self, text: str) -> None:
        for char in text:
            if char not in SPACE:
                self.raw(char)
            elif self.inside and self.buffer:
                self.done.append("".join(self.buffer))
                self.buffer.clear()
                self.inside = False

    def raw(self, text: str) -> None:
        if text:
            self.buffer.append(text)
        self.inside = True

    def finish(self) -> list[str]:
        if self.buffer:
            self.done.append("".join(self.buffer))
        return self.done


class _Lexer:
    """One pass over one text."""

    def __init__(
        self,
        word: str,
        env: Mapping[str, str],
        escape: str,
        keep_quotes: bool,
        keep_escapes: bool,
        literal_quotes: bool,
        keep_unset: bool,
        lenient: bool,
    ) -> None:
        self.word = word
        self.position = 0
        self.env = env
        self.escape = escape
        self.keep_quotes = keep_quotes
        self.raw_escapes = keep_escapes
        self.literal_quotes = literal_quotes
        self.keep_unset = keep_unset
        self.lenient = lenient
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()

    def peek(self) -> str:
        return self.word[self.position : self.position + 1]

    def next(self) -> str:
        char = self.word[self.position : self.position + 1]
        self.position += len(char)
        return char

    def fail(self, reason: str, hint: str | None = None) -> InvalidInput:
        return InvalidInput(f"cannot expand {_short(self.word)}: {reason}", hint=hint)

    def until(self, stop: str, *, raw: bool) -> tuple[str, list[str]]:
        """Read up to ``stop`` (or the end) and past it; ``raw`` keeps escape characters meanwhile."""
        before, self.raw_escapes = self.raw_escapes, raw
        try:
            return self._until(stop)
        finally:
            self.raw_escapes = before

    def _until(self, stop: str) -> tuple[str, list[str]]:
        result: list[str] = []
        words = _Words()
        while char := self.next():
            if char == stop:
                return "".join(result), words.finish()
            if char == "$":
                piece = self.dollar()
                words.add(piece)
            elif char in "'\"" and not self.literal_quotes:
                piece = self.single() if char == "'" else self.double()
                words.raw(piece)
            elif char == "<" and self.peek() == "<":
                piece = self.heredoc_word()
                words.raw(piece)
            elif char == self.escape:
                escaped = self.next()
                piece = (char if self.raw_escapes else "") + escaped
                if piece:
                    words.raw(piece)
            else:
                piece = char
                words.add(char)
            result.append(piece)
        if stop:
            raise self.fail(f"{stop!r} is missing", _BRACES)
        return "".join(result), words.finish()

    def heredoc_word(self) -> str:
        """``<<`` and the blanks after it stay one word with what follows."""
        start = self.position - 1
        self.position += 1
        while self.peek() and self.peek() in "\t\r ":
            self.position += 1
        return self.word[start : self.position]

    def single(self) -> str:
        end = self.word.find("'", self.position)
        if end < 0:
            raise self.fail("a single quote is not closed", "put a second ' or escape the first")
        body = self.word[self.position : end]
        self.position = end + 1
        return f"'{body}'" if self.keep_quotes else body

    def double(self) -> str:
        result = ['"'] if self.keep_quotes else []
        while char := self.next():
            if char == '"':
                if self.keep_quotes:
                    result.append(char)
                return "".join(result)
            if char == "$":
                result.append(self.dollar())
            elif char == self.escape:
                # only ", $ and the escape character itself can be escaped here; any other escape stays
                if self.raw_escapes:
                    result.append(char)
                following = self.peek()
                if not following:
                    continue
                if following in ('"', "$", self.escape):
                    char = self.next()
                result.append(char)
            else:
                result.append(char)
        raise self.fail("a double quote is not closed", 'put a second " or escape the first')

    def dollar(self) -> str:
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            value = self.look_up(name)
            return f"${name}" if value is None and self.keep_unset else value or ""
        self.next()
        following = self.peek()
        if not following:
            raise self.fail("'}' is missing", _BRACES)
        if following in "{}:":
            raise self.fail("bad substitution", "write ${name} or ${name:-default}")
        name = self.name()
        operator = self.next()
        if operator == "}":
            value = self.look_up(name)
            return f"${{{name}}}" if value is None and self.keep_unset else value or ""
        if operator == "/":
            return self.replace(name)
        empty_is_unset = operator == ":"
        if empty_is_unset:
            operator = self.next()
        if not operator:
            raise self.fail("'}' is missing", _BRACES)
        shown = (":" if empty_is_unset else "") + operator
        allowed = "-+?" if empty_is_unset else "-+?#%"
        if operator not in allowed:
            raise self.fail(f"unsupported modifier {shown!r}", "one of :- - :+ + :? ? # ## % %% / //")
        word, _ = self.until("}", raw=operator in "#%")
        value = self.look_up(name)
        if self.keep_unset and value is None:
            return f"${{{name}{shown}{word}}}"
        return self.modified(name, value, operator, word, empty_is_unset=empty_is_unset)

    def modified(self, name: str, value: str | None, operator: str, word: str, *, empty_is_unset: bool) -> str:
        missing = value is None or (empty_is_unset and not value)
        match operator:
            case "-":
                return word if missing else value or ""
            case "+":
                return "" if missing else word
            case "?":
                if missing and not self.lenient:
                    reason = word or f"is not allowed to be {'unset' if value is None else 'empty'}"
                    raise self.fail(f"{name}: {reason}", f"give it a value, e.g. with ARG {name}=... or ENV {name}=...")
                return value or ""
            case _:
                # the doubled operator means the longest match
                longest = word.startswith(operator)
                glob = self.glob(word[1:] if longest else word)
                trim = glob.trim_start if operator == "#" else glob.trim_end
                return trim(value or "", longest=longest)

    def replace(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.next()
        pattern, _ = self.until("/", raw=True)
        replacement, _ = self.until("}", raw=True)
        value = self.look_up(name)
        if self.keep_unset and value is None:
            return f"${{{name}/{pattern}/{replacement}}}"
        return self.glob(pattern).replace(value or "", replacement, everywhere=everywhere)

    def glob(self, pattern: str) -> Glob:
        try:
            return Glob.parse(pattern)
        except ValueError as problem:
            raise self.fail(f"invalid pattern {pattern!r}: {problem}") from None

    def name(self) -> str:
        """A name, a positional number or one special parameter; empty if there is none."""
        start = self.position
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.position += 1
        elif first and first in _SPECIAL:
            self.position += 1
        else:
            while (char := self.peek()) and (char.isalpha() or char.isdecimal() or char == "_"):
                self.position += 1
        return self.word[start : self.position]

    def look_up(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value
