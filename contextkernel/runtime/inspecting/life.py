"""What ``inspect`` says of a container's life, in docker's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contextkernel.runtime.inspecting.times import rfc3339

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.life import Health, Life
    from contextkernel.model.oci import RunConfig

_DEFAULT_SIGNAL = "SIGTERM"
_DEFAULT_TIMEOUT = 10


def host_config(life: Life) -> dict[str, Any]:
    """Its part of ``HostConfig``."""
    return {
        "LogConfig": {"Type": life.logs.driver, "Config": dict(sorted(life.logs.options.items()))},
        "RestartPolicy": {"Name": life.restart.name, "MaximumRetryCount": life.restart.maximum_retries},
    }


def log_path(life: Life, directory: str) -> str:
    """``LogPath``: of the newest file, where there is one that docker would show."""
    return f"{directory}/log.json" if life.logs.driver == "json-file" else ""


def health_state(health: Health | None) -> dict[str, Any]:
    """Its part of ``State``; nothing without a health check."""
    if health is None:
        return {}
    return {
        "Health": {
            "Status": health.status,
            "FailingStreak": health.failing_streak,
            "Log": [
                {
                    "Start": rfc3339(one.start),
                    "End": rfc3339(one.end),
                    "ExitCode": one.exit_code,
                    "Output": one.output,
                }
                for one in health.log
            ],
        }
    }


def healthcheck(life: Life) -> dict[str, Any]:
    """Its part of ``Config``; durations in nanoseconds, those left out are docker's defaults."""
    check = life.healthcheck
    if check is None:
        return {}
    shown = {
        "Test": list(check.test) if check.test else None,
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {"Healthcheck": {key: value for key, value in shown.items() if value}}


def ending(spec: ContainerSpec, config: RunConfig) -> dict[str, Any]:
    """The end of ``Config``: what is said only where somebody asked for it."""
    shown: dict[str, Any] = {}
    if spec.stop_signal != _DEFAULT_SIGNAL or config.stop_signal:
        shown["StopSignal"] = spec.stop_signal
    if spec.stop_timeout != _DEFAULT_TIMEOUT:
        shown["StopTimeout"] = spec.stop_timeout
    if spec.life.shell:
        shown["Shell"] = list(spec.life.shell)
    return shown


def environment(spec: ContainerSpec, config: RunConfig) -> list[str] | None:
    """``Env`` without what docker adds when it starts the program, which its document does not have."""
    from contextkernel.runtime.spec import DEFAULT_PATH

    added = {f"HOSTNAME={spec.hostname}"}
    if not any(item.startswith("PATH=") for item in config.env or ()):
        added.add(DEFAULT_PATH)
    return [item for item in spec.env if item not in added] or None
