"""Verbs about the course of containers' lives, and what is told of it."""

from __future__ import annotations

import time

from contextkernel.commands.call import Call
from contextkernel.commands.event_text import EventFormat
from contextkernel.commands.outcome import Nothing, Outcome, Table, Text
from contextkernel.commands.values import parse_filters
from contextkernel.engine.moments import nanoseconds
from contextkernel.model.engine_events import EVENT_FILTERS


def events(call: Call) -> Outcome:
    """Show events; those of the past as a table, others as they come."""
    parsed = call.parsed
    layout = EventFormat(parsed.text("format"))
    filters = parse_filters(parsed.texts("filter"), EVENT_FILTERS)
    now = time.time_ns()
    since, until = parsed.maybe("since"), parsed.maybe("until")
    end = nanoseconds(until, now=now)
    found = call.engine.events(since=since, until=until, filters=filters)
    if end is not None and end <= now:
        rows = tuple(found)
        if parsed.text("format"):
            return Outcome(value=Text("".join(layout.line(event) for event in rows)))
        return Outcome(value=Table("events", rows))
    for event in found:
        call.face.write_out(layout.line(event))
    return Outcome(value=Nothing())
