"""What ``inspect`` says of a container's life, in docker's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextkernel.model.life import Life


def host_config(life: Life) -> dict[str, Any]:
    """Its part of ``HostConfig``."""
    return {"LogConfig": {"Type": life.logs.driver, "Config": dict(sorted(life.logs.options.items()))}}
