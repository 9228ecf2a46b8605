"""What ``inspect`` says of volumes and mounts, in docker's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec


def host_config(spec: ContainerSpec) -> dict[str, Any]:
    """Its part of ``HostConfig``."""
    return {
        "Binds": [f"{b.source}:{b.target}{':ro' if b.read_only else ''}" for b in spec.binds] or None,
        "ReadonlyRootfs": spec.read_only,
        "Tmpfs": {t.target: t.options for t in spec.tmpfs} or None,
    }


def mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    """``Mounts``."""
    return [
        {
            "Type": "bind",
            "Source": b.source,
            "Destination": b.target,
            "Mode": "ro" if b.read_only else "",
            "RW": not b.read_only,
            "Propagation": "rprivate",
        }
        for b in spec.binds
    ]
