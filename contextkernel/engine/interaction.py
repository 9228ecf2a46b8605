"""Verbs about containers that run: being with them, further programs in them, pauses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition
from contextkernel.engine.talking import client_of, keys_of, result_of
from contextkernel.model.given import words_of
from contextkernel.model.results import RunResult

if TYPE_CHECKING:
    from contextkernel.model.ports import Process, Screen


class Interaction(Composition):
    """Talking to containers."""

    def attach(
        self,
        container: str,
        *,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
        forward_signals: bool = False,
        screen: Screen | None = None,
        detach_keys: str = "",
    ) -> RunResult | None:
        """Be with a running container until it exits; its output is given from now on.

        Args:
            container: name or id.
            stdin, stdout, stderr, on_output, forward_signals, screen, detach_keys: see :meth:`run`; an input is used
                only if the container has one.

        Returns:
            The finished result, or ``None`` after the detach keys: it goes on.

        Raises:
            Conflict: it does not run, or is paused.
            KeyboardInterrupt: the container goes on.
        """
        from contextkernel.runtime.attach import converse

        containers = self._containers
        spec = containers.find(container)
        keys = keys_of(detach_keys, tty=spec.tty)
        given = stdin if spec.stdin_open else None
        client = client_of(
            given, stdout, stderr, on_output, tty=spec.tty, screen=screen, forward_signals=forward_signals
        )

        def begin(given: int | None, out: int | None, err: int | None) -> Process:
            return containers.attach(spec, stdin=given, stdout=out, stderr=err, detach_keys=keys, size=client.size)

        said = converse(begin, client, interrupted=lambda _: None)
        if said.exit_code is None:
            containers.tell(spec, "detach")
        return result_of(spec, said)

    def exec(
        self,
        container: str,
        command: str | Sequence[str],
        *,
        detach: bool = False,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
        environment: Mapping[str, str] | str | Sequence[str] = (),
        working_dir: str | None = None,
        user: str | None = None,
        privileged: bool = False,
        tty: bool = False,
        screen: Screen | None = None,
        detach_keys: str = "",
    ) -> RunResult | None:
        """Run a further program in a running container, whoever started that. Keyword names follow docker-py.

        It is in the container's namespaces and limits and has its capabilities and system call filter.

        Args:
            container: name or id.
            command: program and arguments; a string is split as a shell does it.
            detach: return as soon as it runs.
            environment: besides the container's.
            working_dir, user: default: the container's.
            privileged: give it all capabilities that the engine has.
            tty: give it a terminal.
            stdin, stdout, stderr, on_output, screen, detach_keys: see :meth:`run`.

        Returns:
            The finished result, with the container's id and name; ``None`` with ``detach`` or after the detach keys.

        Raises:
            Conflict: the container does not run, or is paused.
            CommandNotFound, CommandNotExecutable, LaunchFailed: the program cannot be executed.
            KeyboardInterrupt: after the program has been stopped.
        """
        from contextkernel.runtime.attach import converse
        from contextkernel.runtime.spec import environment_items

        keys = keys_of(detach_keys, tty=tty)
        containers = self._containers
        spec = containers.find(container)
        client = client_of(stdin, stdout, stderr, on_output, tty=tty, screen=screen)
        request = containers.exec_request(
            spec,
            words_of(command),
            environment=environment_items(environment),
            working_dir=working_dir,
            user=user,
            privileged=privileged,
            tty=tty,
            stdin_open=stdin is not None and not detach,
            size=client.size,
        )
        if detach:
            containers.execute(spec, request).close()
            return None

        def begin(given: int | None, out: int | None, err: int | None) -> Process:
            return containers.execute(spec, request, stdin=given, stdout=out, stderr=err, detach_keys=keys)

        said = converse(begin, client)
        if said.exit_code is None:
            containers.tell(spec, "exec_detach")
        return result_of(spec, said)

    def pause(self, container: str) -> None:
        """Pause all processes of a container.

        Raises:
            Conflict: it does not run, or is paused.
        """
        containers = self._containers
        containers.pause(containers.find(container))

    def unpause(self, container: str) -> None:
        """Let all processes of a paused container go on.

        Raises:
            Conflict: it is not paused.
        """
        containers = self._containers
        containers.unpause(containers.find(container))
