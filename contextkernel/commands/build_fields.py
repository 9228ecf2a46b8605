"""Rows of recorded builds by template field, as they are shown."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from contextkernel.commands.humanize import ellipsis, human_ago, human_size, rfc3339

if TYPE_CHECKING:
    from contextkernel.commands.outcome import TableOptions
    from contextkernel.model.builds import BuildRow, BuildStepRow

_NAME_WIDTH = 60
_MINUTE, _HOUR = 60, 3600


def build_fields(row: BuildRow, options: TableOptions, now: datetime) -> dict[str, Any]:
    """One line of ``builds``."""
    return {
        "ID": row.id,
        "Name": row.name if options.no_trunc else ellipsis(row.name, _NAME_WIDTH),
        "Status": row.status.capitalize(),
        "CreatedAt": human_ago(row.created, now),
        "Duration": seconds_text(row.seconds),
        "Steps": row.steps,
        "CachedSteps": row.cached,
        "ImageID": "" if row.image is None else str(row.image),
        "Error": row.problem,
    }


def build_step_fields(row: BuildStepRow, options: TableOptions, _now: datetime) -> dict[str, Any]:
    """One line of ``builds inspect``."""
    name = " ".join(row.name.split())
    return {
        "Number": row.number,
        "Name": name if options.no_trunc else ellipsis(name, _NAME_WIDTH),
        "State": row.state,
        "Duration": seconds_text(row.seconds),
        "CPUTime": seconds_text(row.cpu_seconds),
        "PeakMemory": "" if row.peak_memory is None else human_size(row.peak_memory),
        "Written": "" if row.written is None else human_size(row.written),
        "Line": row.line,
        "Instruction": row.instruction,
        "StartedAt": rfc3339(row.started),
        "Layer": "" if row.layer is None else str(row.layer),
        "Error": row.problem,
    }


def seconds_text(seconds: float | None) -> str:
    """``0.4s``, ``12.3s``, ``2m 5s``, ``1h 2m``; empty for what is not known."""
    if seconds is None:
        return ""
    if seconds < _MINUTE:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < _HOUR:
        return f"{whole // 60}m {whole % 60}s"
    return f"{whole // _HOUR}h {whole % _HOUR // 60}m"
