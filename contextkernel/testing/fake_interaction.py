"""The part of the fake engine that is about containers that run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.errors import CommandNotFound, Conflict
from contextkernel.model.given import several, words_of
from contextkernel.testing.fake_calls import FakeCalls

if TYPE_CHECKING:
    from contextkernel.model.ports import Screen
    from contextkernel.model.results import RunResult


class FakeInteraction(FakeCalls):
    """Implements :class:`contextkernel.engine.interaction.Interaction` with canned output.

    Attributes:
        leaves: the detach keys are typed at once.
    """

    leaves: bool = False

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
        """The canned output."""
        self._note(
            "attach",
            container=container,
            stdin=stdin,
            forward_signals=forward_signals,
            screen=screen is not None,
            detach_keys=detach_keys,
        )
        row = self._container(container)
        if row.state != "running":
            raise Conflict("you cannot attach to a stopped container", hint="start it first")
        return None if self.leaves else self._output(row.id, row.name, stdout, stderr, on_output)

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
        """The canned output; ``nosuchprogram`` is not found."""
        self._note(
            "exec",
            container=container,
            command=words_of(command),
            detach=detach,
            stdin=stdin,
            environment=environment if isinstance(environment, Mapping) else several(environment),
            working_dir=working_dir,
            user=user,
            privileged=privileged,
            tty=tty,
            screen=screen is not None,
            detach_keys=detach_keys,
        )
        row = self._container(container)
        if "nosuchprogram" in words_of(command):
            raise CommandNotFound('exec: "nosuchprogram": executable file not found in $PATH')
        return None if detach or self.leaves else self._output(row.id, row.name, stdout, stderr, on_output)

    def pause(self, container: str) -> None:
        """Check that the container is there."""
        self._note("pause", container=container)
        self._container(container)

    def unpause(self, container: str) -> None:
        """Check that the container is there."""
        self._note("unpause", container=container)
        self._container(container)
