"""How tables look: HTML and plain text of a frame, humanised by column name. Pure but for "ago", which needs now.

Works on anything with a DataFrame's attributes, so that it does not import pandas itself.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from contextkernel.commands import humanize
from contextkernel.commands.build_fields import seconds_text
from contextkernel.commands.humanize import display_width, ellipsis, human_ago, human_size, memory_size
from contextkernel.notebook.style import escape, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from pandas import DataFrame

ASKED_FOR = "contextkernel.shown"
"""Attribute of a frame with the names of columns that are shown because an option asked for them."""
MAX_ROWS = 60
"""Longer tables show their first and last rows, as pandas does."""
_BAR_WIDTH = 260
"""Pixels for the largest image of a comparison."""
_WIDE = {"created_by": 45, "instruction": 45, "command": 20, "comment": 40, "sees": 70, "attributes": 60}
"""Columns that docker cuts off, and where; HTML has the rest in the tooltip."""
_WIDE_HTML = {**_WIDE, "created_by": 90, "sees": 200}
_IDS = {"image_id", "container_id", "network_id"}
_OF_LAYERS = {"platform", "diff_id"}
"""Tables with one of these have digests for looking at, not for typing."""
_SIZES = {"size", "shared", "unique", "reclaimable"}
_TRAFFIC = {"net_received", "net_sent", "block_read", "block_written"}
_MEMORY = {"memory", "memory_limit"}
_PERCENT = {"cpu_percent", "memory_percent"}
_TIMES = {"created", "started", "finished", "last_accessed", "pushed"}
_SECONDS = {"duration", "wall_time", "cpu_time"}
_MAYBE_SIZES = {"peak_memory", "written", "download_size"}
_COUNTS = {"layers", "step", "steps", "cached_steps", "line", "changes", "total", "active", "uses", "stars"}
_RIGHT = (
    _TRAFFIC
    | _MEMORY
    | _PERCENT
    | {"pids", "namespace"}
    | _SIZES
    | _SECONDS
    | _MAYBE_SIZES
    | _COUNTS
    | {"factor", "exit_code", "milliseconds", "container_port", "host_port"}
)
_MONO = {"created_by", "command"}
_NARROW = {"created", "status", "started", "finished", "last_accessed", "pushed"}
_WRAP = {
    "sees",
    "created_by",
    "detail",
    "ports",
    "reason",
    "remedy",
    "what",
    "where",
    "message",
    "description",
    "why",
    "error",
}
# What other columns say already: shown only where not all of these are (df[["names", "state"]] shows both).
_SAID_BY = {
    "state": {"status"},
    "exit_code": {"status"},
    "started": {"status"},
    "finished": {"status"},
    "network": {"ports"},
    "health": {"status"},
    "labels": {"container_id", "status"},
    "digest": {"image_id"},
    "media_type": {"digest"},
    "line": {"wall_time", "layer"},
    "instruction": {"wall_time", "layer"},
    "layer": {"wall_time", "instruction"},
}
_STEPS = {"wall_time", "cache"}
"""Tables with one of these have the steps of a build in ``name``: whole commands."""
_PLAIN = (
    ("change", "path"),
    ("name", "description", "stars", "official"),
    ("container_port", "protocol", "host_ip", "host_port"),
)
"""Tables of ours with nothing to humanise: without the index all the same."""


def knows(frame: DataFrame) -> bool:
    """Whether the frame has a column to humanise, names that are text and differ, and an index that says nothing."""
    if frame.index.name is not None or frame.index.nlevels > 1 or frame.index.dtype.kind not in "iu":
        return False
    names = list(frame.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return False
    return tuple(names) in _PLAIN or any(_humaniser(frame, name) is not None for name in names)


def frame_text(frame: DataFrame) -> str:
    """The table as text: columns side by side with three blanks between, as docker prints tables."""
    shown, left_out = _shown(frame)
    columns = [_text_column(shown, name) for name in _visible(frame)]
    widths = [max(map(display_width, column)) for column in columns]
    lines = [
        "   ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    if left_out:
        lines.insert(1 + MAX_ROWS // 2, f"… {left_out:,} rows left out")
    return "\n".join(lines)


def frame_html(frame: DataFrame) -> str:
    """The table as HTML; tooltips have exact bytes, times and full ids."""
    shown, left_out = _shown(frame)
    names = _visible(frame)
    bars = _bars(shown) if {"size", "shared", "unique", "factor"} <= set(names) and _has_lengths(shown) else None
    head = "".join(f"<th{_cell_class(frame, name)}>{escape(name)}</th>" for name in names)
    head += "<th></th>" if bars else ""
    cells = [_html_column(shown, name) for name in names] + ([bars] if bars else [])
    rows = [f"<tr>{''.join(row)}</tr>" for row in zip(*cells, strict=True)]
    if left_out:
        rows.insert(
            MAX_ROWS // 2, f'<tr><td colspan="{len(cells)}" class="ck-muted">… {left_out:,} rows left out</td></tr>'
        )
    body = "".join(rows) or f'<tr><td colspan="{len(cells)}" class="ck-muted">no rows</td></tr>'
    legend = (
        '<div class="ck-muted"><span class="ck-bar ck-bar-shared" style="width:1em"></span> shared with another image '
        '<span class="ck-bar ck-bar-unique" style="width:1em"></span> only here</div>'
        if bars
        else ""
    )
    return wrap(f'<table class="ck-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{legend}')


def _visible(frame: DataFrame) -> list[str]:
    names = set(frame.columns)
    return [
        name
        for name in frame.columns
        if (name in frame.attrs.get(ASKED_FOR, ()) or not _is_said(name, names))
        and not _says_nothing(frame, name)
        and not _all_whole(frame, name)
    ]


def _is_said(name: str, names: set[str]) -> bool:
    """Whether the columns ``names`` say what is in the column ``name``, or nobody has asked for it."""
    if name == "error":  # long; whoever picks columns and takes it along wants to read it
        return {"build_id", "name"} <= names or {"layer", "name"} <= names
    return name in _SAID_BY and _SAID_BY[name] <= names


def _says_nothing(frame: DataFrame, name: str) -> bool:
    """``ps`` knows sizes only with ``-s``; of layers, either what they take here or what a registry has is known."""
    if name in {"size", "download_size", "digest"} and "diff_id" in frame.columns:
        return bool(frame[name].isna().all())
    return name == "size" and "container_id" in frame.columns and not frame["size"].any()


def _all_whole(frame: DataFrame, name: str) -> bool:
    """Measurements of whole containers are the rule."""
    return name == "whole" and bool(frame["whole"].all())


def _shown(frame: DataFrame) -> tuple[DataFrame, int]:
    if len(frame) <= MAX_ROWS:
        return frame, 0
    half = MAX_ROWS // 2
    keep = [*range(half), *range(len(frame) - half, len(frame))]
    return frame.iloc[keep], len(frame) - len(keep)


def _humaniser(frame: DataFrame, name: str) -> Callable[[Any], str] | None:
    """How to show a value of the column ``name``; ``None`` where pandas' own way is right."""
    kind = frame.dtypes[name].kind
    if {"action", "attributes"} <= set(frame.columns) and (name != "time" or kind == "M"):
        return _EVENT.get(name)
    if name == "image_id" and "build_id" in frame.columns:
        return _short_if_any  # a build that failed has none
    if name in _IDS or (name == "image" and "created_by" in frame.columns):
        return short_id
    if name in _SIZES | _TRAFFIC and kind in "iu":
        return lambda value: human_size(int(value)) if _plain(value) else ""
    if name in {"digest", "diff_id"} and not _OF_LAYERS.isdisjoint(frame.columns):
        return _short_if_any
    if name in _MEMORY and kind in "iu":
        return lambda value: memory_size(int(value))
    if name in _PERCENT and kind == "f":
        return lambda value: f"{value:.2f}%"
    if name in _TIMES and kind == "M":
        return _ago
    if name in _SECONDS and kind == "f":
        return lambda value: "" if value != value else seconds_text(value)  # noqa: PLR0124 - NaN
    if name in _MAYBE_SIZES and kind in "iu":
        return lambda value: human_size(int(value)) if _plain(value) else ""
    if name == "factor" and kind == "f":
        return lambda value: f"{value:.0f}x" if value >= 100 else f"{value:.1f}x"
    if name in {"stand_in", "repaired", "required", "default", "attested", "chosen"} and kind == "b":
        return lambda value: "yes" if value else "no"
    if name in {"verdict", "action", "cache"}:
        return str
    if name in {"why", "rule"} and kind == "O":
        return _plain
    return None


