"""Rows to DataFrames: the same columns and dtypes for no rows as for a thousand; display humanises them.

This module imports pandas; import it only where a table is about to be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from contextkernel.commands.container_fields import status_text
from contextkernel.notebook import display

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from contextkernel.commands.outcome import Table
    from contextkernel.model.builds import BuildRow, BuildStepRow
    from contextkernel.model.cache import CacheRow, UsageRow
    from contextkernel.model.engine_events import EngineEvent
    from contextkernel.model.explanation import StepExplanation
    from contextkernel.model.measurements import NamespaceRow, StatsRow
    from contextkernel.model.networks import NetworkRow
    from contextkernel.model.remote import LayerRow, PlatformRow, RemoteHistoryRow
    from contextkernel.model.results import (
        BaseRow,
        CheckFinding,
        CompareRow,
        ContainerRow,
        Fact,
        HistoryRow,
        ImageRow,
    )
    from contextkernel.model.serving import RegistryImageRow, RegistryRow
    from contextkernel.model.volumes import VolumeRow

_TEXT, _NUMBER, _TIME, _FACTOR, _FLAG, _KIND = "string", "int64", "datetime64[ns, UTC]", "float64", "bool", "category"
_MAYBE, _OBJECT = "Int64", "object"

DTYPES: dict[str, dict[str, str]] = {
    "images": {
        "repository": _TEXT,
        "tag": _TEXT,
        "image_id": _TEXT,
        "created": _TIME,
        "size": _NUMBER,
        "origin": _TEXT,
        "layers": _NUMBER,
        "digest": _TEXT,
    },
    "history": {"image": _TEXT, "created": _TIME, "created_by": _TEXT, "size": _NUMBER, "comment": _TEXT},
    "containers": {
        "container_id": _TEXT,
        "image": _TEXT,
        "command": _TEXT,
        "created": _TIME,
        "status": _TEXT,
        "ports": _TEXT,
        "names": _TEXT,
        "state": _TEXT,
        "exit_code": _NUMBER,
        "started": _TIME,
        "finished": _TIME,
        "size": _NUMBER,
        "network": _TEXT,
        "health": _TEXT,
        "labels": _OBJECT,
    },
    "compare": {
        "image": _TEXT,
        "size": _NUMBER,
        "layers": _NUMBER,
        "shared": _NUMBER,
        "unique": _NUMBER,
        "factor": _FACTOR,
    },
    "bases": {"image": _TEXT, "action": _TEXT, "stand_in": _FLAG, "size": _NUMBER, "detail": _TEXT},
    "builds": {
        "build_id": _TEXT,
        "name": _TEXT,
        "status": _TEXT,
        "created": _TIME,
        "duration": _FACTOR,
        "steps": _NUMBER,
        "cached_steps": _NUMBER,
        "image_id": _TEXT,
        "error": _TEXT,
    },
    "build_steps": {
        "step": _NUMBER,
        "name": _TEXT,
        "state": _TEXT,
        "wall_time": _FACTOR,
        "cpu_time": _FACTOR,
        "peak_memory": _MAYBE,
        "written": _MAYBE,
        "line": _NUMBER,
        "instruction": _TEXT,
        "started": _TIME,
        "layer": _TEXT,
        "error": _TEXT,
    },
    "findings": {"what": _TEXT, "where": _TEXT, "repaired": _FLAG},
    "checks": {
        "rule": _TEXT,
        "line": _NUMBER,
        "end_line": _NUMBER,
        "message": _TEXT,
        "description": _TEXT,
        "page": _TEXT,
    },
    "outline": {
        "kind": _TEXT,
        "name": _TEXT,
        "value": _TEXT,
        "required": _FLAG,
        "description": _TEXT,
        "line": _NUMBER,
    },
    "targets": {
        "name": _TEXT,
        "default": _FLAG,
        "description": _TEXT,
        "base": _TEXT,
        "platform": _TEXT,
        "line": _NUMBER,
    },
    "explanation": {
        "step": _NUMBER,
        "name": _TEXT,
        "line": _NUMBER,
        "cache": _TEXT,
        "reason": _TEXT,
        "why": _TEXT,
        "changes": _NUMBER,
    },
    "cache": {
        "id": _TEXT,
        "reclaimable": _FLAG,
        "size": _NUMBER,
        "last_accessed": _TIME,
        "type": _TEXT,
        "description": _TEXT,
        "created": _TIME,
        "uses": _NUMBER,
        "shared": _FLAG,
    },
    "usage": {"type": _TEXT, "total": _NUMBER, "active": _NUMBER, "size": _NUMBER, "reclaimable": _NUMBER},
    "networks": {
        "network_id": _TEXT,
        "name": _TEXT,
        "driver": _TEXT,
        "scope": _TEXT,
        "subnet": _TEXT,
        "gateway": _TEXT,
        "containers": _NUMBER,
        "internal": _FLAG,
        "ipv6": _FLAG,
        "created": _TIME,
        "labels": _OBJECT,
        "options": _OBJECT,
    },
    "registries": {
        "name": _TEXT,
        "address": _TEXT,
        "running": _FLAG,
        "read_only": _FLAG,
        "tags": _NUMBER,
        "size": _NUMBER,
        "answers": _TEXT,
        "created": _TIME,
    },
    "registry_images": {
        "repository": _TEXT,
        "tag": _TEXT,
        "digest": _TEXT,
        "kind": _TEXT,
        "size": _NUMBER,
        "pushed": _TIME,
    },
    "search": {"name": _TEXT, "description": _TEXT, "stars": _NUMBER, "official": _FLAG},
    "platforms": {
        "platform": _TEXT,
        "digest": _TEXT,
        "media_type": _TEXT,
        "layers": _NUMBER,
        "download_size": _NUMBER,
        "shared": _NUMBER,
        "created": _TIME,
        "attested": _FLAG,
        "chosen": _FLAG,
    },
    "layers": {
        "layer": _NUMBER,
        "diff_id": _TEXT,
        "size": _MAYBE,
        "download_size": _MAYBE,
        "digest": _TEXT,
        "media_type": _TEXT,
        "created": _TIME,
        "created_by": _TEXT,
    },
    "remote_history": {
        "image": _TEXT,
        "created": _TIME,
        "created_by": _TEXT,
        "download_size": _NUMBER,
        "comment": _TEXT,
    },
    "changes": {"change": _KIND, "path": _TEXT},
    "ports": {"container_port": _NUMBER, "protocol": _KIND, "host_ip": _TEXT, "host_port": _NUMBER},
    "volumes": {
        "driver": _TEXT,
        "volume_name": _TEXT,
        "mountpoint": _TEXT,
        "created": _TIME,
        "containers": _NUMBER,
        "anonymous": _FLAG,
        "labels": _OBJECT,
        "options": _OBJECT,
    },
    "stats": {
        "container_id": _TEXT,
        "name": _TEXT,
        "cpu_percent": _FACTOR,
        "memory": _NUMBER,
        "memory_limit": _NUMBER,
        "memory_percent": _FACTOR,
        "net_received": _NUMBER,
        "net_sent": _NUMBER,
        "block_read": _NUMBER,
        "block_written": _NUMBER,
        "pids": _NUMBER,
        "whole": _FLAG,
    },
    "namespaces": {
        "name": _TEXT,
        "type": _TEXT,
        "namespace": _NUMBER,
        "whose": _TEXT,
        "sees": _TEXT,
        "container_id": _TEXT,
    },
    "events": {
        "time": _TIME,
        "type": _TEXT,
        "action": _TEXT,
        "name": _TEXT,
        "id": _TEXT,
        "attributes": _OBJECT,
    },
    "facts": {
        "name": _TEXT,
        "verdict": _TEXT,
        "reason": _TEXT,
        "remedy": _TEXT,
        "milliseconds": _FACTOR,
        "errno": _TEXT,
        "cause": _TEXT,
        "who": _TEXT,
        "group": _TEXT,
    },
}
"""Columns and dtypes per kind of table: docker's headings in snake_case first, in docker's order, then ours."""


class ContainerFrame(pd.DataFrame):
    """A DataFrame that shows sizes, times and ids as docker does; in everything else it is a DataFrame.

    ``df["size"] > 50_000_000`` compares bytes, ``df.image_id`` holds full ids: only the display is humanised.
    Filtering, sorting and picking columns keep the display.
    """

    @property
    def _constructor(self) -> Any:
        return ContainerFrame

    def __repr__(self) -> str:
        return display.frame_text(self) if display.knows(self) else super().__repr__()

    def _repr_html_(self) -> str | None:
        if not display.knows(self):
            return cast("str | None", cast("Any", super())._repr_html_())
        return display.frame_html(self)


def to_frame(table: Table) -> ContainerFrame:
    """The rows of ``table`` as a frame. Pure but for the clock that ``status`` (``Up 3 minutes``) is told by.

    Args:
        table: rows of one kind; see :data:`DTYPES` for what they become.
    """
    records = [_RECORDS[table.kind](row) for row in table.rows]
    return make_frame(table.kind, records)


def make_frame(kind: str, records: Sequence[tuple[Any, ...]]) -> ContainerFrame:
    """A frame of ``kind`` from tuples in the order of its columns. Pure."""
    columns = {}
    for place, (name, dtype) in enumerate(DTYPES[kind].items()):
        values = [record[place] for record in records]
        if dtype == _TIME:
            columns[name] = pd.Series(pd.DatetimeIndex([_time(value) for value in values], dtype=dtype))
        else:
            columns[name] = pd.Series(values, dtype=cast("Any", dtype))
    return ContainerFrame(columns)


def grid_frame(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """A frame of text cells; a column of whole numbers is one of numbers. Pure.

    Args:
        headings: as in the text; their small letters name the columns.
        rows: cells.
    """
    columns: dict[str, Any] = {}
    for place, heading in enumerate(headings):
        cells = [row[place] for row in rows]
        if cells and all(cell.removeprefix("-").isdigit() for cell in cells):
            columns[heading.lower()] = pd.Series([int(cell) for cell in cells], dtype="int64")
        else:
            columns[heading.lower()] = pd.Series(cells, dtype="string")
    return pd.DataFrame(columns)


def _time(value: datetime | None) -> pd.Timestamp | Any:
    """A timestamp; times that 64 bits of nanoseconds cannot hold (docker's year 1 for "unknown") become NaT."""
    if value is None or not pd.Timestamp.min.year < value.year < pd.Timestamp.max.year:
        return pd.NaT
    return pd.Timestamp(value).tz_convert("UTC").as_unit("ns")


def _image(row: ImageRow) -> tuple[Any, ...]:
    return (row.repository, row.tag, str(row.id), row.created, row.size, row.origin, row.layers, row.digest)


def _history(row: HistoryRow | RemoteHistoryRow) -> tuple[Any, ...]:
    return (None if row.id is None else str(row.id), row.created, row.created_by, row.size, row.comment)


def _platform(row: PlatformRow) -> tuple[Any, ...]:
    return (
        row.platform,
        str(row.digest),
        row.media_type,
        row.layers,
        row.size,
        row.shared,
        row.created,
        row.attested,
        row.chosen,
    )


def _layer(row: LayerRow) -> tuple[Any, ...]:
    return (
        row.layer,
        None if row.diff_id is None else str(row.diff_id),
        row.size,
        row.download_size,
        None if row.digest is None else str(row.digest),
        row.media_type,
        row.created,
        row.created_by,
    )


def _container(row: ContainerRow) -> tuple[Any, ...]:
    return (
        row.id,
        row.image,
        row.command,
        row.created,
        status_text(row),
        row.ports,
        row.name,
        row.state,
        row.exit_code,
        row.started,
        row.finished,
        row.size,
        row.network,
        row.health,
        row.labels,
    )


def _compare(row: CompareRow) -> tuple[Any, ...]:
    return (row.image, row.size, row.layers, row.shared, row.unique, row.factor)


def _base(row: BaseRow) -> tuple[Any, ...]:
    return (row.image, row.action, row.stand_in, row.size, row.detail)


def _finding(row: CheckFinding) -> tuple[Any, ...]:
    return (row.what, row.where, row.repaired)


def _explanation(row: StepExplanation) -> tuple[Any, ...]:
    changes = len(row.changes) + row.more
    return (row.step, row.name, row.line, row.state, row.reason, row.detail if row.reason else "", changes)


def _cache(row: CacheRow) -> tuple[Any, ...]:
    return (
        row.id,
        row.reclaimable,
        row.size,
        row.used,
        row.type,
        row.description,
        row.created,
        row.uses,
        row.shared,
    )


def _usage(row: UsageRow) -> tuple[Any, ...]:
    return (row.type, row.total, row.active, row.size, row.reclaimable)


def _build(row: BuildRow) -> tuple[Any, ...]:
    image = None if row.image is None else str(row.image)
    return (
        row.id,
        row.name,
        row.status,
        row.created,
        row.seconds,
        row.steps,
        row.cached,
        image,
        row.problem,
    )


def _build_step(row: BuildStepRow) -> tuple[Any, ...]:
    return (
        row.number,
        row.name,
        row.state,
        row.seconds,
        row.cpu_seconds,
        row.peak_memory,
        row.written,
        row.line,
        row.instruction,
        row.started,
        None if row.layer is None else str(row.layer),
        row.problem,
    )


def _event(row: EngineEvent) -> tuple[Any, ...]:
    name = row.attributes.get("name", row.id)
    return (pd.Timestamp(row.time, tz="UTC"), row.type, row.action, name, row.id, row.attributes)


def _network(row: NetworkRow) -> tuple[Any, ...]:
    network = row.network
    return (
        network.id,
        network.name,
        network.driver,
        "local",
        ", ".join(pool.subnet for pool in network.pools),
        ", ".join(pool.gateway for pool in network.pools),
        len(row.containers),
        network.internal,
        network.ipv6,
        pd.Timestamp(network.created, tz="UTC"),
        network.labels,
        network.options,
    )


def _volume(row: VolumeRow) -> tuple[Any, ...]:
    volume = row.volume
    return (
        "local",
        volume.name,
        row.mountpoint,
        pd.Timestamp(volume.created, tz="UTC"),
        len(row.containers),
        volume.anonymous,
        volume.labels,
        volume.options,
    )


def _stats(row: StatsRow) -> tuple[Any, ...]:
    return (
        row.id,
        row.name,
        row.cpu_percent,
        row.memory,
        row.memory_limit,
        row.memory_percent,
        row.received,
        row.sent,
        row.read,
        row.written,
        row.pids,
        row.whole,
    )


def _namespace(row: NamespaceRow) -> tuple[Any, ...]:
    return (row.name, row.type, row.inode, row.whose, row.sees, row.id)


def _registry(row: RegistryRow) -> tuple[Any, ...]:
    return (
        row.name,
        row.address,
        row.running,
        row.read_only,
        row.tags,
        row.size,
        row.reach,
        pd.Timestamp(row.created, tz="UTC"),
    )


def _registry_image(row: RegistryImageRow) -> tuple[Any, ...]:
    pushed = pd.Timestamp(row.pushed, tz="UTC") if row.pushed else None
    return (row.repository, row.tag, row.digest or None, row.kind, row.size, pushed)


def fact_record(row: Fact) -> tuple[Any, ...]:
    """A fact about the host as a record of kind ``facts``."""
    found = (row.name, row.verdict, row.reason, row.remedy, row.milliseconds)
    return (*found, row.errno, row.cause, row.who, row.group)


_RECORDS: dict[str, Any] = {
    "images": _image,
    "history": _history,
    "platforms": _platform,
    "layers": _layer,
    "remote_history": _history,
    "containers": _container,
    "compare": _compare,
    "bases": _base,
    "findings": _finding,
    "explanation": _explanation,
    "cache": _cache,
    "usage": _usage,
    "events": _event,
    "networks": _network,
    "volumes": _volume,
    "changes": lambda row: (row.kind, row.path),
    "builds": _build,
    "build_steps": _build_step,
    "stats": _stats,
    "namespaces": _namespace,
    "registries": _registry,
    "registry_images": _registry_image,
    "search": lambda row: (row.name, row.description, row.stars, row.official),
}
