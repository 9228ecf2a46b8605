"""Options of ``run`` and ``create`` about a container's life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import Option, usage_problem
from contextkernel.model.life import LogOptions
from contextkernel.model.oci import Healthcheck

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.life import LifeKeywords

RESTART = Option(
    name="restart",
    kind="string",
    metavar="string",
    help="What happens at its end: no, on-failure[:MAX], always, unless-stopped",
)
_HEALTH_TIMES = ("health-interval", "health-timeout", "health-start-period", "health-start-interval")
OPTIONS: tuple[Option, ...] = (
    Option(name="health-cmd", kind="string", metavar="string", help="Command for the shell that tells the health"),
    Option(name="health-interval", kind="string", metavar="duration", help="Time between two checks (30s)"),
    Option(name="health-retries", kind="int", metavar="int", help="Failures in a row that mean unhealthy (3)"),
    Option(
        name="health-start-interval",
        kind="string",
        metavar="duration",
        help="Time between two checks in the start period (5s)",
    ),
    Option(
        name="health-start-period",
        kind="string",
        metavar="duration",
        help="Time after the start in which failures do not count (0s)",
    ),
    Option(name="health-timeout", kind="string", metavar="duration", help="Time one check may take (30s)"),
    Option(name="log-driver", kind="string", metavar="string", help="Where the output is kept: json-file, local, none"),
    Option(
        name="log-opt",
        kind="list",
        metavar="list",
        help="Option of the log: max-size, max-file, labels, env, tag",
    ),
    Option(name="no-healthcheck", help="Do not check the health, whatever the image says"),
    RESTART,
)


def keywords(parsed: Parsed) -> LifeKeywords:
    """The options as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    found: LifeKeywords = {}
    if parsed.given("restart"):
        found["restart_policy"] = parsed.text("restart")
    healthcheck = _healthcheck(parsed)
    if healthcheck is not None:
        found["healthcheck"] = healthcheck
    if parsed.given("log-driver") or parsed.given("log-opt"):
        pairs = (word.partition("=") for word in parsed.texts("log-opt"))
        options = {key: value for key, _, value in pairs}
        found["log_config"] = LogOptions(driver=parsed.text("log-driver") or "json-file", options=options)
    return found


def _healthcheck(parsed: Parsed) -> Healthcheck | None:
    command = parsed.text("health-cmd")
    interval, timeout, start_period, start_interval = (_time(parsed, name) for name in _HEALTH_TIMES)
    retries = parsed.number("health-retries") or 0
    wanted = bool(command or interval or timeout or start_period or start_interval or retries)
    if parsed.flag("no-healthcheck"):
        if wanted:
            raise usage_problem("--no-healthcheck conflicts with --health-* options", more="leave one of them out")
        return Healthcheck(test=("NONE",))
    if not wanted:
        return None
    if retries < 0:
        raise usage_problem("--health-retries cannot be negative")
    return Healthcheck(
        test=("CMD-SHELL", command) if command else None,
        interval=interval,
        timeout=timeout,
        start_period=start_period,
        start_interval=start_interval,
        retries=retries,
    )


def _time(parsed: Parsed, name: str) -> int:
    text = parsed.text(name)
    if not text:
        return 0
    from contextkernel.dockerfile.text import parse_duration

    found = parse_duration(text)
    if found is None:
        raise usage_problem(f'invalid argument "{text}" for "--{name}" flag', more="a time such as 1m30s or 500ms")
    if found < 0:
        raise usage_problem(f"--{name} cannot be negative")
    return found
