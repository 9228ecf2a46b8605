"""What ``inspect`` says of privileges and isolation, in docker's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextkernel.model.security import Security


def host_config(security: Security) -> dict[str, Any]:
    """Its part of ``HostConfig``."""
    return {"Privileged": security.privileged}
