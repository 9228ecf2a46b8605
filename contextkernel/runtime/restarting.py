"""Whether a container that has ended is started again, and when (moby, daemon/internal/restartmanager)."""

from __future__ import annotations

from contextkernel.model.container import RunState
from contextkernel.model.life import RestartPolicy

_FIRST = 0.1  # seconds
_LONGEST = 60.0
_SETTLED = 10  # a run that was this long has not failed at once: the next wait is a short one


class Restarting:
    """The restart policy of one container, over all its runs.

    Args:
        policy: as asked for; it may be changed at any time.
    """

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self._delay = 0.0

    def delay(self, ended: RunState) -> float | None:
        """Seconds to wait before the next start, or ``None`` for the end.

        Args:
            ended: exit code, times, and number of restarts so far.
        """
        if self.policy.name == "no":
            return None
        settled = ended.finished - ended.started >= _SETTLED * 10**9
        self._delay = min(_LONGEST, self._delay * 2) if self._delay and not settled else _FIRST
        # docker's `always` would start even what was stopped, had its stop not cancelled the policy
        if ended.wanted_end or (self.policy.name == "on-failure" and not self._has_failed(ended)):
            return None
        return self._delay

    def _has_failed(self, ended: RunState) -> bool:
        most = self.policy.maximum_retries
        return ended.exit_code != 0 and (not most or ended.restart_count < most)
