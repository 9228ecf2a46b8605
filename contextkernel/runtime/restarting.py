"""Whether a container that has ended is started again, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest, RunState


def restart_delay(request: LaunchRequest, ended: RunState) -> float | None:  # noqa: ARG001 - what policies look at
    """Seconds to wait before the next start, or ``None`` for the end.

    Args:
        request: the container's.
        ended: exit code, times, and number of restarts so far; an end that somebody wanted is never asked about.
    """
    return None
