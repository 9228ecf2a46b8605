"""How a container lives: what happens at its end, how its health is told, where its output is kept."""

from __future__ import annotations

from typing import Literal

import msgspec

from contextkernel.model.oci import Healthcheck


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What happens when the program has ended (``--restart``).

    Attributes:
        name: docker's words.
        maximum_retries: for ``on-failure``: how often; 0 for without bound.
    """

    name: Literal["no", "always", "unless-stopped", "on-failure"] = "no"
    maximum_retries: int = 0


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where output is kept (``--log-driver``, ``--log-opt``)."""

    driver: str = "json-file"
    options: dict[str, str] = {}


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """The course of a container's life.

    Attributes:
        healthcheck: as it holds: the user's, else the image's; ``None`` for none.
    """

    restart: RestartPolicy = RestartPolicy()
    healthcheck: Healthcheck | None = None
    logs: LogOptions = LogOptions()
