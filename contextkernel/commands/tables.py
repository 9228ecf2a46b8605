"""Rows as text: docker's tables, ``--format`` templates, JSON lines. Pure but for the clock, which may be handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_never, cast

from contextkernel.commands.build_fields import build_fields, build_step_fields
from contextkernel.commands.cache_tables import CACHE_FIELDS, CACHE_FORMATS, CACHE_HEADERS, explanation_text
from contextkernel.commands.container_fields import CONTAINER_HEADERS, container_fields
from contextkernel.commands.event_text import event_document, event_line
from contextkernel.commands.humanize import (
    align,
    ellipsis,
    go_time,
    human_ago,
    human_size,
    is_dated,
    rfc3339,
    utc_now,
)
from contextkernel.commands.network_fields import NETWORK_FORMAT, NETWORK_HEADERS, network_fields
from contextkernel.commands.outcome import (
    Built,
    Document,
    Grid,
    Host,
    Looked,
    Nothing,
    Ran,
    Table,
    TableKind,
    TableOptions,
    Text,
    Value,
)
from contextkernel.commands.remote_tables import REMOTE_FIELDS, REMOTE_FORMATS, REMOTE_HEADERS
from contextkernel.commands.resource_tables import RESOURCE_FIELDS, RESOURCE_FORMATS, RESOURCE_HEADERS
from contextkernel.commands.search_fields import SEARCH_FORMAT, SEARCH_HEADERS, search_fields
from contextkernel.commands.serving_fields import SERVING_FIELDS, SERVING_FORMATS, SERVING_HEADERS
from contextkernel.commands.volume_fields import VOLUME_FORMAT, VOLUME_HEADERS, volume_fields

if TYPE_CHECKING:
    from contextkernel.commands.template import Template
    from contextkernel.model.engine_events import EngineEvent
    from contextkernel.model.results import (
        BaseRow,
        CheckFinding,
        CompareRow,
        HistoryRow,
        ImageRow,
    )

_CREATED_BY_WIDTH = 45
_STAND_IN = "stand-in"

HEADERS: dict[TableKind, dict[str, str]] = {
    "images": {
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "ID": "IMAGE ID",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Size": "SIZE",
        "Containers": "CONTAINERS",
        "SharedSize": "SHARED SIZE",
        "UniqueSize": "UNIQUE SIZE",
        "Origin": "ORIGIN",
        "Layers": "LAYERS",
    },
    "history": {
        "ID": "IMAGE",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "CreatedBy": "CREATED BY",
        "Size": "SIZE",
        "Comment": "COMMENT",
    },
    "compare": {
        "Image": "IMAGE",
        "Size": "SIZE",
        "Layers": "LAYERS",
        "Shared": "SHARED",
        "Unique": "UNIQUE",
        "Factor": "FACTOR",
        "SizeBytes": "SIZE BYTES",
        "SharedBytes": "SHARED BYTES",
        "UniqueBytes": "UNIQUE BYTES",
    },
    "bases": {
        "Image": "IMAGE",
        "Action": "ACTION",
        "StandIn": "STAND-IN",
        "Size": "SIZE",
        "Detail": "DETAIL",
    },
    "builds": {
        "ID": "BUILD ID",
        "Name": "NAME",
        "Status": "STATUS",
        "CreatedAt": "CREATED AT",
        "Duration": "DURATION",
        "Steps": "STEPS",
        "CachedSteps": "CACHED STEPS",
        "ImageID": "IMAGE ID",
        "Error": "ERROR",
    },
    "build_steps": {
        "Number": "STEP",
        "Name": "NAME",
        "State": "STATE",
        "Duration": "DURATION",
        "CPUTime": "CPU TIME",
        "PeakMemory": "PEAK MEMORY",
        "Written": "WRITTEN",
        "Line": "LINE",
        "Instruction": "INSTRUCTION",
        "StartedAt": "STARTED AT",
        "Layer": "LAYER",
        "Error": "ERROR",
    },
    "networks": NETWORK_HEADERS,
    "volumes": VOLUME_HEADERS,
    "changes": {"Type": "CHANGE TYPE", "Path": "PATH"},
    "findings": {"What": "WHAT", "Where": "WHERE", "Repaired": "REPAIRED"},
    **CACHE_HEADERS,
    **RESOURCE_HEADERS,
    **REMOTE_HEADERS,
    **SERVING_HEADERS,
    "search": SEARCH_HEADERS,
    "containers": CONTAINER_HEADERS,
    "events": {},
}
"""Field names of templates and JSON for each kind, with their column headings; docker's where docker has the table."""


