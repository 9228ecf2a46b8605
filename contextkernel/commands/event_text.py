"""Events as docker's command line prints them (docker/cli, cli/command/system/events.go). Pure."""

from __future__ import annotations

import time
from typing import Any

from contextkernel.commands.template_values import GoMap, GoStruct, to_json
from contextkernel.model.engine_events import EngineEvent


def event_line(event: EngineEvent) -> str:
    """``2026-01-02T03:04:05.000000000Z container start <id> (image=busybox, name=web)``, without a line end."""
    seconds, rest = divmod(event.time, 10**9)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(event.attributes.items()))
    tail = f" ({attributes})" if attributes else ""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{rest:09d}{zone} {event.type} {event.action} {event.id}{tail}"


def event_document(event: EngineEvent) -> GoStruct:
    """Docker's message (Engine API, EventMessage): fields for templates, and its JSON."""
    attributes = GoMap(sorted(event.attributes.items()))
    actor = {"ID": event.id, "Attributes": attributes}
    common = {"Type": event.type, "Action": event.action, "Actor": actor}
    status: dict[str, Any] = {}
    if event.type == "container":
        status = {"status": event.action, "id": event.id, "from": event.attributes.get("image", "")}
    elif event.type == "image":
        status = {"status": event.action, "id": event.id}
    wire = {**status, **common, "scope": "local", "time": event.time // 10**9, "timeNano": event.time}
    fields = {
        "Status": status.get("status", ""),
        "ID": status.get("id", ""),
        "From": status.get("from", ""),
        **common,
        "Scope": "local",
        "Time": event.time // 10**9,
        "TimeNano": event.time,
    }
    return GoStruct(fields, {key: value for key, value in wire.items() if key != "from" or value})


class EventFormat:
    """How ``events --format`` wants its lines.

    Args:
        layout: empty for docker's line, ``json``, or a template.

    Raises:
        TemplateProblem: not a template, or a field that events do not have.
    """

    def __init__(self, layout: str) -> None:
        from contextkernel.commands.template import Template

        self._json = layout == "json"
        self._template = Template(layout) if layout and not self._json else None
        if self._template is not None:
            self._template.render(event_document(EngineEvent(type="container", action="", id="", time=0)))

    def line(self, event: EngineEvent) -> str:
        """One event, with its line end."""
        if self._json:
            return to_json(event_document(event)) + "\n"
        if self._template is not None:
            return self._template.render(event_document(event)) + "\n"
        return event_line(event) + "\n"
