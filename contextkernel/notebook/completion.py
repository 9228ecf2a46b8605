"""Completion of magic lines (commands, flags, images, containers) and of instructions in a ``%%dockerfile`` cell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from contextkernel.engine import Engine

# `%container im|`, `rows = %docker ps -|`; the cell magics only at the start of the cell's first line
_LINE = re.compile(r"(?:^|=)\s*%(?:container|docker)\s(?P<rest>.*)\Z")
_CELL_LINE = re.compile(r"\A\s*%%(?P<magic>container|docker|dockerfile)\s(?P<rest>[^\n]*)\Z")
_VARIABLE = re.compile(
    r"(?:^|=)\s*%%?(?:container|docker|dockerfile)\s[^\n]*--context-var[ =](?P<piece>\w*)\Z", re.MULTILINE
)
_IN_DOCKERFILE = re.compile(r"\A\s*%%dockerfile\b[^\n]*\n")
_FROM = re.compile(r"(?i:FROM)\s+(?P<image>\S*)\Z")
_INSTRUCTIONS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD", "RUN"),
    *("SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)


def candidates(
    text: str, engine: Callable[[], Engine], namespace: Mapping[str, object] | None = None
) -> tuple[str, list[str]] | None:
    """What may stand at the end of ``text``.

    Args:
        text: the cell up to the cursor.
        engine: gives the engine, for names of images and containers.
        namespace: the variables of the notebook, for ``--context-var``.

    Returns:
        The piece that is completed and the words that may replace it; ``None`` where we have no say.
    """
    if found := _VARIABLE.search(text):
        return found["piece"], _dicts(namespace or {}, found["piece"])
    if found := _CELL_LINE.match(text):
        words = found["rest"].split()
        head = ["build"] if found["magic"] == "dockerfile" else []
        return _line(head + words, found["rest"], engine)
    last = text[text.rfind("\n") + 1 :]
    if _IN_DOCKERFILE.match(text):
        return _instruction(last, engine)
    if found := _LINE.search(last):
        return _line(found["rest"].split(), found["rest"], engine)
    return None


def _dicts(namespace: Mapping[str, object], piece: str) -> list[str]:
    """Names of dicts that begin with ``piece``; what begins with ``_`` is IPython's."""
    return sorted(
        name
        for name, value in namespace.items()
        if isinstance(value, Mapping) and name.startswith(piece) and not name.startswith("_")
    )


def _line(words: list[str], rest: str, engine: Callable[[], Engine]) -> tuple[str, list[str]]:
    from contextkernel.commands.complete import complete

    if not rest or rest[-1].isspace():
        words = [*words, ""]
    return words[-1], complete(words, engine)


def _instruction(line: str, engine: Callable[[], Engine]) -> tuple[str, list[str]] | None:
    if found := _FROM.match(line):
        return _line(["run", found["image"]], line, engine) if found["image"] else _line(["run"], line, engine)
    if line and not line.isalpha():
        return None
    return line, [word for word in _INSTRUCTIONS if word.startswith(line.upper())]


def attach(shell: InteractiveShell, engine: Callable[[], Engine]) -> Callable[[], None]:
    """Let the shell's completer ask us; returns a function that takes it back."""

    @context_matcher()  # type: ignore[untyped-decorator, unused-ignore]
    def contextkernel_matcher(context: CompletionContext) -> SimpleMatcherResult:
        return matches(context, engine, shell.user_ns)

    matchers: list[Any] = shell.Completer.custom_matchers
    matchers.append(contextkernel_matcher)

    def detach() -> None:
        if contextkernel_matcher in matchers:
            matchers.remove(contextkernel_matcher)

    return detach


def matches(
    context: CompletionContext, engine: Callable[[], Engine], namespace: Mapping[str, object] | None = None
) -> SimpleMatcherResult:
    """IPython's question and our answer; a completion never fails, it only has nothing to offer."""
    lines = context.full_text.split("\n")
    text = "\n".join([*lines[: context.cursor_line], context.line_with_cursor[: context.cursor_position]])
    try:
        found = candidates(text, engine, namespace)
    except Exception:
        found = None
    if found is None:
        return {"completions": [], "suppress": False}
    piece, words = found
    return {
        "completions": [SimpleCompletion(text=word, type="container") for word in words],
        "matched_fragment": piece,
        "suppress": bool(words),
        "ordered": True,
    }
