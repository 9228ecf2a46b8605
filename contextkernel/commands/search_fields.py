"""Rows of ``search`` by template field, as docker's. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contextkernel.commands.humanize import ellipsis

if TYPE_CHECKING:
    from datetime import datetime

    from contextkernel.commands.outcome import TableOptions
    from contextkernel.model.logins import SearchRow

SEARCH_HEADERS = {"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"}
SEARCH_FORMAT = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
_WIDTH = 45


def search_fields(row: SearchRow, options: TableOptions, _now: datetime) -> dict[str, Any]:
    """The fields of a row."""
    text = row.description.replace("\n", " ").replace("\r", " ")
    return {
        "Name": row.name,
        "Description": text if options.no_trunc else ellipsis(text, _WIDTH),
        "StarCount": str(row.stars),
        "IsOfficial": "[OK]" if row.official else "",
    }
