"""The runtime of a host where no container can be started: everything else still works, and a start says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel import host
from contextkernel.errors import HostUnsupported
from contextkernel.model.results import HostReport
from contextkernel.runtime import state

if TYPE_CHECKING:
    from contextkernel.model.container import ExecRequest, LaunchRequest, RunState
    from contextkernel.model.ports import RunningContainer


class RefusingRuntime:
    """Implements :class:`contextkernel.model.ports.ContainerRuntime` without starting anything.

    Args:
        report: what was found out about the host.
    """

    def __init__(self, report: HostReport) -> None:
        self._report = report

    def warm(self) -> None:
        """Nothing to begin."""

    def launch(
        self,
        request: LaunchRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> RunningContainer:
        """Refuse.

        Raises:
            HostUnsupported: always, with what is missing and what would help.
        """
        del stdin, stdout, stderr, detach_keys
        why, hint = host.refusal(self._report)
        raise HostUnsupported(f"{request.argv[0]!r} cannot be run in a container: {why}", hint=hint)

    def connect(self, state_dir: str) -> RunningContainer | None:
        """Nothing runs here."""
        del state_dir
        return None

    def execute(
        self,
        state_dir: str,
        request: ExecRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> RunningContainer | None:
        """Nothing runs here."""
        del state_dir, request, stdin, stdout, stderr, detach_keys
        return None

    def state(self, state_dir: str) -> RunState:
        """What the files say, e.g. of containers made on another host."""
        return state.read_state(state_dir)

    def close(self) -> None:
        """Nothing to end."""
