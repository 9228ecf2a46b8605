"""SOURCE_DATE_EPOCH: one time for everything that a build makes.

Source of the rules: BuildKit's ``docs/build-repro.md`` and ``dockerfile2llb/epoch.go``: a ``--build-arg``, else an ARG
before the first FROM; whole seconds since 1970, or ``context``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from contextkernel.errors import InvalidInput

NAME = "SOURCE_DATE_EPOCH"
_LATEST = 253402300799  # the end of the year 9999: RFC 3339 has four digits


def source_date_epoch(arguments: Mapping[str, str], scope: Mapping[str, str], context: int | None) -> int | None:
    """The time of a build, in seconds since 1970; ``None`` if nobody has set one.

    Args:
        arguments: ``--build-arg`` values.
        scope: the global scope: ARGs before the first FROM.
        context: the time of the context, if it has one (a commit, a server's Last-Modified).

    Raises:
        InvalidInput: the value is neither a number of seconds nor ``context``.
    """
    value = arguments.get(NAME, scope.get(NAME, ""))
    if not value:
        return None
    if value == "context":
        return context
    if not re.fullmatch(r"[0-9]+", value) or int(value) > _LATEST:
        raise InvalidInput(
            f"invalid {NAME}: {value!r}", hint="whole seconds since 1970, e.g. $(git log -1 --pretty=%ct), or context"
        )
    return int(value)
