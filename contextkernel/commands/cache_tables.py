"""Tables of the build cache: explanations, entries, usage; docker's columns where docker has the table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from contextkernel.commands.humanize import align, ellipsis, go_time, human_ago, human_size

if TYPE_CHECKING:
    from contextkernel.commands.outcome import TableKind, TableOptions
    from contextkernel.model.cache import CacheRow, UsageRow
    from contextkernel.model.explanation import StepExplanation

_STEP_WIDTH = 50

CACHE_HEADERS: dict[TableKind, dict[str, str]] = {
    "explanation": {
        "Step": "STEP",
        "Name": "NAME",
        "Line": "LINE",
        "Result": "CACHE",
        "Reason": "REASON",
        "Why": "WHY",
        "Changes": "CHANGES",
        "More": "MORE",
    },
    "cache": {
        "ID": "ID",
        "Reclaimable": "RECLAIMABLE",
        "Size": "SIZE",
        "LastUsedAt": "LAST ACCESSED",
        "CreatedAt": "CREATED AT",
        "Type": "TYPE",
        "Description": "DESCRIPTION",
        "UsageCount": "USAGE",
        "Shared": "SHARED",
        "Mutable": "MUTABLE",
    },
    "usage": {
        "Type": "TYPE",
        "TotalCount": "TOTAL",
        "Active": "ACTIVE",
        "Size": "SIZE",
        "Reclaimable": "RECLAIMABLE",
    },
}
CACHE_FORMATS: dict[TableKind, str] = {
    "explanation": "table {{.Step}}\t{{.Result}}\t{{.Name}}\t{{.Why}}",
    "cache": "table {{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}",
    "usage": "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
}


def explanation_text(rows: Sequence[Any]) -> str:
    """The table of ``build --explain``: several changes of one step stand below each other."""
    from contextkernel.plan.explain import change_text

    lines = ["STEP\tCACHE\tNAME\tWHY"]
    for row in cast("Sequence[StepExplanation]", rows):
        texts = [change_text(change) for change in row.changes] + ([f"and {row.more} more"] if row.more else [])
        several = len(texts) > 1
        why = row.detail if row.state == "miss" else ""
        if several:
            why = f"{len(row.changes) + row.more} inputs changed:"
        lines.append(f"{row.step}\t{row.state}\t{_flat(ellipsis(row.name, _STEP_WIDTH))}\t{_flat(why)}")
        if several:
            lines += [f"\t\t\t  {_flat(text)}" for text in texts]
    return "\n".join(line.rstrip() for line in align(lines, minimum=0)) + "\n"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _explanation(row: StepExplanation, _options: TableOptions, _now: datetime) -> dict[str, Any]:
    return {
        "Step": row.step,
        "Name": row.name,
        "Line": row.line,
        "Result": row.state,
        "Reason": row.reason,
        "Why": row.detail,
        "Changes": [
            {
                "Input": change.input,
                "Name": change.name,
                "Change": change.change,
                "Old": change.old,
                "New": change.new,
            }
            for change in row.changes
        ],
        "More": row.more,
    }


def _cache(row: CacheRow, _options: TableOptions, now: datetime) -> dict[str, Any]:
    return {
        "ID": row.id + ("*" if row.mutable else ""),
        "Reclaimable": "true" if row.reclaimable else "false",
        "Size": human_size(row.size) + ("*" if row.shared else ""),
        "LastUsedAt": human_ago(row.used, now),
        "CreatedAt": go_time(row.created),
        "Type": row.type,
        "Description": row.description,
        "UsageCount": row.uses,
        "Shared": row.shared,
        "Mutable": row.mutable,
    }


def _usage(row: UsageRow, _options: TableOptions, _now: datetime) -> dict[str, Any]:
    share = f" ({row.reclaimable * 100 // row.size}%)" if row.size and row.type != "Build Cache" else ""
    return {
        "Type": row.type,
        "TotalCount": str(row.total),
        "Active": str(row.active),
        "Size": human_size(row.size),
        "Reclaimable": human_size(row.reclaimable) + share,
    }


CACHE_FIELDS: Mapping[TableKind, Callable[[Any, TableOptions, datetime], dict[str, Any]]] = {
    "explanation": _explanation,
    "cache": _cache,
    "usage": _usage,
}


def summary(rows: Sequence[CacheRow]) -> str:
    """The lines below the table of ``builder du``."""
    shared = sum(row.size for row in rows if row.shared)
    private = sum(row.size for row in rows if not row.shared)
    reclaimable = sum(row.size for row in rows if row.reclaimable)
    lines = [("Shared", shared), ("Private", private)] if shared else []
    lines += [("Reclaimable", reclaimable), ("Total", shared + private)]
    return "".join(f"{f'{name}:':<16}{human_size(size)}\n" for name, size in lines)


def verbose(rows: Sequence[CacheRow], now: datetime) -> str:
    """The paragraphs of ``builder du --verbose``."""
    out = []
    for row in rows:
        pairs = (
            ("ID", row.id),
            ("Created at", go_time(row.created)),
            ("Mutable", str(row.mutable).lower()),
            ("Reclaimable", str(row.reclaimable).lower()),
            ("Shared", str(row.shared).lower()),
            ("Size", human_size(row.size)),
            ("Description", row.description),
            ("Usage count", str(row.uses)),
            ("Last used", human_ago(row.used, now)),
            ("Type", row.type),
        )
        out.append("".join(f"{f'{name}:':<14}{value}\n" for name, value in pairs) + "\n")
    return "".join(out)
