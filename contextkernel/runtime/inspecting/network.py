"""What ``inspect`` says of networks, in docker's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextkernel.model.networking import Networking


def host_config(networking: Networking) -> dict[str, Any]:
    """Its part of ``HostConfig``."""
    del networking
    return {}
