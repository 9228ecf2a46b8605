"""Tables of what containers use and see; docker's columns for ``stats``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from contextkernel.commands.humanize import human_size, memory_size, short_id

if TYPE_CHECKING:
    from contextkernel.commands.outcome import TableKind, TableOptions
    from contextkernel.model.measurements import NamespaceRow, StatsRow

RESOURCE_HEADERS: dict[TableKind, dict[str, str]] = {
    "stats": {
        "Container": "CONTAINER",
        "Name": "NAME",
        "ID": "CONTAINER ID",
        "CPUPerc": "CPU %",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET I/O",
        "BlockIO": "BLOCK I/O",
        "PIDs": "PIDS",
    },
    "namespaces": {
        "ID": "CONTAINER ID",
        "Name": "NAME",
        "Type": "TYPE",
        "Namespace": "NAMESPACE",
        "Whose": "WHOSE",
        "Sees": "SEES",
    },
}
RESOURCE_FORMATS: dict[TableKind, str] = {
    "stats": (
        "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
    ),
    "namespaces": "table {{.Name}}\t{{.Type}}\t{{.Namespace}}\t{{.Whose}}\t{{.Sees}}",
}
_SEES_WIDTH = 60


def _stats(row: StatsRow, options: TableOptions, _now: datetime) -> dict[str, Any]:
    return {
        "Container": row.container,
        "Name": row.name,
        "ID": row.id if options.no_trunc else short_id(row.id),
        "CPUPerc": f"{row.cpu_percent:.2f}%",
        "MemUsage": f"{memory_size(row.memory)} / {memory_size(row.memory_limit)}",
        "MemPerc": f"{row.memory_percent:.2f}%",
        "NetIO": f"{human_size(row.received)} / {human_size(row.sent)}",
        "BlockIO": f"{human_size(row.read)} / {human_size(row.written)}",
        "PIDs": str(row.pids),
    }


def _namespaces(row: NamespaceRow, options: TableOptions, _now: datetime) -> dict[str, Any]:
    cut = len(row.sees) > _SEES_WIDTH and not options.no_trunc
    return {
        "ID": row.id if options.no_trunc else short_id(row.id),
        "Name": row.name,
        "Type": row.type,
        "Namespace": str(row.inode),
        "Whose": row.whose,
        "Sees": f"{row.sees[: _SEES_WIDTH - 1]}…" if cut else row.sees,
    }


RESOURCE_FIELDS: Mapping[TableKind, Callable[[Any, TableOptions, datetime], dict[str, Any]]] = {
    "stats": _stats,
    "namespaces": _namespaces,
}
