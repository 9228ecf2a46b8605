"""Secrets of a build: read when a step needs them, kept in memory, never part of a message."""

from __future__ import annotations

import os
from collections.abc import Mapping

from contextkernel.errors import InvalidInput
from contextkernel.model.build_inputs import SecretFromEnvironment, SecretFromFile, SecretSource, SecretValue

MAX_SECRET = 500 * 1024
"""Bytes of a secret (BuildKit, ``session/secrets/secretsprovider``)."""


def check_secrets(sources: Mapping[str, SecretSource]) -> None:
    """Refuse secrets that cannot be had before anything is built.

    Raises:
        InvalidInput: a file that is missing or unreadable, or a secret that is too large.
    """
    for id, source in sources.items():  # noqa: A001 - docker's word
        match source:
            case SecretFromFile(path=path):
                try:
                    size = os.stat(path).st_size
                except OSError as problem:
                    raise _unreadable(id, path, problem) from None
                _check_size(id, size)
            case SecretValue(value=value):
                _check_size(id, len(value))
            case SecretFromEnvironment():
                continue


def read_secret(sources: Mapping[str, SecretSource], id: str) -> bytes | None:
    """The content of a secret, ``None`` if the caller has not given it.

    Raises:
        InvalidInput: it cannot be read, or is too large.
    """
    match sources.get(id):
        case None:
            return None
        case SecretValue(value=value):
            content = value
        case SecretFromEnvironment(name=name):
            content = os.environb.get(os.fsencode(name), b"")
        case SecretFromFile(path=path):
            try:
                with open(path, "rb") as stream:
                    content = stream.read(MAX_SECRET + 1)
            except OSError as problem:
                raise _unreadable(id, path, problem) from None
    _check_size(id, len(content))
    return content


def _unreadable(id: str, path: str, problem: OSError) -> InvalidInput:
    reason = (problem.strerror or str(problem)).lower()
    return InvalidInput(
        f"secret {id!r}: cannot read {path}: {reason}",
        hint="give its file with --secret id=NAME,src=FILE, or a variable with --secret id=NAME,env=VARIABLE",
    )


def _check_size(id: str, size: int) -> None:
    if size > MAX_SECRET:
        raise InvalidInput(
            f"secret {id!r} has {size} bytes, more than {MAX_SECRET}", hint="COPY large files, or bind-mount them"
        )
