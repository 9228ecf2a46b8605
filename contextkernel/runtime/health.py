"""Runs a container's health check at its times, in the container's monitor."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.model.container import ExecRequest, LaunchRequest
from contextkernel.model.durations import go_duration
from contextkernel.model.life import Health, HealthResult
from contextkernel.runtime.channels import Standard
from contextkernel.runtime.health_rules import (
    MOST_OUTPUT,
    SECOND,
    TIMEOUT,
    check_command,
    judged,
    next_check,
    started_again,
)
from contextkernel.runtime.loop import READABLE, Loop, Timer
from contextkernel.runtime.messages import Detached, Exited, Failed, Started

if TYPE_CHECKING:
    from contextkernel.runtime.execs import Execs, Execution
    from contextkernel.runtime.telling import Teller

_CHUNK = 65536


class HealthChecks:
    """The health of one container.

    Args:
        request: of the container.
        loop: for the times.
        execs: runs the checks.
        note: called with the health when it has changed.
        tell: for events.
    """

    def __init__(
        self, request: LaunchRequest, loop: Loop, execs: Execs, note: Callable[[Health], None], tell: Teller
    ) -> None:
        self._request = request
        self._check = request.life.healthcheck
        self._command = check_command(self._check, request.life.shell)
        self._loop = loop
        self._execs = execs
        self._note = note
        self._tell = tell
        self._health: Health | None = None
        self._started = 0
        self._timer: Timer | None = None
        self._probe: _Probe | None = None

    def begin(self, started: int) -> None:
        """The container has been started.

        Args:
            started: when, nanoseconds since the epoch.
        """
        if self._check is None or not self._command:
            return
        self._started = started
        self._health = started_again(self._health)
        self._note(self._health)
        self._wait()

    def go_on(self) -> None:
        """The container is no longer paused."""
        if self._health is not None and self._timer is None:
            self._wait()

    def stop(self) -> None:
        """The container has ended, or is paused: nobody knows its health; docker says unhealthy. Idempotent."""
        if self._health is None or (self._timer is None and self._probe is None):
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._probe is not None:
            self._probe.give_up()
            self._probe = None
        self._health = msgspec.structs.replace(self._health, status="unhealthy")
        self._note(self._health)

    def _wait(self) -> None:
        if self._health is None or self._check is None:
            return
        delay = next_check(self._health, self._check, time.time_ns() - self._started)
        self._timer = self._loop.after(delay / SECOND, self._run)

    def _run(self) -> None:
        self._timer = None
        if self._check is not None:
            self._probe = _Probe(self._loop, self._check.timeout or TIMEOUT, self._ended)
            self._probe.start(self._execs, self._request, self._command)

    def _ended(self, result: HealthResult) -> None:
        self._probe = None
        if self._health is None or self._check is None:
            return
        before = self._health.status
        self._health = judged(self._health, self._check, result, self._started)
        self._note(self._health)
        if self._health.status != before:
            self._tell(f"health_status: {self._health.status}")
        self._wait()


class _Probe:
    """One run of a check; a :class:`~contextkernel.runtime.loop.Source` for its output.

    Args:
        loop: for its time.
        timeout: nanoseconds.
        done: called once with what came of it.
    """

    def __init__(self, loop: Loop, timeout: int, done: Callable[[HealthResult], None]) -> None:
        self._loop = loop
        self._timeout = timeout
        self._done: Callable[[HealthResult], None] | None = done
        self._begun = time.time_ns()
        self._source, self._end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._output = bytearray()
        self._longer = False
        self._late = False
        self._timer: Timer | None = None
        self._execution: Execution | None = None

    def start(self, execs: Execs, request: LaunchRequest, command: tuple[str, ...]) -> None:
        """Run ``command`` as the container's user, in its directory, with its environment."""
        self._loop.add(self)
        own = os.dup(self._end)
        asked = ExecRequest(argv=command, env=request.env, working_dir=request.working_dir, user=request.user)
        self._execution = execs.start(asked, Standard(stdout=self._end, stderr=own), self._told)

    def _told(self, message: Started | Failed | Exited | Detached) -> None:
        match message:
            case Started():
                self._timer = self._loop.after(self._timeout / SECOND, self._expire)
            case Failed():
                self._finish(-1, message.problem)
            case Exited(exit_code):
                self._take()
                text = self._output.decode("utf-8", "replace") + ("..." if self._longer else "")
                if self._late:
                    text = f": {text}" if text else ""
                    self._finish(-1, f"Health check exceeded timeout ({go_duration(self._timeout)}){text}")
                else:
                    self._finish(exit_code, text)
            case Detached():
                pass

    def _expire(self) -> None:
        self._late = True
        if self._execution is not None:
            self._execution.signal(signal.SIGKILL)

    def give_up(self) -> None:
        """Nobody wants to know any more."""
        self._done = None
        if self._execution is not None:
            self._execution.signal(signal.SIGKILL)
        if self._timer is not None:
            self._timer.cancel()

    def _finish(self, exit_code: int, output: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.discard(self)
        os.close(self._source)
        self._source = -1
        done, self._done = self._done, None
        if done is not None:
            done(HealthResult(start=self._begun, end=time.time_ns(), exit_code=exit_code, output=output))

    def interests(self) -> Iterator[tuple[int, int]]:
        """See there."""
        if self._source >= 0:
            yield self._source, select.POLLIN

    def ready(self, events: Mapping[int, int]) -> None:
        """See there."""
        if self._source >= 0 and events.get(self._source, 0) & READABLE:
            self._take()

    def _take(self) -> None:
        """Read what there is, so that the check does not wait; keep its beginning."""
        with suppress(BlockingIOError):
            while data := os.read(self._source, _CHUNK):
                room = MOST_OUTPUT - len(self._output)
                self._output += data[:room]
                self._longer = self._longer or len(data) > room
