"""Keyword arguments of ``run`` and ``create`` about a container's life, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.model.life import Life, LogOptions, RestartPolicy
from contextkernel.model.oci import Healthcheck

#: the shortest time that docker takes for a health check, in nanoseconds (moby, api/types/container/config.go)
_SHORTEST = 1_000_000
_TIMES = ("interval", "timeout", "start_period", "start_interval")


class LifeKeywords(TypedDict, total=False):
    """Names follow docker-py; its dictionaries are taken as well as the values of ``model.life``.

    * ``restart_policy``: ``"on-failure:3"``, or ``{"Name": "on-failure", "MaximumRetryCount": 3}``.
    * ``healthcheck``: ``{"test": ["CMD", "true"], "interval": 10**9, ...}``, times in nanoseconds; a text as test is
      for the shell; ``{"test": ["NONE"]}`` takes the image's away.
    * ``log_config``: ``{"type": "json-file", "config": {"max-size": "10m"}}``.
    """

    restart_policy: str | RestartPolicy | Mapping[str, Any]
    healthcheck: Healthcheck | Mapping[str, Any] | None
    log_config: LogOptions | Mapping[str, Any]


def life_from(keywords: LifeKeywords) -> Life:
    """What the keywords ask for.

    Raises:
        InvalidInput: a policy, a time or a number that cannot be.
    """
    return Life(
        restart=restart_from(keywords.get("restart_policy", "no")),
        healthcheck=_healthcheck(keywords.get("healthcheck")),
        logs=_logs(keywords.get("log_config", LogOptions())),
    )


def restart_from(given: str | RestartPolicy | Mapping[str, Any]) -> RestartPolicy:
    """A restart policy as given.

    Raises:
        InvalidInput: there is no such policy.
    """
    if isinstance(given, RestartPolicy):
        return given
    if isinstance(given, str):
        return RestartPolicy.parse(given)
    return RestartPolicy.checked(given.get("Name") or "no", int(given.get("MaximumRetryCount") or 0))


def _logs(given: LogOptions | Mapping[str, Any]) -> LogOptions:
    if isinstance(given, LogOptions):
        return given
    lower = {key.lower(): value for key, value in given.items()}
    return LogOptions(driver=lower.get("type") or "json-file", options=dict(lower.get("config") or {}))


def _healthcheck(given: Healthcheck | Mapping[str, Any] | None) -> Healthcheck | None:
    if given is None:
        return None
    if not isinstance(given, Healthcheck):
        given = _checked_fields(given)
    for name in _TIMES:
        value = getattr(given, name)
        if value < 0 or 0 < value < _SHORTEST:
            raise InvalidInput(f"health check: {name.replace('_', ' ')} of {value} ns is less than 1 ms")
    if given.retries < 0:
        raise InvalidInput(f"health check: retries cannot be negative ({given.retries})")
    test = given.test or ()
    if test and test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise InvalidInput(f"health check: unknown kind of test {test[0]!r}", hint="NONE, CMD or CMD-SHELL comes first")
    return given


def _checked_fields(given: Mapping[str, Any]) -> Healthcheck:
    fields = {key.lower() if key.islower() or "_" in key else _snake(key): value for key, value in given.items()}
    test = fields.get("test")
    if isinstance(test, str):
        fields["test"] = ("CMD-SHELL", test)
    elif test is not None:
        fields["test"] = tuple(test)
    try:
        return msgspec.convert({_pascal(name): value for name, value in fields.items()}, Healthcheck)
    except msgspec.ValidationError as problem:
        raise InvalidInput(f"health check: {problem}") from None


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() and place else char.lower() for place, char in enumerate(name))


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
