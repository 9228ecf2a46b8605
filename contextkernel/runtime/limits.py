"""Resource limits of a container's program."""

from __future__ import annotations

import os
import resource
from contextlib import suppress

from contextkernel.errors import LaunchFailed
from contextkernel.model.step_mounts import Limit


def set_limit(name: str, soft: int, hard: int) -> None:
    """Set one limit of this process (setrlimit(2)).

    Args:
        name: as in ``RLIMIT_<NAME>``, lower case.
        soft, hard: the limit; -1 is none.

    Raises:
        LaunchFailed: this system has no such limit, or does not let this user raise it.
    """
    number = getattr(resource, f"RLIMIT_{name.upper()}", None)
    if number is None:
        raise LaunchFailed(f"this system has no resource limit {name!r}")
    try:
        resource.setrlimit(number, (soft, hard))
    except (OSError, ValueError):
        present = resource.getrlimit(number)[1]
        raise LaunchFailed(
            f"the resource limit {name}={soft}:{hard} cannot be set: this user may not go above {present}",
            hint=f"give --ulimit {name}={present} or less, or raise the hard limit of this user",
        ) from None


def limit_process(pid: int, limit: Limit) -> None:
    """Change one limit of another process (prlimit(2)); no error when it has ended.

    Raises:
        LaunchFailed: an ordinary user cannot raise what was lowered before.
    """
    number = getattr(resource, f"RLIMIT_{limit.name.upper()}")
    try:
        resource.prlimit(pid, number, (limit.soft, limit.hard))
    except ProcessLookupError:
        return
    except (OSError, ValueError):
        raise LaunchFailed(
            f"the resource limit {limit.name} of running processes cannot be raised to {limit.hard}",
            hint="start the container again: it then has the new limit",
        ) from None


def set_oom_score(value: int) -> None:
    """Set how likely the kernel picks this process when memory is short, and those it starts.

    See proc_pid_oom_score_adj(5).

    Args:
        value: -1000 to 1000.

    Raises:
        LaunchFailed: only a privileged process may lower it.
    """
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{value}".encode())
        finally:
            os.close(descriptor)
    except OSError as problem:
        raise LaunchFailed(
            f"--oom-score-adj {value} cannot be set: {os.strerror(problem.errno or 0).lower()}",
            hint="without CAP_SYS_RESOURCE the value can only go up, so that others are spared",
        ) from None


def set_nice(level: int) -> None:
    """Lower the priority of this process and those it starts (setpriority(2)); one that is low already stays."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(level, os.getpriority(os.PRIO_PROCESS, 0)))
