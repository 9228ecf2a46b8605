"""Rows of ``registry ls`` and ``registry images`` by template field. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contextkernel.commands.humanize import human_ago, human_size

if TYPE_CHECKING:
    from contextkernel.commands.outcome import TableKind, TableOptions
    from contextkernel.model.serving import RegistryImageRow, RegistryRow

SERVING_HEADERS: dict[TableKind, dict[str, str]] = {
    "registries": {
        "Name": "NAME",
        "Address": "ADDRESS",
        "Status": "STATUS",
        "Content": "CONTENT",
        "Tags": "TAGS",
        "Size": "SIZE",
        "Answers": "ANSWERS",
        "CreatedAt": "CREATED AT",
    },
    "registry_images": {
        "Registry": "REGISTRY",
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "Kind": "KIND",
        "Size": "SIZE",
        "PushedSince": "PUSHED",
    },
}
SERVING_FORMATS: dict[TableKind, str] = {
    "registries": "table {{.Name}}\t{{.Address}}\t{{.Status}}\t{{.Content}}\t{{.Tags}}\t{{.Size}}\t{{.Answers}}",
    "registry_images": "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.Kind}}\t{{.PushedSince}}\t{{.Size}}",
}


def _registry(row: RegistryRow, _options: TableOptions, _now: datetime) -> dict[str, Any]:
    return {
        "Name": row.name,
        "Address": row.address,
        "Status": "running" if row.running else "stopped",
        "Content": "images of the store" if row.read_only else "pushed",
        "Tags": str(row.tags),
        "Size": human_size(row.size),
        "Answers": row.reach,
        "CreatedAt": _moment(row.created).strftime("%Y-%m-%d %H:%M:%S %z UTC"),
    }


def _image(row: RegistryImageRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    digest = row.digest if options.no_trunc else row.digest[: len("sha256:") + 12]
    return {
        "Registry": row.registry,
        "Repository": row.repository,
        "Tag": row.tag,
        "Digest": digest or "<none>",
        "Kind": row.kind,
        "Size": human_size(row.size),
        "PushedSince": human_ago(_moment(row.pushed), now) if row.pushed else "N/A",
    }


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


SERVING_FIELDS: Mapping[TableKind, Callable[[Any, TableOptions, datetime], dict[str, Any]]] = {
    "registries": _registry,
    "registry_images": _image,
}