def short_id(value: object) -> str:
    """12 hex digits of an id; ``<missing>`` where an image has none here, as docker's history prints it."""
    if not isinstance(value, str):
        return "<missing>"
    return humanize.short_id(value)


def _short_if_any(value: object) -> str:
    """12 hex digits of an id, nothing where there is none."""
    return humanize.short_id(value) if isinstance(value, str) else ""


def _short_if_id(value: object) -> str:
    """Names stay as they are; an image that has none is called by its id."""
    text = _plain(value)
    return humanize.short_id(text) if _WHOLE_ID.fullmatch(text) else text


def _moment(value: Any) -> str:
    """Date, time and milliseconds, in UTC as ``events`` has them."""
    return "" if value != value else f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03}"  # noqa: PLR0124 - NaT


def _pairs(value: object) -> str:
    """``key=value`` as the command line prints attributes, but for the name, which has a column."""
    if not isinstance(value, dict):
        return _plain(value)
    return ", ".join(f"{key}={_short_if_id(item)}" for key, item in sorted(value.items()) if key != "name")


_WHOLE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_EVENT = {"time": _moment, "name": _short_if_id, "id": _short_if_id, "attributes": _pairs}
"""How events are shown: a table of whole ids and nanoseconds is wider than any window."""


def _ago(value: Any) -> str:
    if value != value or value is None:  # noqa: PLR0124 - NaT is the one that differs from itself
        return "N/A"
    moment: datetime = value.to_pydatetime(warn=False)
    if not humanize.is_dated(moment):
        return "N/A"
    return human_ago(moment, datetime.now(timezone.utc))  # noqa: UP017 - the alias reads worse here


