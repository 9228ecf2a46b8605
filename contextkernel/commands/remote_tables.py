"""Tables of images in registries, and of layers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from contextkernel.commands.humanize import ellipsis, human_ago, human_size, is_dated, rfc3339

if TYPE_CHECKING:
    from contextkernel.commands.outcome import TableKind, TableOptions
    from contextkernel.model.digest import Digest
    from contextkernel.model.remote import LayerRow, PlatformRow, RemoteHistoryRow

_CREATED_BY_WIDTH = 45

REMOTE_HEADERS: dict[TableKind, dict[str, str]] = {
    "platforms": {
        "Platform": "PLATFORM",
        "ID": "MANIFEST",
        "Layers": "LAYERS",
        "Size": "DOWNLOAD",
        "Shared": "SHARED",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Attested": "ATTESTED",
        "Chosen": "THIS MACHINE",
        "MediaType": "MEDIA TYPE",
    },
    "layers": {
        "Layer": "LAYER",
        "ID": "DIFF ID",
        "Size": "SIZE",
        "DownloadSize": "DOWNLOAD",
        "Digest": "DIGEST",
        "MediaType": "MEDIA TYPE",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "CreatedBy": "CREATED BY",
    },
    "remote_history": {
        "ID": "IMAGE",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "CreatedBy": "CREATED BY",
        "Size": "DOWNLOAD",
        "Comment": "COMMENT",
    },
}
REMOTE_FORMATS: dict[TableKind, str] = {
    "platforms": (
        "table {{.Platform}}\t{{.ID}}\t{{.Layers}}\t{{.Size}}\t{{.Shared}}"
        "\t{{.CreatedSince}}\t{{.Attested}}\t{{.Chosen}}"
    ),
    "layers": "table {{.Layer}}\t{{.ID}}\t{{.Size}}\t{{.DownloadSize}}\t{{.CreatedBy}}",
    "remote_history": "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
}


def _platform(row: PlatformRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    return {
        "Platform": row.platform,
        "ID": _id(row.digest, options),
        "Layers": str(row.layers),
        "Size": human_size(row.size),
        "Shared": human_size(row.shared),
        **_created(row.created, now),
        "Attested": "yes" if row.attested else "no",
        "Chosen": "yes" if row.chosen else "",
        "MediaType": row.media_type,
    }


def _layer(row: LayerRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    return {
        "Layer": str(row.layer),
        "ID": _id(row.diff_id, options),
        "Size": _size(row.size),
        "DownloadSize": _size(row.download_size),
        "Digest": _id(row.digest, options),
        "MediaType": row.media_type,
        **_created(row.created, now),
        "CreatedBy": _instruction(row.created_by, options),
    }


def _history(row: RemoteHistoryRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    created = _created(row.created, now)
    if not options.human:
        created["CreatedSince"] = created["CreatedAt"]
    return {
        "ID": _id(row.id, options) or "<missing>",
        **created,
        "CreatedBy": _instruction(row.created_by, options),
        "Size": human_size(row.size) if options.human else str(row.size),
        "Comment": row.comment,
    }


def _id(digest: Digest | None, options: TableOptions) -> str:
    if digest is None:
        return ""
    return str(digest) if options.no_trunc else digest.short


def _size(size: int | None) -> str:
    return "" if size is None else human_size(size)


def _created(moment: datetime | None, now: datetime) -> dict[str, str]:
    if moment is None or not is_dated(moment):
        return {"CreatedSince": "N/A", "CreatedAt": "N/A"}
    return {"CreatedSince": human_ago(moment, now), "CreatedAt": rfc3339(moment)}


def _instruction(text: str, options: TableOptions) -> str:
    text = text.replace("\t", " ")
    return text if options.no_trunc else ellipsis(text, _CREATED_BY_WIDTH)


REMOTE_FIELDS: Mapping[TableKind, Callable[[Any, TableOptions, datetime], dict[str, Any]]] = {
    "platforms": _platform,
    "layers": _layer,
    "remote_history": _history,
}
