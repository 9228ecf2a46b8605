"""Go templates (text/template), the part that ``--format`` needs: text to a tree. Pure.

Supported: text, comments, trim markers, pipelines, fields, variables, parentheses, ``if``, ``with``, ``range``,
``break``, ``continue``. Not supported, and refused: ``define``, ``template``, ``block``.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn, TypeAlias

from msgspec import Struct

from contextkernel.errors import Span, TemplateProblem

_NAME = "--format"
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<char>'(?:[^'\\]|\\.)+')
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,18}(?:\.[0-9]{1,18})?))
      | (?P<declare>:=)
      | (?P<assign>=)
      | (?P<variable>\$\w*)
      | (?P<field>\.[^\W\d]\w*)
      | (?P<dot>\.)
      | (?P<word>[^\W\d]\w*)
      | (?P<mark>[|(),])""",
    re.VERBOSE,
)
_UNSUPPORTED = ("define", "template", "block")


class Literal(Struct, frozen=True):
    """A constant."""

    value: Any


class Dot(Struct, frozen=True):
    """The value at hand, written as a single dot."""


class Variable(Struct, frozen=True):
    """``$x``; the empty name is ``$``."""

    name: str
    column: int


class Field(Struct, frozen=True):
    """``operand.Name``; may be called with arguments when the data has a function there (``.Label "x"``)."""

    operand: Operand
    name: str
    column: int


class Word(Struct, frozen=True):
    """A function by name."""

    name: str
    column: int


class Pipeline(Struct, frozen=True):
    """Commands joined by ``|``, each operand first; ``declares`` names variables to set."""

    commands: tuple[tuple[Operand, ...], ...]
    declares: tuple[str, ...] = ()
    column: int = 0


Operand: TypeAlias = Literal | Dot | Variable | Field | Word | Pipeline


class TextNode(Struct, frozen=True):
    """Text between actions."""

    text: str


class Action(Struct, frozen=True):
    """``{{pipeline}}``: prints, unless it only sets variables."""

    pipeline: Pipeline


class Branch(Struct, frozen=True):
    """``if``, ``with`` or ``range``."""

    kind: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


class Jump(Struct, frozen=True):
    """``break`` or ``continue``."""

    kind: str


Node: TypeAlias = TextNode | Action | Branch | Jump


class _Token(Struct, frozen=True):
    kind: str
    text: str
    column: int
    spaced: bool


def fail(source: str, column: int, problem: str, hint: str | None = None, *, exit_code: int | None = None) -> NoReturn:
    """Raise a TemplateProblem that points at ``column`` (from 1, counted over the whole template)."""
    before = source[: column - 1]
    line = before.count("\n") + 1
    at = len(before) - (before.rfind("\n") + 1) + 1
    span = Span(file=_NAME, line=line, column=at, end_line=line, end_column=at + 1)
    error = TemplateProblem(f"template error: {problem}", hint=hint, span=span, source=source)
    if exit_code is not None:
        error.exit_code = exit_code
    raise error