def _plain(value: Any) -> str:
    missing = value is None or value is getattr(value, "NA", ...) or str(value) in {"<NA>", "NaT"}
    return "" if missing else " ".join(str(value).split())


def _text_column(frame: DataFrame, name: str) -> list[str]:
    show = _humaniser(frame, name) or _plain
    cells = [_cut(show(value), _WIDE.get(name)) for value in frame[name]]
    width = max(map(display_width, [name, *cells]))
    return [_pad(cell, -width) for cell in [name, *cells]] if name in _RIGHT else [name, *cells]


def _pad(cell: str, width: int) -> str:
    """``cell`` in ``width`` columns of a terminal, to the left; to the right if ``width`` is negative."""
    blanks = " " * (abs(width) - display_width(cell))
    return cell + blanks if width > 0 else blanks + cell


def _cut(text: str, width: int | None) -> str:
    return text if width is None else ellipsis(text, width)


def _html_column(frame: DataFrame, name: str) -> list[str]:
    show = _humaniser(frame, name) or _plain
    out = []
    for value in frame[name]:
        text, exact = show(value), _plain(value)
        short = _cut(text, _WIDE_HTML[name]) if name in _WIDE_HTML else text
        tip = f' title="{escape(exact)}"' if exact != short else ""
        out.append(f"<td{_cell_class(frame, name)}{tip}>{_accent(name, escape(short))}</td>")
    return out


def _accent(name: str, safe: str) -> str:
    """A stand-in must be seen, and so must a fact that does not hold."""
    if name == "origin" and safe.startswith("stand-in"):
        return f'<span class="ck-warn">{safe}</span>'
    if name == "cache":
        return f'<span class="ck-{"ok" if safe == "hit" else "warn"}">{safe}</span>'
    if name == "verdict":
        colour = {"works": "ok", "limited": "warn", "refused": "bad"}.get(safe, "muted")
        return f'<span class="ck-{colour}">{safe}</span>'
    return safe


def _cell_class(frame: DataFrame, name: str) -> str:
    wrapped = _WRAP
    if not _STEPS.isdisjoint(frame.columns):
        wrapped = _WRAP - {"reason"} | {"name"}
    names = [
        css
        for css, members in (
            ("ck-r", _RIGHT),
            ("ck-mono", _MONO | _IDS | {"digest", "diff_id"}),
            ("ck-wrap", wrapped),
            ("ck-narrow", _NARROW),
        )
        if name in members
    ]
    return f' class="{" ".join(names)}"' if names else ""


def _has_lengths(frame: DataFrame) -> bool:
    """Whether sizes are numbers still; who makes text of them has a table without bars."""
    return all(
        frame.dtypes[name].kind in "iuf" and not frame[name].isna().any() for name in ("size", "shared", "unique")
    )


def _bars(frame: DataFrame) -> list[str]:
    """A bar per image, as long as its size: what it shares with the others, then what only it has."""
    largest = max([*frame["size"], 1])
    out = []
    for shared, unique in zip(frame["shared"], frame["unique"], strict=True):
        parts = "".join(
            f'<span class="ck-bar ck-bar-{css}" style="width:{round(_BAR_WIDTH * int(size) / largest)}px" '
            f'title="{css} {human_size(int(size))}"></span>'
            for css, size in (("shared", shared), ("unique", unique))
            if size
        )
        out.append(f"<td>{parts}</td>")
    return out
