"""What results of health checks mean, and when the next check is due (moby, daemon/health.go). Pure."""

from __future__ import annotations

import msgspec

from contextkernel.model.life import Health, HealthResult
from contextkernel.model.oci import Healthcheck

SECOND = 1_000_000_000
#: docker's defaults, for a check that does not say
INTERVAL = 30 * SECOND
TIMEOUT = 30 * SECOND
START_INTERVAL = 5 * SECOND
RETRIES = 3
_KEPT = 5  # results
MOST_OUTPUT = 4096  # bytes of one result
_SHELL = ("/bin/sh", "-c")


def check_command(check: Healthcheck | None, shell: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The command of a health check; empty where there is none to run.

    Args:
        check: the container's.
        shell: of the image, for a check that is a line of text.
    """
    kind, *words = (check.test if check is not None else None) or ("NONE",)
    if kind == "CMD":
        return tuple(words)
    return (*(shell or _SHELL), *words) if kind == "CMD-SHELL" and words else ()


def started_again(before: Health | None) -> Health:
    """The health of a container that has just been started: the results of earlier runs stay."""
    return Health(status="starting", log=before.log if before is not None else ())


def judged(health: Health, check: Healthcheck, result: HealthResult, started: int) -> Health:
    """The health after a result.

    Args:
        health: before it.
        check: the container's.
        result: of a check that has ended.
        started: when the container was started, nanoseconds since the epoch.
    """
    log = (*health.log, result)[-_KEPT:]
    if result.exit_code == 0:
        return Health(status="healthy", failing_streak=0, log=log)
    if health.status == "starting" and result.start - started < check.start_period:
        return msgspec.structs.replace(health, log=log)
    streak = health.failing_streak + 1
    status = "unhealthy" if streak >= (check.retries or RETRIES) else health.status
    return Health(status=status, failing_streak=streak, log=log)


def next_check(health: Health, check: Healthcheck, age: int) -> int:
    """Nanoseconds from the end of a check, or from the start, to the next.

    Args:
        health: now.
        check: the container's.
        age: nanoseconds since the container was started.
    """
    if health.status == "starting" and age < check.start_period:
        return check.start_interval or START_INTERVAL
    return check.interval or INTERVAL
