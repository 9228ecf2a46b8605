"""Reading what a container has written, out of the log that its monitor keeps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

_POLL = 0.05  # seconds between looks at a log that is followed


def read_log(
    path: str, running: Callable[[], bool], *, tail: int | None = None, follow: bool = False
) -> Iterator[tuple[str, str, bytes]]:
    """Yield ``(stream, time, line)``, oldest first; nothing if there is no log.

    Args:
        path: of the log, in docker's json-file format.
        running: whether more may come.
        tail: only the last lines.
        follow: go on until the container has exited.
    """
    try:
        log = open(path, "rb")  # noqa: SIM115 - closed below; a missing log is no error
    except FileNotFoundError:
        return
    with log:
        lines = log.readlines()
        partial = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        for line in lines if tail is None else lines[len(lines) - tail :] if tail else []:
            yield _log_entry(line)
        while follow:
            alive = running()
            for piece in log:
                partial += piece
                if partial.endswith(b"\n"):
                    yield _log_entry(partial)
                    partial = b""
            if not alive:
                return
            time.sleep(_POLL)


def _log_entry(line: bytes) -> tuple[str, str, bytes]:
    record = json.loads(line)
    return record["stream"], record["time"], record["log"].encode("utf-8", "surrogateescape")