def text_of(value: Value, *, now: datetime | None = None) -> str:
    """What the command line prints for a value.

    Args:
        value: of an outcome.
        now: the moment that ``3 minutes ago`` is measured from; default: now.

    Returns:
        Text with line ends; empty for nothing.
    """
    match value:
        case Table():
            return table_text(value, now=now)
        case Text(text):
            return text
        case Grid(headings, rows):
            lines = ["\t".join(cells) for cells in (headings, *rows)]
            return "".join(f"{line}\n" for line in align(lines, minimum=20))
        case Document(documents):
            from contextkernel.commands.template_values import to_json

            return to_json(documents, indent=4) + "\n"
        case Built(result, quiet):
            return f"{result.image}\n" if quiet else ""
        case Host(report):
            from contextkernel.commands.host_text import host_text

            return host_text(report)
        case Looked():
            from contextkernel.commands.looking import looked_text

            return looked_text(value)
        case Ran() | Nothing():
            return ""
        case unknown:
            assert_never(unknown)


def table_text(table: Table, *, now: datetime | None = None) -> str:
    """The table in docker's layout."""
    if table.kind == "findings" and not table.rows:
        return "nothing wrong found\n"
    if table.kind == "explanation":
        return explanation_text(table.rows)
    if table.kind == "events":
        return "".join(f"{event_line(cast('EngineEvent', row))}\n" for row in table.rows)
    return formatted(table, _default_format(table), now=now)


def formatted(table: Table, layout: str, *, now: datetime | None = None) -> str:
    """The rows in the layout of ``--format``.

    Args:
        table: the rows.
        layout: ``table``, ``table TEMPLATE``, ``json`` or a template for each row; tabs and line ends may be spelt out
            with a backslash.
        now: as for :func:`text_of`.

    Raises:
        TemplateProblem: not a template, or a field that the rows do not have.
    """
    from contextkernel.commands.template import Template

    if layout == "table":
        layout = _default_format(table)
    # Sorted, because docker's JSON of a row is a sorted map
    records = [dict(sorted(fields(table.kind, row, table.options, now=now).items())) for row in table.rows]
    if layout == "json":
        from contextkernel.commands.template_values import to_json

        return "".join(to_json(record) + "\n" for record in records)
    is_table = layout.startswith("table")
    source = layout.removeprefix("table").strip(" ").replace("\\t", "\t").replace("\\n", "\n")
    template = Template(source)
    lines = [template.render(record) for record in records]
    if not is_table:
        return "".join(line + "\n" for line in lines)
    text = "\n".join((_heading(template, table.kind), *lines))
    return "\n".join(align(text.split("\n"))) + "\n"


def identifiers(table: Table) -> str:
    """The ids alone, as ``-q`` prints them; an image with several names comes once."""
    seen: dict[str, None] = {}
    for row in table.rows:
        seen.setdefault(
            str(fields(table.kind, row, table.options)["Name" if table.kind in ("volumes", "registries") else "ID"])
        )
    if table.kind in ("history", "remote_history"):  # <missing> stands for each step that has no image
        return "".join(f"{fields(table.kind, row, table.options)['ID']}\n" for row in table.rows)
    return "".join(f"{identifier}\n" for identifier in seen)


def fields(kind: TableKind, row: Any, options: TableOptions, *, now: datetime | None = None) -> dict[str, Any]:
    """One row's values by template field, all of them as docker shows them.

    Args:
        kind: of the table.
        row: of the kind's type.
        options: ``no_trunc`` and ``human`` matter.
        now: as for :func:`text_of`.
    """
    return _FIELDS[kind](row, options, now or utc_now())


def _default_format(table: Table) -> str:
    options = table.options
    match table.kind:
        case "images":
            digest = "\t{{.Digest}}" if options.digests else ""
            # A stand-in must not pass for the image it stands in for
            marked = any(cast("ImageRow", row).origin.startswith(_STAND_IN) for row in table.rows)
            origin = "\t{{.Origin}}" if marked else ""
            return (
                f"table {{{{.Repository}}}}\t{{{{.Tag}}}}{digest}\t{{{{.ID}}}}"
                f"\t{{{{.CreatedSince}}}}\t{{{{.Size}}}}{origin}"
            )
        case "history":
            created = "{{.CreatedSince}}" if options.human else "{{.CreatedAt}}"
            return f"table {{{{.ID}}}}\t{created}\t{{{{.CreatedBy}}}}\t{{{{.Size}}}}\t{{{{.Comment}}}}"
        case "containers":
            size = "\t{{.Size}}" if options.size else ""
            return (
                "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}" + size
            )
        case "compare":
            return "table {{.Image}}\t{{.Size}}\t{{.Layers}}\t{{.Shared}}\t{{.Unique}}\t{{.Factor}}"
        case "bases":
            return "table {{.Image}}\t{{.Action}}\t{{.StandIn}}\t{{.Size}}\t{{.Detail}}"
        case "explanation" | "cache" | "usage":
            return CACHE_FORMATS[table.kind]
        case "stats" | "namespaces":
            return RESOURCE_FORMATS[table.kind]
        case "platforms" | "layers" | "remote_history":
            return REMOTE_FORMATS[table.kind]
        case "builds":
            return "table {{.ID}}\t{{.Name}}\t{{.Status}}\t{{.CreatedAt}}\t{{.Duration}}"
        case "build_steps":
            return (
                "table {{.Number}}\t{{.Name}}\t{{.State}}\t{{.Duration}}\t{{.CPUTime}}\t{{.PeakMemory}}\t{{.Written}}"
            )
        case "networks":
            return NETWORK_FORMAT
        case "changes":
            return "{{.Type}} {{.Path}}"
        case "volumes":
            return VOLUME_FORMAT
        case "registries" | "registry_images":
            return SERVING_FORMATS[table.kind]
        case "search":
            return SEARCH_FORMAT
        case "events":
            return "{{.Type}} {{.Action}} {{.Actor.ID}}"
        case "findings":
            return "table {{.What}}\t{{.Where}}\t{{.Repaired}}"
        case unknown:
            assert_never(unknown)


