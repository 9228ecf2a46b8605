"""``system df -v`` in docker's layout (docker/cli, cli/command/formatter/disk_usage.go). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from contextkernel.commands.humanize import align, human_ago, human_size, short_id, utc_now
from contextkernel.commands.outcome import TableOptions
from contextkernel.commands.tables import fields

if TYPE_CHECKING:
    from contextkernel.model.cache import CacheRow
    from contextkernel.model.usage import DiskUsage, ImageUsage
    from contextkernel.model.volumes import VolumeRow

_IMAGES = {
    "REPOSITORY": "Repository",
    "TAG": "Tag",
    "IMAGE ID": "ID",
    "CREATED": "CreatedSince",
    "SIZE": "Size",
    "SHARED SIZE": "SharedSize",
    "UNIQUE SIZE": "UniqueSize",
    "CONTAINERS": "Containers",
}
_CONTAINERS = {
    "CONTAINER ID": "ID",
    "IMAGE": "Image",
    "COMMAND": "Command",
    "LOCAL VOLUMES": "LocalVolumes",
    "SIZE": "Size",
    "CREATED": "RunningFor",
    "STATUS": "Status",
    "NAMES": "Names",
}
_VOLUMES = {"VOLUME NAME": "Name", "LINKS": "Links", "SIZE": "Size"}
_REGISTRIES = {"REGISTRY": "Name", "STATUS": "Status", "TAGS": "Tags", "SIZE": "Size"}
_CACHE = {
    "CACHE ID": "ID",
    "CACHE TYPE": "CacheType",
    "SIZE": "Size",
    "CREATED": "CreatedSince",
    "LAST USED": "LastUsedSince",
    "USAGE": "UsageCount",
    "SHARED": "Shared",
}


def usage_text(usage: DiskUsage, *, now: datetime | None = None) -> str:
    """Docker's four tables, and one of registries of one's own if there are any.

    Args:
        usage: what to show.
        now: what ages are counted from; default the present.
    """
    document = usage_document(usage, now=now, no_trunc=False)
    cache = sum(row.size for row in usage.cache if not row.shared)
    parts = [
        ("Images space usage:", _IMAGES, document["Images"]),
        ("Containers space usage:", _CONTAINERS, document["Containers"]),
        ("Local Volumes space usage:", _VOLUMES, document["Volumes"]),
        (f"Build cache usage: {human_size(cache)}", _CACHE, document["BuildCache"]),
    ]
    if usage.registries:
        parts.append(("Registries space usage:", _REGISTRIES, document["Registries"]))
    return "\n".join(f"{title}\n\n{_table(columns, rows)}" for title, columns, rows in parts)


def usage_document(usage: DiskUsage, *, now: datetime | None = None, no_trunc: bool = True) -> dict[str, Any]:
    """The same as docker's JSON has it; ids in full unless ``no_trunc`` is false."""
    moment, options = now or utc_now(), TableOptions(no_trunc=no_trunc)
    document = {
        "Images": [_image(row, options, moment) for row in usage.images],
        "Containers": [_plain(fields("containers", row, options, now=moment)) for row in usage.containers],
        "Volumes": [_volume(row, options, moment) for row in usage.volumes],
        "BuildCache": [_cache(row, options, moment) for row in usage.cache],
    }
    if usage.registries:  # docker has none
        document["Registries"] = [_plain(fields("registries", row, options, now=moment)) for row in usage.registries]
    return document


def _table(columns: dict[str, str], rows: Sequence[dict[str, Any]]) -> str:
    lines = ["\t".join(columns), *("\t".join(str(row[name]) for name in columns.values()) for row in rows)]
    return "\n".join(align(lines)) + "\n"


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sorted(record.items()) if not callable(value)}


def _image(row: ImageUsage, options: TableOptions, now: datetime) -> dict[str, Any]:
    return {
        **_plain(fields("images", row.image, options, now=now)),
        "Containers": str(row.containers),
        "SharedSize": human_size(row.shared, 4),
        "UniqueSize": human_size(row.unique, 4),
    }


def _volume(row: VolumeRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    return {
        **_plain(fields("volumes", row, options, now=now)),
        "Links": str(len(row.containers)),
        "Size": human_size(row.size, 4),
    }


def _cache(row: CacheRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    return {
        "ID": row.id if options.no_trunc else short_id(row.id),
        "CacheType": row.type,
        "CreatedSince": human_ago(row.created, now),
        "Description": row.description,
        "InUse": str(not row.reclaimable).lower(),
        "LastUsedSince": human_ago(row.used, now),
        "Shared": str(row.shared).lower(),
        "Size": human_size(row.size),
        "UsageCount": str(row.uses),
    }
