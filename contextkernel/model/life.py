"""How a container lives: what happens at its end, how its health is told, where its output is kept."""

from __future__ import annotations

from typing import Literal, cast, get_args

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.model.oci import Healthcheck

RestartName = Literal["no", "always", "unless-stopped", "on-failure"]


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What happens when the program has ended (``--restart``).

    Attributes:
        name: docker's words.
        maximum_retries: for ``on-failure``: how often; 0 for without bound.
    """

    name: RestartName = "no"
    maximum_retries: int = 0

    @classmethod
    def parse(cls, text: str) -> RestartPolicy:
        """``no``, ``always``, ``unless-stopped``, ``on-failure[:N]``; empty is ``no``.

        Raises:
            InvalidInput: anything else (docker/cli, opts/parse.go; moby, api/types/container/hostconfig.go).
        """
        name, colon, count = text.partition(":")
        hint = "one of no, always, unless-stopped, on-failure or on-failure:NUMBER"
        if colon and not name:
            raise InvalidInput(f"invalid restart policy {text!r}: no policy before the colon", hint=hint)
        try:
            retries = int(count) if count else 0
        except ValueError:
            raise InvalidInput(
                f"invalid restart policy {text!r}: maximum retry count {count!r} is not a whole number", hint=hint
            ) from None
        return cls.checked(name or "no", retries)

    @classmethod
    def checked(cls, name: str, maximum_retries: int = 0) -> RestartPolicy:
        """The policy of this name.

        Raises:
            InvalidInput: no such policy; a number of retries that it does not take.
        """
        known = get_args(RestartName)
        if name not in known:
            raise InvalidInput(
                f"invalid restart policy: unknown policy {name!r}", hint=f"one of {', '.join(sorted(known))}"
            )
        if maximum_retries < 0:
            raise InvalidInput(f"invalid restart policy: maximum retry count {maximum_retries} is negative")
        if maximum_retries and name != "on-failure":
            raise InvalidInput(
                f"invalid restart policy: {name!r} takes no maximum retry count", hint="only on-failure does"
            )
        return cls(name=cast("RestartName", name), maximum_retries=maximum_retries)


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where output is kept (``--log-driver``, ``--log-opt``)."""

    driver: str = "json-file"
    options: dict[str, str] = {}


class LogRules(msgspec.Struct, frozen=True, kw_only=True):
    """How the log is written, as the monitor needs it.

    Attributes:
        max_size: bytes after which a new file is begun; 0 for without bound.
        max_files: how many there are at most, the newest included.
        attributes: what each record carries besides (``--log-opt labels=...``).
    """

    max_size: int = 0
    max_files: int = 1
    attributes: dict[str, str] = {}


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """The course of a container's life.

    Attributes:
        healthcheck: as it holds: the user's, else the image's; ``None`` for none.
        shell: the image's for commands that are a line of text; empty for ``/bin/sh -c``.
    """

    restart: RestartPolicy = RestartPolicy()
    healthcheck: Healthcheck | None = None
    logs: LogOptions = LogOptions()
    shell: tuple[str, ...] = ()


class HealthResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a health check.

    Attributes:
        start, end: nanoseconds since the epoch.
        exit_code: of the check, -1 when it did not end in time or could not be started.
        output: the first 4096 bytes of what it wrote.
    """

    start: int
    end: int
    exit_code: int
    output: str = ""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a container's health.

    Attributes:
        failing_streak: failures in a row that count.
        log: the last five results, oldest first.
    """

    status: Literal["starting", "healthy", "unhealthy"] = "starting"
    failing_streak: int = 0
    log: tuple[HealthResult, ...] = ()
