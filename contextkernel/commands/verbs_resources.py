"""Verbs that tell what containers use and see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.outcome import Nothing, Outcome, Table, TableOptions, Text
from contextkernel.commands.tables import formatted
from contextkernel.commands.verbs_image import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contextkernel.commands.call import Call
    from contextkernel.model.measurements import StatsRow


def stats(call: Call) -> Outcome:
    """Show what containers use, once or until it is interrupted."""
    parsed = call.parsed
    names, everything = parsed.arguments, parsed.flag("all")
    options = TableOptions(no_trunc=parsed.flag("no-trunc"))
    if parsed.flag("no-stream"):
        return shown(call, Table("stats", call.engine.stats(names, all=everything), options))
    layout = parsed.maybe("format")

    def value_of(rows: Sequence[StatsRow]) -> Table | Text:
        table = Table("stats", tuple(rows), options)
        return table if layout is None else Text(formatted(table, layout))

    with call.face.live() as show:
        for rows in call.engine.stats_stream(names, all=everything):
            show(value_of(rows))
    return Outcome(value=Nothing())


def namespaces(call: Call) -> Outcome:
    """Show which namespaces containers live in."""
    options = TableOptions(no_trunc=call.parsed.flag("no-trunc"))
    return shown(call, Table("namespaces", call.engine.namespaces(call.parsed.arguments), options))
