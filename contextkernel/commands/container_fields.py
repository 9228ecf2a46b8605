"""The columns of ``ps``, with docker's names and words (docker/cli, cli/command/formatter/container.go). Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from contextkernel.commands.humanize import (
    ellipsis,
    go_quote,
    go_time,
    human_ago,
    human_duration,
    human_size,
    short_id,
    utc_now,
)

if TYPE_CHECKING:
    from contextkernel.commands.outcome import TableOptions
    from contextkernel.model.results import ContainerRow

_COMMAND_WIDTH = 20
_MOUNT_WIDTH = 15

CONTAINER_HEADERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS",
    "State": "STATE",
    "HealthStatus": "HEALTH STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
    "Isolation": "ISOLATION",
}


def status_text(row: ContainerRow, now: datetime | None = None) -> str:
    """Docker's words (moby, daemon/container/state.go).

    ``Up 5 seconds (healthy)``, ``Up 2 minutes (Paused)``, ``Restarting (1) 3 seconds ago``, ``Exited (0) 3 minutes
    ago``, ``Created``, ``Dead``. What docker has no word for: ``Up 5 seconds (no isolation)``.
    """
    now = now or utc_now()
    if row.state in ("running", "paused"):
        up = f"Up {human_duration(now - (row.started or row.created))}"
        if row.state == "paused":
            return f"{up} (Paused)"
        notes = [f"health: {row.health}" if row.health == "starting" else row.health] if row.health else []
        notes += ["no isolation"] if row.isolation == "none" else []
        return f"{up} ({', '.join(notes)})" if notes else up
    if row.state in ("exited", "restarting"):
        return f"{row.state.capitalize()} ({row.exit_code}) {human_ago(row.finished or row.created, now)}"
    return row.state.capitalize()


def container_fields(row: ContainerRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    """One container's values by template field."""
    mounts = [mount.name or mount.source for mount in row.mounts]
    size = human_size(row.size)
    return {
        "ID": row.id if options.no_trunc else short_id(row.id),
        "Image": row.image if options.no_trunc or not row.image.startswith("sha256:") else short_id(row.image),
        "Command": go_quote(row.command if options.no_trunc else ellipsis(row.command, _COMMAND_WIDTH)),
        "RunningFor": human_ago(row.created, now),
        "CreatedAt": go_time(row.created),
        "Status": status_text(row, now),
        "State": row.state,
        "HealthStatus": row.health,
        "Ports": row.ports,
        "Names": row.name,
        "Size": f"{size} (virtual {human_size(row.virtual_size)})" if row.virtual_size else size,
        "Labels": ",".join(sorted(f"{key}={value}" for key, value in row.labels.items())),
        "Mounts": ",".join(name if options.no_trunc else ellipsis(name, _MOUNT_WIDTH) for name in mounts),
        "LocalVolumes": str(sum(mount.driver == "local" for mount in row.mounts)),
        "Networks": row.network,
        "Platform": None,
        # docker on Linux has no such field: where there is nothing to say about it there is none here either
        **({"Isolation": row.isolation} if row.isolation else {}),
        "Label": lambda name: row.labels.get(name, ""),
    }
