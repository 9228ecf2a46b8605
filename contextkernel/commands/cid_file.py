"""``--cidfile``: the id of a new container in a file (docker/cli, cli/command/container/create.go)."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from contextkernel.errors import InvalidInput

if TYPE_CHECKING:
    from types import TracebackType


class CidFile:
    """A file that is there, empty, before the container is made, and goes again if none is made.

    Args:
        path: of the file; ``None`` or empty: none is wanted.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path or None
        self._file = -1
        self._written = False

    def __enter__(self) -> Self:
        """Make it.

        Raises:
            InvalidInput: there is such a file, or it cannot be made.
        """
        if self._path is None:
            return self
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise InvalidInput(
                f"container ID file found: {self._path}",
                hint="make sure the other container does not run, and remove the file",
            ) from None
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise InvalidInput(f"the container ID file {self._path} cannot be made: {reason}") from None
        return self

    def write(self, identity: str) -> None:
        """Write the container's id.

        Raises:
            InvalidInput: the disk is full.
        """
        if self._file < 0:
            return
        try:
            os.write(self._file, identity.encode())
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise InvalidInput(f"the container ID file {self._path} cannot be written: {reason}") from None
        self._written = True

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; one without an id is removed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if not self._written and self._path is not None:
                with suppress(OSError):
                    os.unlink(self._path)
