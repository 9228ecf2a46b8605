"""Containers that run, and those who talk to them: attached clients, further programs, pauses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from contextkernel.errors import Conflict
from contextkernel.model.container import ExecRequest, Terminal
from contextkernel.runtime import spec as rules
from contextkernel.runtime.container_reach import ContainerReach

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.ports import RunningContainer


class ContainerTalks(ContainerReach):
    """What :class:`contextkernel.runtime.containers.Containers` does with running containers."""

    def attach(
        self,
        spec: ContainerSpec,
        *,
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
        detach_keys: bytes,
        size: tuple[int, int] = (0, 0),
    ) -> RunningContainer:
        """Connect streams to a running container.

        Args:
            spec: the container.
            stdin, stdout, stderr, detach_keys: see :class:`~contextkernel.model.ports.RunningContainer`.
            size: of the client's terminal.

        Raises:
            Conflict: it does not run, is paused, or is about to be restarted.
        """
        process = self._running(spec, "you cannot attach to a {state} container", "stopped")
        try:
            process.attach(stdin=stdin, stdout=stdout, stderr=stderr, detach_keys=detach_keys)
        except BaseException:
            process.close()
            raise
        if spec.tty and all(size):
            # a program draws its screen again when the size changes, not when somebody comes
            process.resize(size[0] + 1, size[1] + 1)
            process.resize(*size)
        self.tell(spec, "attach")
        return process

    def exec_request(
        self,
        spec: ContainerSpec,
        command: Sequence[str],
        *,
        environment: Sequence[str] = (),
        working_dir: str | None = None,
        user: str | None = None,
        privileged: bool = False,
        tty: bool = False,
        stdin_open: bool = False,
        size: tuple[int, int] = (0, 0),
    ) -> ExecRequest:
        """What the user asked for, with what the container gives to every program."""
        own = rules.merge_environment(spec.env, ([rules.TERM] if tty and not _has_term(spec.env) else ()))
        return ExecRequest(
            argv=tuple(command),
            env=rules.merge_environment(own, environment),
            working_dir=working_dir or spec.working_dir,
            user=spec.user if user is None else user,
            privileged=privileged,
            terminal=Terminal(*size) if tty else None,
            open_stdin=stdin_open,
        )

    def execute(
        self,
        spec: ContainerSpec,
        request: ExecRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> RunningContainer:
        """Start a further program in a running container.

        Raises:
            Conflict: the container does not run, or is paused.
            CommandNotFound, CommandNotExecutable, LaunchFailed: the program cannot be executed.
        """
        self._running(spec, "container {name!r} is {state}", "not running").close()
        if request.user != spec.user:  # of its own user it was said when it was made
            self._warn_of_user(request.user)
        process = self._runtime.execute(
            self._store.container_dir(spec.id),
            request,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            detach_keys=detach_keys,
        )
        if process is None:
            raise Conflict(f"container {spec.name!r} is not running", hint="start it first")
        return process

    def pause(self, spec: ContainerSpec) -> None:
        """Pause all processes of a container.

        Raises:
            Conflict: it does not run, or is paused already.
        """
        process = self._process(spec, "pause")
        try:
            process.pause()
        except Conflict as problem:
            raise Conflict(f"cannot pause container {spec.name!r}: {problem.problem}", hint=problem.hint) from None
        finally:
            process.close()

    def unpause(self, spec: ContainerSpec) -> None:
        """Let all processes of a container go on.

        Raises:
            Conflict: it is not paused.
        """
        process = self._process(spec, "unpause")
        try:
            process.unpause()
        except Conflict as problem:
            raise Conflict(f"cannot unpause container {spec.name!r}: {problem.problem}", hint=problem.hint) from None
        finally:
            process.close()

    def _running(self, spec: ContainerSpec, problem: str, ended: str) -> RunningContainer:
        """The container, if it runs and is not paused; ``ended``: what one is called that does not run."""
        status = self.state(spec).status
        process = self.connect(spec) if status == "running" else None
        if process is not None:
            return process
        states = {"paused": ("paused", "unpause it first"), "restarting": ("restarting", "wait until it runs")}
        state, hint = states.get(status, (ended, "start it first"))
        raise Conflict(problem.format(name=spec.name, state=state), hint=hint)


def _has_term(environment: Sequence[str]) -> bool:
    return any(item.startswith("TERM=") for item in environment)
