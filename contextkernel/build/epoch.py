"""SOURCE_DATE_EPOCH: one time for everything that a build makes.

Source of the rules: BuildKit's ``docs/build-repro.md`` and ``dockerfile2llb/epoch.go``: a ``--build-arg``, else an ARG
before the first FROM; whole seconds since 1970, or ``context``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from contextkernel.errors import InvalidInput

NAME = "SOURCE_DATE_EPOCH"
_ASKS = re.compile(rb"^\s*ARG\s[^\n]*SOURCE_DATE_EPOCH=[\"']?context\b", re.IGNORECASE | re.MULTILINE)
_LATEST = 253402300799  # the end of the year 9999: RFC 3339 has four digits


def means_context(arguments: Mapping[str, str], text: str | bytes | None) -> bool:
    """Whether the time of the context may be asked for, by an argument or in the text of a Dockerfile."""
    if NAME in arguments:
        return arguments[NAME] == "context"
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text or b""
    return _ASKS.search(data) is not None


def source_date_epoch(
    arguments: Mapping[str, str],
    scope: Mapping[str, str],
    context: int | None,
    warn: Callable[[str], None] = lambda _text: None,
) -> int | None:
    """The time of a build, in seconds since 1970; ``None`` if nobody has set one.

    Args:
        arguments: ``--build-arg`` values.
        scope: the global scope: ARGs before the first FROM.
        context: the time of the context, if it has one (a commit, a server's Last-Modified).
        warn: told if the time of a context is asked for that has none; BuildKit says nothing.

    Raises:
        InvalidInput: the value is neither a number of seconds nor ``context``.
    """
    value = arguments.get(NAME, scope.get(NAME, ""))
    if not value:
        return None
    if value == "context":
        if context is None:
            warn(f"{NAME}=context has no effect: only a Git repository, a URL or an archive has a time of its own")
        return context
    if not re.fullmatch(r"[0-9]+", value) or int(value) > _LATEST:
        raise InvalidInput(
            f"invalid {NAME}: {value!r}", hint="whole seconds since 1970, e.g. $(git log -1 --pretty=%ct), or context"
        )
    return int(value)
