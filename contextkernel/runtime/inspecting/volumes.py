"""The document that ``volume inspect`` shows, in docker's shape (Engine API, Volume)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contextkernel.model.volumes import DRIVER

if TYPE_CHECKING:
    from contextkernel.model.volumes import VolumeRow


def volume_document(row: VolumeRow) -> dict[str, Any]:
    """Describe one volume."""
    volume = row.volume
    return {
        "CreatedAt": datetime.fromtimestamp(volume.created / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Driver": DRIVER,
        "Labels": dict(sorted(volume.labels.items())) or None,
        "Mountpoint": row.mountpoint,
        "Name": volume.name,
        "Options": dict(sorted(volume.options.items())) or None,
        "Scope": "local",
    }
