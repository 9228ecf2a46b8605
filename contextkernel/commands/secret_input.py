"""A password from standard input."""

from __future__ import annotations

import os

from contextkernel.commands.grammar import usage_problem

_LONGEST = 1 << 16  # bytes of a password; what is longer is a mistake


def secret_from_stdin(source: bytes | int | None) -> str:
    """Read a secret; the line's end is not a part of it.

    Args:
        source: standard input of a face: a descriptor, the cell below a magic, or nothing.

    Raises:
        UsageProblem: there is no standard input.
    """
    if source is None:
        raise usage_problem("there is no standard input to take the password from", exit_code=1)
    data = source if isinstance(source, bytes) else _read(source)
    text = data.decode("utf-8", "surrogateescape")
    for end in ("\r\n", "\n", "\r"):
        if text.endswith(end):
            return text.removesuffix(end)
    return text


def _read(descriptor: int) -> bytes:
    data = b""
    while len(data) < _LONGEST and (part := os.read(descriptor, _LONGEST)):
        data += part
    return data
