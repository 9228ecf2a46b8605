"""A runtime that plays programs instead of running them, and what it plays by default."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from contextkernel.model.container import LaunchRequest, RunState, Usage
from contextkernel.model.ports import Process

Program = Callable[[LaunchRequest, Callable[[str], None], Callable[[str], None]], int]
"""Plays a container's program: gets the request and writers for its two streams, returns the exit code."""


class ToldProcess:
    """A process that is over.

    Attributes:
        signals: what was sent to it.
    """

    pid = 4242

    def __init__(self, status: int) -> None:
        self.status = status
        self.usage: Usage | None = Usage(0.25, 1 << 20)
        self.signals: list[int] = []
        self.closed = False

    def wait(self, timeout: float | None = None) -> int | None:
        """See ``ports.Process``."""
        del timeout
        return self.status

    def signal(self, number: int) -> None:
        """See ``ports.Process``."""
        self.signals.append(number)

    def resize(self, rows: int, columns: int) -> None:
        """See ``ports.Process``."""
        del rows, columns

    def close(self) -> None:
        """See ``ports.Process``."""
        self.closed = True


class ToldRuntime:
    """A runtime that plays programs instead of running them.

    Args:
        program: plays every program; by default it leaves a file that says what ran.

    Attributes:
        launched: the requests, in order.
        processes: one per request.
    """

    def __init__(self, program: Program | None = None) -> None:
        self._program = program or leave_trace
        self.launched: list[LaunchRequest] = []
        self.processes: list[ToldProcess] = []

    def launch(
        self,
        request: LaunchRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> ToldProcess:
        """See ``ports.Runtime``; output must fit into a pipe."""
        del stdin
        self.launched.append(request)

        def writer(descriptor: int | None) -> Callable[[str], None]:
            def write(text: str) -> None:
                if descriptor is not None:
                    os.write(descriptor, text.encode("utf-8", "surrogateescape"))

            return write

        process = ToldProcess(self._program(request, writer(stdout), writer(stderr)))
        self.processes.append(process)
        return process

    def warm(self) -> None:
        """See ``ports.Runtime``."""

    def connect(self, state_dir: str) -> Process | None:
        """Nothing runs."""
        del state_dir
        return None

    def state(self, state_dir: str) -> RunState:
        """Nothing ran."""
        del state_dir
        return RunState(status="created")

    def close(self) -> None:
        """See ``ports.Runtime``."""


def leave_trace(request: LaunchRequest, out: Callable[[str], None], err: Callable[[str], None]) -> int:
    """A program that leaves a file named after its arguments, and echoes them."""
    del err
    text = " ".join(request.argv)
    name = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    folder = os.path.join(request.upper, "ran")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
    out(f"ran {text}\n")
    return 0