def _heading(template: Template, kind: TableKind) -> str:
    headings: dict[str, Any] = dict(HEADERS[kind])
    # docker's heading for {{.Label "a.b-c"}} is the name's last part
    headings["Label"] = lambda name: name.split(".")[-1].replace("-", " ").replace("_", " ")
    return template.render(headings, header=True)


def _since(moment: datetime, now: datetime) -> str:
    return human_ago(moment, now) if is_dated(moment) else "N/A"


def _image(row: ImageRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    return {
        "Repository": row.repository,
        "Tag": row.tag,
        "Digest": row.digest,
        "ID": str(row.id) if options.no_trunc else row.id.short,
        "CreatedSince": _since(row.created, now),
        "CreatedAt": go_time(row.created),
        "Size": human_size(row.size),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "Origin": row.origin,
        "Layers": str(row.layers),
    }


def _history(row: HistoryRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    identifier = "<missing>" if row.id is None else str(row.id) if options.no_trunc else row.id.short
    created_by = row.created_by.replace("\t", " ")
    return {
        "ID": identifier,
        "CreatedSince": _since(row.created, now) if options.human else rfc3339(row.created),
        "CreatedAt": rfc3339(row.created),
        "CreatedBy": created_by if options.no_trunc else ellipsis(created_by, _CREATED_BY_WIDTH),
        "Size": human_size(row.size) if options.human else str(row.size),
        "Comment": row.comment,
    }


def _compare(row: CompareRow, _options: TableOptions, _now: datetime) -> dict[str, Any]:
    return {
        "Image": row.image,
        "Size": human_size(row.size),
        "Layers": row.layers,
        "Shared": human_size(row.shared),
        "Unique": human_size(row.unique),
        "Factor": f"{row.factor:.0f}x" if row.factor >= 100 else f"{row.factor:.1f}x",
        "SizeBytes": row.size,
        "SharedBytes": row.shared,
        "UniqueBytes": row.unique,
    }


def _base(row: BaseRow, _options: TableOptions, _now: datetime) -> dict[str, Any]:
    return {
        "Image": row.image,
        "Action": row.action,
        "StandIn": "yes" if row.stand_in else "no",
        "Size": human_size(row.size),
        "Detail": row.detail,
    }


def _finding(row: CheckFinding, _options: TableOptions, _now: datetime) -> dict[str, Any]:
    return {"What": row.what, "Where": row.where, "Repaired": "yes" if row.repaired else "no"}


_FIELDS: Mapping[TableKind, Callable[[Any, TableOptions, datetime], dict[str, Any]]] = {
    "images": _image,
    "history": _history,
    "containers": container_fields,
    "compare": _compare,
    "bases": _base,
    "findings": _finding,
    "events": lambda row, _options, _now: event_document(row),
    "networks": network_fields,
    "volumes": volume_fields,
    "changes": lambda row, _options, _now: {"Type": row.kind, "Path": row.path},
    **CACHE_FIELDS,
    **RESOURCE_FIELDS,
    **REMOTE_FIELDS,
    **SERVING_FIELDS,
    "search": search_fields,
    "builds": build_fields,
    "build_steps": build_step_fields,
}


def documents_formatted(documents: Sequence[Mapping[str, Any]], layout: str) -> str:
    """``inspect --format``: ``json`` is one compact array, a template gives one line for each document.

    Raises:
        TemplateProblem: not a template, or a field that a document does not have.
    """
    if layout == "json":
        from contextkernel.commands.template_values import to_json

        return to_json(documents) + "\n"
    from contextkernel.commands.template import Template

    template = Template(layout)
    return "".join(template.render(document) + "\n" for document in documents) or "\n"
