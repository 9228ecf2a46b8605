"""Files that somebody asked for: they appear complete or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from contextkernel.errors import InvalidInput


@contextmanager
def opened(output: str | int) -> Iterator[IO[bytes]]:
    """The place to write to, unbuffered.

    Args:
        output: a path, which is replaced at the end of the block, or left as it was if the block fails; or an open
            descriptor, which stays open.

    Raises:
        InvalidInput: it cannot be written.
    """
    if isinstance(output, int):
        with os.fdopen(os.dup(output), "wb", buffering=0) as sink:
            yield sink
        return
    try:
        special = not stat.S_ISREG(os.stat(output).st_mode)
    except OSError:
        special = False
    if special:  # /dev/stdout, a named pipe
        with _open(output, output) as sink:
            yield sink
        return
    # a name that nobody can guess, and that must be new: where others may write, they could have put a link there
    temporary = f"{output}.{os.urandom(8).hex()}.partial"
    try:
        with _open(temporary, output, new=True) as sink:
            yield sink
        try:
            os.replace(temporary, output)
        except OSError as problem:
            raise unwritable(problem, output) from problem
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _open(path: str, shown: str, *, new: bool = False) -> IO[bytes]:
    try:
        return open(path, "xb" if new else "wb", buffering=0)
    except OSError as problem:
        raise unwritable(problem, shown) from problem


def unwritable(problem: OSError, shown: str | int) -> InvalidInput:
    """The error for an output that refuses."""
    where = shown if isinstance(shown, str) else "the output"
    return InvalidInput(
        f"cannot write the archive to {where}: {(problem.strerror or str(problem)).lower()}",
        hint="choose another file with -o",
    )