def parse_template(source: str) -> tuple[Node, ...]:
    """Read a template.

    Raises:
        TemplateProblem: with the column.
    """
    try:
        return _Parser(source).nodes()
    except RecursionError:
        fail(source, 1, "nested too deeply")


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._place = 0
        self._tokens: list[_Token] = []
        self._at = 0
        self._trim = False
        self._loops = 0

    def _fail(self, column: int, problem: str, hint: str | None = None) -> NoReturn:
        fail(self._source, column, problem, hint)

    # -- text and actions -----------------------------------------------------------------------

    def nodes(self) -> tuple[Node, ...]:
        body, end = self._body(())
        if end:
            self._fail(end.column, f"unexpected {{{{{end.text}}}}}")
        return body

    def _body(self, ends: tuple[str, ...]) -> tuple[tuple[Node, ...], _Token | None]:
        """Nodes up to an action that starts with one of ``ends`` or the end of the template."""
        nodes: list[Node] = []
        while True:
            text = self._text()
            if text:
                nodes.append(TextNode(text))
            if not self._action():
                return tuple(nodes), None
            if not self._tokens:  # a comment
                continue
            first = self._tokens[0]
            if first.kind == "word" and first.text in ("end", "else", *ends):
                self._at = 1
                return tuple(nodes), first
            nodes.append(self._statement(first))

    def _text(self) -> str:
        start = self._place
        opening = self._source.find("{{", start)
        end = len(self._source) if opening < 0 else opening
        text = self._source[start:end]
        if self._trim:
            text = text.lstrip(" \t\r\n")
        if opening >= 0 and re.match(r"\{\{-\s", self._source[opening:]):
            text = text.rstrip(" \t\r\n")
        self._place = end
        return text

    def _action(self) -> bool:
        """Read the tokens of the action here; false at the end of the template."""
        source, opening = self._source, self._place
        if opening >= len(source):
            return False
        place = opening + 2
        if re.match(r"-\s", source[place:]):
            place += 1
        comment = re.compile(r"\s*/\*.*?\*/(\s-)?\}\}", re.DOTALL).match(source, place)
        if comment:
            self._tokens, self._trim, self._place = [], bool(comment[1]), comment.end()
            return True
        tokens: list[_Token] = []
        spaced = False
        while True:
            closing = re.compile(r"\s-\}\}|\}\}").match(source, place)
            if closing:
                self._trim, self._place = closing[0] != "}}", closing.end()
                break
            found = _TOKEN.match(source, place)
            if not found:
                if place >= len(source):
                    self._fail(opening + 1, "unclosed action", "every {{ needs its }}")
                if source[place] in "\"`'":
                    self._fail(place + 1, "no closing quote")
                self._fail(place + 1, f"unexpected {source[place]!r} in an action")
            kind = found.lastgroup or ""
            if kind == "space":
                spaced = True
            else:
                tokens.append(_Token(kind, found[0], place + 1, spaced))
                spaced = False
            place = found.end()
        if not tokens:
            self._fail(opening + 1, "missing value in an action", "an action is {{.Field}} or {{function .Field}}")
        self._tokens, self._at = tokens, 0
        return True

    def _statement(self, first: _Token) -> Node:
        if first.kind == "word":
            if first.text in ("if", "with", "range"):
                return self._branch(first)
            if first.text in ("break", "continue"):
                if not self._loops:
                    self._fail(first.column, f"{first.text} outside of range")
                self._at = 1
                self._finished()
                return Jump(first.text)
            if first.text in _UNSUPPORTED:
                self._fail(first.column, f"{first.text!r} is not supported here")
        pipeline = self._pipeline(declare=True)
        self._finished()
        return Action(pipeline)

    def _branch(self, first: _Token) -> Branch:
        self._at = 1
        pipeline = self._pipeline(declare=True)
        self._finished()
        self._loops += first.text == "range"
        body, end = self._body(())
        self._loops -= first.text == "range"
        otherwise: tuple[Node, ...] = ()
        if end is not None and end.text == "else":
            if self._at < len(self._tokens):  # {{else if ...}}: one {{end}} closes both
                inner = self._tokens[self._at]
                if inner.text != "if" or first.text == "range":
                    self._fail(inner.column, f"unexpected {inner.text!r} after else")
                self._tokens = self._tokens[self._at :]
                return Branch(first.text, pipeline, body, (self._branch(inner),))
            otherwise, end = self._body(())
            if end is not None and end.text == "else":
                self._fail(end.column, "a second else")
        if end is None:
            self._fail(first.column, f"{{{{{first.text}}}}} has no {{{{end}}}}")
        self._finished()
        return Branch(first.text, pipeline, body, otherwise)

    # -- pipelines ------------------------------------------------------------------------------

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _finished(self) -> None:
        token = self._peek()
        if token is not None:
            self._fail(token.column, f"unexpected {token.text!r}")

    def _pipeline(self, *, declare: bool = False) -> Pipeline:
        declares = self._declaration() if declare else ()
        start = self._peek()
        if start is None:
            self._fail(self._tokens[-1].column, f"missing value after {self._tokens[-1].text!r}")
        commands: list[tuple[Operand, ...]] = []
        while True:
            operands: list[Operand] = []
            while (token := self._peek()) is not None and token.text not in ("|", ")"):
                operands.append(self._operand())
            if not operands:
                column = token.column if token else self._tokens[-1].column
                self._fail(column, "missing value in a pipeline")
            commands.append(tuple(operands))
            if token is None or token.text == ")":
                break
            self._at += 1
        return Pipeline(tuple(commands), declares, start.column)

    def _declaration(self) -> tuple[str, ...]:
        """``$x :=``, ``$x =``, ``$i, $x :=`` at the start of an action."""
        names: list[str] = []
        at = self._at
        while at < len(self._tokens) and self._tokens[at].kind == "variable":
            names.append(self._tokens[at].text[1:])
            at += 1
            if at >= len(self._tokens):
                return ()
            if self._tokens[at].kind in ("declare", "assign"):
                if len(names) > (2 if self._tokens[0].text == "range" else 1):
                    self._fail(self._tokens[at].column, "too many variables")
                self._at = at + 1
                return tuple(names)
            if self._tokens[at].text != ",":
                return ()
            at += 1
        return ()

    def _operand(self) -> Operand:
        token = self._tokens[self._at]
        self._at += 1
        operand: Operand
        match token.kind:
            case "string":
                operand = Literal(self._string(token))
            case "char":
                operand = Literal(ord(self._string(token)[:1] or "\0"))
            case "number":
                operand = Literal(_number(token.text))
            case "dot":
                operand = Dot()
            case "field":
                operand = Field(Dot(), token.text[1:], token.column)
            case "variable":
                operand = Variable(token.text[1:], token.column)
            case "word" if token.text in ("true", "false", "nil"):
                operand = Literal({"true": True, "false": False}.get(token.text))
            case "word":
                operand = Word(token.text, token.column)
            case "mark" if token.text == "(":
                operand = self._pipeline()
                closing = self._peek()
                if closing is None:
                    self._fail(token.column, "unclosed left parenthesis")
                self._at += 1
            case _:
                self._fail(token.column, f"unexpected {token.text!r}")
        while (after := self._peek()) is not None and after.kind == "field" and not after.spaced:
            self._at += 1
            operand = Field(operand, after.text[1:], after.column)
        return operand

    def _string(self, token: _Token) -> str:
        text = token.text
        if text[0] == "`":
            return text[1:-1]

        def unescape(found: re.Match[str]) -> str:
            code = found[1]
            simple = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
            if code[0] in "xuU" and len(code) > 1:
                number = int(code[1:], 16)
                return chr(number) if number < 0x110000 else "\ufffd"
            if code not in simple and code not in "\\\"'":
                self._fail(token.column + 1 + found.start(), f"unknown escape \\{code}")
            return simple.get(code, code)

        return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", unescape, text[1:-1], flags=re.DOTALL)


def _number(text: str) -> int | float:
    if "x" in text.lower():
        return int(text, 16)
    return float(text) if "." in text else int(text)
