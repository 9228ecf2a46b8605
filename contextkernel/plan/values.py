"""Values of instructions that have a form of their own: paths, signals, ports, modes."""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Iterable, Mapping

from contextkernel.dockerfile.expand import expand_words
from contextkernel.dockerfile.instructions import Dockerfile
from contextkernel.errors import DockerfileError, InvalidInput, Span
from contextkernel.plan.exposed import exposed_ports

_REALTIME = re.compile(r"RTMIN(?:\+(?:[1-9]|1[0-5]))?\Z|RTMAX(?:-(?:[1-9]|1[0-4]))?\Z")


def working_dir(current: str, path: str) -> str:
    """WORKDIR: an absolute path as it is, a relative one joined to ``current`` and cleaned."""
    if path.startswith("/"):
        return path
    return absolute(posixpath.join("/", current, path)) if path else current or "/"


def absolute(path: str) -> str:
    """``path`` from the root, without ``.``, ``..`` and doubled slashes."""
    return posixpath.normpath("/" + path.lstrip("/"))


def checked_signal(text: str, dockerfile: Dockerfile, span: Span) -> str:
    """STOPSIGNAL's value, as written, if it is a signal.

    Raises:
        DockerfileError: it is not.
    """
    if text.isascii() and text.isdigit():
        known = int(text) != 0
    else:
        name = text.upper().removeprefix("SIG")
        known = f"SIG{name}" in signal.Signals.__members__ or bool(_REALTIME.match(name))
    if not known:
        raise DockerfileError(
            f"STOPSIGNAL {text}: no such signal",
            hint="a name such as SIGTERM, or a number",
            span=span,
            source=dockerfile.source,
        )
    return text


def ports_of(words: Iterable[str], env: Mapping[str, str], dockerfile: Dockerfile, span: Span) -> tuple[str, ...]:
    """EXPOSE's ports, variables expanded; one variable may hold several.

    Raises:
        DockerfileError: a word that is not a port.
    """
    try:
        return tuple(
            port
            for word in words
            for expanded in expand_words(word, env, escape=dockerfile.directives.escape)
            for port in exposed_ports(expanded)
        )
    except InvalidInput as problem:
        raise DockerfileError(problem.problem, hint=problem.hint, span=span, source=dockerfile.source) from None
