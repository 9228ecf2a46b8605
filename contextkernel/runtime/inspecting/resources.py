"""What ``inspect`` says of limits, in docker's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextkernel.model.resources import Resources


def host_config(resources: Resources) -> dict[str, Any]:
    """Its part of ``HostConfig``."""
    del resources
    return {}
