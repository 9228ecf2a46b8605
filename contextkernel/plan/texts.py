"""The exact texts that BuildKit writes into history entries and progress lines.

Facts from ``dockerfile2llb/convert.go``. Two formats changed over the years, and the newer one is written here: EXPOSE
is a list (since 2025-08, a Go map before), HEALTHCHECK has field names (since 2026-04).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from contextkernel.dockerfile.expand import process
from contextkernel.errors import InvalidInput
from contextkernel.model.durations import go_duration
from contextkernel.model.oci import Healthcheck

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_SURROGATES = range(0xDC80, 0xDD00)


def go_quote(text: str) -> str:
    """``text`` as Go's ``%q`` writes a string."""
    return '"' + "".join(_quoted(char) for char in text) + '"'


def _quoted(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code in _SURROGATES:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted_list(words: Iterable[str]) -> str:
    """``["a" "b"]``: Go's ``%q`` of a slice."""
    return f"[{' '.join(map(go_quote, words))}]"


def plain_list(words: Iterable[str]) -> str:
    """``[a b]``: Go's ``%v`` of a slice."""
    return f"[{' '.join(words)}]"


def port_list(ports: Iterable[str]) -> str:
    """``[443/tcp 80/tcp]``: each port once, sorted as text."""
    return plain_list(sorted(set(ports)))


def healthcheck_text(check: Healthcheck) -> str:
    """``{Test:[CMD-SHELL true] Interval:30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}``."""
    return (
        f"{{Test:{plain_list(check.test or ())} Interval:{go_duration(check.interval)}"
        f" Timeout:{go_duration(check.timeout)} StartPeriod:{go_duration(check.start_period)}"
        f" StartInterval:{go_duration(check.start_interval)} Retries:{check.retries}}}"
    )


def run_text(argv: Sequence[str], arguments: Iterable[tuple[str, str | None]], env: Mapping[str, str]) -> str:
    """``RUN |1 A=b /bin/sh -c true # buildkit``: build arguments in scope, then the command.

    Args:
        argv: program and arguments.
        arguments: declared ARGs in order; one declared twice counts once.
        env: values in scope, which win over the declared ones.
    """
    values = {name: env.get(name, value or "") for name, value in arguments}
    counted = [f"|{len(values)}", *(f"{name}={value}" for name, value in values.items())] if values else []
    return " ".join(["RUN", *counted, *argv, "# buildkit"])


def heredoc_summary(content: str) -> str:
    """The first line, with ``...`` if there are more; progress shows it behind ``RUN <<EOF``."""
    lines = content.strip().replace("\r\n", "\n").split("\n")
    return lines[0] + ("..." if len(lines) > 1 else "")


def shown_command(text: str, env: Mapping[str, str], *, escape: str, run: bool) -> str:
    """An instruction as progress shows it: keyword in capitals, variables replaced.

    Args:
        text: the instruction's logical line.
        env: values in scope.
        escape: the file's escape character.
        run: keep quotes and unknown variables, as for RUN.
    """
    with suppress(InvalidInput):  # the line is only shown
        text = process(text, env, escape=escape, keep_quotes=run, keep_unset=run).text
    keyword, space, rest = text.partition(" ")
    return keyword.upper() + space + rest
