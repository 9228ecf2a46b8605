"""Rows of ``volume ls`` as docker shows them (docker/cli, cli/command/formatter/volume.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from contextkernel.commands.outcome import TableOptions
    from contextkernel.model.volumes import VolumeRow

VOLUME_HEADERS = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Mountpoint": "MOUNTPOINT",
    "Size": "SIZE",
    "Status": "STATUS",
}
VOLUME_FORMAT = "table {{.Driver}}\t{{.Name}}"
_UNKNOWN = "N/A"  # docker counts in `system df` alone


def volume_fields(row: VolumeRow, _options: TableOptions, _now: datetime) -> dict[str, Any]:
    """One row's values by template field."""
    labels = row.volume.labels
    return {
        "Availability": _UNKNOWN,
        "Driver": "local",
        "Group": _UNKNOWN,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Links": _UNKNOWN,
        "Mountpoint": row.mountpoint,
        "Name": row.volume.name,
        "Scope": "local",
        "Size": _UNKNOWN,
        "Status": _UNKNOWN,
        "Label": lambda name: labels.get(name, ""),
    }
