"""Verbs of containers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Unpack

from contextkernel.engine.creation import Creation
from contextkernel.engine.log_lines import lines_of
from contextkernel.engine.talking import client_of, keys_of, result_of
from contextkernel.errors import Conflict, ContainerRunning
from contextkernel.model.results import RunResult

if TYPE_CHECKING:
    from contextkernel.engine.asked import CreateKeywords
    from contextkernel.engine.moments import Moment
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.ports import Process, Reporter, Screen
    from contextkernel.runtime.attach import Client


class ContainerVerbs(Creation):
    """Running programs."""

    def run(
        self,
        image: str,
        command: str | Sequence[str] = (),
        *,
        detach: bool = False,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
        forward_signals: bool = False,
        stdin_open: bool | None = None,
        streams: Collection[str] | None = None,
        screen: Screen | None = None,
        detach_keys: str = "",
        pull: str = "missing",
        report: Reporter | None = None,
        on_created: Callable[[str], None] | None = None,
        **wanted: Unpack[CreateKeywords],
    ) -> RunResult | str:
        """Run a program in a new container of ``image``. Keyword names follow docker-py.

        Args:
            image: name or id; pulled when missing (``pull``: ``missing``, ``always``, ``never``).
            command: replaces the image's CMD; a string is split as a shell does it.
            detach: return the container's id as soon as it runs.
            stdin: bytes to feed, or a descriptor to relay; ``None``: the program reads ``/dev/null``. With ``tty``
                bytes are typed, line by line, and the end of input after them.
            stdout, stderr: descriptors that get the output directly; without them it is collected in the result
                and handed to ``on_output(stream, chunk)`` as it comes. With ``tty`` all output is standard output.
                With ``on_output`` the result has the last megabyte or two of each (``left_out`` counts the rest).
            forward_signals: pass SIGINT, SIGTERM, ... of this process on to the container (main thread only).
            stdin_open: the container has an input, whether or not somebody gives it one now; default: if ``stdin`` is
                given.
            streams: attach these alone of ``stdin``, ``stdout`` and ``stderr``; output of others is in the log.
            screen: the terminal that shows the container's, with ``tty``.
            detach_keys: what to type there to leave; default ``ctrl-p,ctrl-q``.
            on_created: called with the id before the start.
            wanted: name, environment, networks, mounts, limits, privileges and so on: see
                :class:`contextkernel.engine.asked.CreateKeywords`.

        Returns:
            The finished result, or with ``detach``, or after the detach keys, the container's id.

        Raises:
            CommandNotFound, CommandNotExecutable, LaunchFailed, NameInUse, ImageNotFound, InvalidInput: see there.
            KeyboardInterrupt: after the container has been stopped.
        """
        tty = wanted.get("tty", False)
        keys = keys_of(detach_keys, tty=tty)
        client = client_of(
            stdin,
            stdout,
            stderr,
            on_output,
            tty=tty,
            screen=screen,
            forward_signals=forward_signals,
            streams=streams,
        )
        containers = self._containers
        spec = self._create(
            image,
            command,
            wanted,
            pull=pull,
            report=report,
            stdin_open=stdin is not None if stdin_open is None else stdin_open,
            detached=detach,
        )
        try:
            if on_created:
                on_created(spec.id)
            if detach:
                containers.start(spec).close()
                return spec.id
            containers.tell(spec, "attach")
            return self._start_attached(spec, client, keys)
        except BaseException:
            containers.give_up(spec)
            raise

    def start(
        self,
        container: str,
        *,
        attach: bool = False,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
        forward_signals: bool = False,
        screen: Screen | None = None,
        detach_keys: str = "",
    ) -> RunResult | str:
        """Start a created or exited container again; ``attach`` waits for it as :meth:`run` does.

        One that runs, or is about to be restarted, stays as it is; with ``attach`` its output is given from now on.

        Args:
            container: name or id.
            attach: be with it; the rest is for this.
            stdin, stdout, stderr, on_output, forward_signals, screen, detach_keys: see :meth:`run`.

        Raises:
            Conflict: it is paused. CommandNotFound, CommandNotExecutable, LaunchFailed: it cannot be started.
        """
        containers = self._containers
        spec = containers.find(container)
        if not attach:
            if containers.state(spec).status == "paused":
                raise Conflict(f"cannot start the paused container {spec.name!r}", hint="try unpause instead")
            with suppress(ContainerRunning):  # docker: as it should be
                containers.start(spec).close()
            return spec.id
        keys = keys_of(detach_keys, tty=spec.tty)
        client = client_of(
            stdin if spec.stdin_open else None,
            stdout,
            stderr,
            on_output,
            tty=spec.tty,
            screen=screen,
            forward_signals=forward_signals,
        )
        containers.tell(spec, "attach")
        return self._start_attached(spec, client, keys)

    def _start_attached(self, spec: ContainerSpec, client: Client, keys: bytes) -> RunResult | str:
        from contextkernel.runtime.attach import converse

        containers = self._containers

        started: list[Process] = []

        def begin(stdin: int | None, stdout: int | None, stderr: int | None) -> Process:
            try:
                process = containers.start(
                    spec, stdin=stdin, stdout=stdout, stderr=stderr, detach_keys=keys, size=client.size
                )
            except ContainerRunning:  # docker: then it is attached to
                return containers.attach(
                    spec, stdin=stdin, stdout=stdout, stderr=stderr, detach_keys=keys, size=client.size
                )
            started.append(process)
            return process

        said = converse(begin, client, ended=lambda: containers.finished(spec))
        if started and (usage := started[-1].usage) is not None and usage.outgrown:
            self._warn(f"container {spec.name} was killed: {self._store.bound.outgrown(usage.outgrown)}")
        result = result_of(spec, said)
        return spec.id if result is None else result

    def logs(
        self,
        container: str,
        *,
        tail: int | None = None,
        follow: bool = False,
        timestamps: bool = False,
        since: Moment | None = None,
        until: Moment | None = None,
        details: bool = False,
    ) -> Iterator[tuple[str, bytes]]:
        """Yield ``(stream, line)`` of a container's output.

        Args:
            tail: only the last lines.
            follow: go on until the container ends.
            timestamps: put the time before each line.
            since, until: only what was written then; see :meth:`events`.
            details: put labels and variables before each line that the log was asked to carry (``--log-opt labels``).

        Raises:
            Conflict: the container keeps no log. InvalidInput: ``since`` or ``until`` is no moment.
        """
        from contextkernel.engine.moments import nanoseconds

        containers = self._containers
        now = time.time_ns()
        records = containers.logs(
            containers.find(container),
            tail=tail,
            follow=follow,
            since=nanoseconds(since, now=now),
            until=nanoseconds(until, now=now),
        )
        return lines_of(records, timestamps=timestamps, details=details)

    def stop(self, container: str, *, timeout: int | None = None, signal: str | None = None) -> None:
        """Stop a container: a signal (default: its stop signal), then SIGKILL after ``timeout`` seconds."""
        containers = self._containers
        containers.stop(containers.find(container), timeout, signal)

    def kill(self, container: str, *, signal: str = "KILL") -> None:
        """Send a signal to a running container."""
        containers = self._containers
        containers.kill(containers.find(container), signal)

    def wait(self, container: str) -> int:
        """Wait for a container's exit; its exit code."""
        containers = self._containers
        return containers.wait(containers.find(container))

    def remove_container(self, container: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container and what it wrote; a running one only with ``force``.

        Args:
            container: name or id.
            force: kill it if it runs.
            volumes: remove its anonymous volumes too.
        """
        containers = self._containers
        containers.remove(containers.find(container), force=force, volumes=volumes)
