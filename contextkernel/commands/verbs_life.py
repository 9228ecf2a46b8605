"""Verbs about the course of containers' lives, and what is told of it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, cast

from contextkernel.commands import run_resources
from contextkernel.commands.call import Call, for_each_name
from contextkernel.commands.event_text import EventFormat
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Grid, Nothing, Outcome, Ports, Table, Text
from contextkernel.commands.values import parse_filters
from contextkernel.commands.verbs_container import stop_options
from contextkernel.engine.moments import nanoseconds
from contextkernel.errors import InvalidInput, NotFound, TemplateProblem
from contextkernel.model.engine_events import EVENT_FILTERS

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.updating import UpdateKeywords

_BAD_FORMAT = 64  # docker/cli, cli/command/system/events.go


def events(call: Call) -> Outcome:
    """Show events; those of the past as a table, others as they come."""
    parsed = call.parsed
    try:
        layout = EventFormat(parsed.text("format"))
    except TemplateProblem as problem:
        problem.exit_code = _BAD_FORMAT
        raise
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


def restart(call: Call) -> Outcome:
    """Stop containers and start them again."""
    timeout, signal = stop_options(call)
    return for_each_name(call.parsed.arguments, lambda name: call.engine.restart(name, timeout=timeout, signal=signal))


def rename(call: Call) -> Outcome:
    """Give a container another name."""
    old, new = (word.strip() for word in call.parsed.arguments)
    if not old.strip("/") or not new:
        raise InvalidInput("neither the old nor the new name of a container may be empty")
    call.engine.rename(old, new)
    return Outcome(value=Nothing())


def update(call: Call) -> Outcome:
    """Change what containers were created with."""
    parsed = call.parsed
    if not any(parsed.given(option.name) for option in parsed.command.options):
        raise usage_problem("nothing to update", more="give one option or more", exit_code=1)
    wanted = update_keywords(parsed)
    warnings: list[str] = []

    outcome = for_each_name(parsed.arguments, lambda name: warnings.extend(call.engine.update(name, **wanted)))
    if not warnings:
        return outcome
    # docker prints them on standard output, after the names
    text = outcome.value.text if isinstance(outcome.value, Text) else ""
    text += "".join(f"{warning}\n" for warning in warnings)
    return Outcome(value=Text(text), exit_code=outcome.exit_code, problems=outcome.problems)


def update_keywords(parsed: Parsed) -> UpdateKeywords:
    """The options of ``update`` as keyword arguments of the engine."""
    wanted = cast("UpdateKeywords", run_resources.changes(parsed))
    if parsed.given("restart"):
        wanted["restart_policy"] = parsed.text("restart")
    return wanted


def top(call: Call) -> Outcome:
    """The processes of a container."""
    name, *options = call.parsed.arguments
    table = call.engine.top(name, options)
    return Outcome(value=Grid(table.titles, table.processes))


def port(call: Call) -> Outcome:
    """Published ports; of one port where it was given."""
    name, *wanted = call.parsed.arguments
    ports = call.engine.ports(name)
    if not wanted:
        published = [(key, one) for key, bindings in ports.items() for one in bindings or ()]
        text = _lines([f"{key} -> {_place(one)}" for key, one in published])
        places = []
        for key, one in published:
            inside, _, kind = key.partition("/")
            places.append((int(inside), kind, one.get("HostIp", ""), int(one["HostPort"])))
        return Outcome(value=Ports(text, tuple(sorted(places))))
    number, slash, kind = wanted[0].partition("/")
    if not number.isdigit() or (slash and kind not in ("tcp", "udp", "sctp")):
        raise InvalidInput(f"invalid port {wanted[0]!r}", hint="such as 80 or 53/udp")
    found = ports.get(f"{number}/{kind or 'tcp'}")
    if not found:
        public = ", ".join(key for key, bindings in ports.items() if bindings)
        raise NotFound(
            f"no public port {wanted[0]!r} published for {name}",
            hint=f"published are: {public}" if public else "publish one with -p when the container is made",
        )
    return _listed([_place(one) for one in found])


def _place(binding: dict[str, str]) -> str:
    address = binding.get("HostIp", "")
    return f"{f'[{address}]' if ':' in address else address}:{binding.get('HostPort', '')}"


def _listed(lines: list[str]) -> Outcome:
    return Outcome(value=Text(_lines(lines)) if lines else Nothing())


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(lines, key=_natural))


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Numbers inside of texts sort as numbers."""
    pieces = re.findall(r"\d+|\D+", text)
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces]
