"""What happened to containers, images, volumes and networks: docker's events, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

EventType = Literal["container", "image", "volume", "network", "builder"]

#: docker's keys of ``events --filter`` (moby, daemon/events/filter.go)
EVENT_FILTERS = (
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
)
#: event words with a detail behind a colon; a filter without one takes them all
_DETAILED = frozenset({"health_status", "exec_create", "exec_start"})


class EngineEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Attributes:
        type: what it happened to.
        action: docker's word; ``exec_create: ls -l`` and ``health_status: healthy`` have a detail.
        id: of the container, image or network; a volume's name.
        attributes: docker's, name first among them; a container's labels too.
        time: nanoseconds since the epoch.
    """

    type: EventType
    action: str
    id: str
    attributes: dict[str, str] = {}
    time: int


def includes(event: EngineEvent, filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether an event passes docker's ``--filter``: any value of a key, all keys (moby, daemon/events/filter.go).

    Args:
        event: to look at.
        filters: values by key, those of :data:`EVENT_FILTERS`.
    """
    name = event.attributes.get("name", "")
    for key, values in filters.items():
        if key == "event":
            fuzzy = bool(_DETAILED & set(values))
            passes = any(event.action.startswith(value) if fuzzy else event.action == value for value in values)
        elif key == "type":
            passes = event.type in values
        elif key == "scope":
            passes = "local" in values
        elif key == "label":
            passes = all(_has(event.attributes, value) for value in values)
        elif key == "image":
            image = name if event.type == "image" else event.attributes.get("image", "")
            passes = any(value in (event.id, image, _untagged(event.id), _untagged(image)) for value in values)
        else:
            passes = any(event.id.startswith(value) or name.startswith(value) for value in values)
        if not passes:
            return False
    return True


def _has(attributes: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in attributes and (not equals or attributes[key] == value)


def _untagged(image: str) -> str:
    head, colon, tag = image.partition("@")[0].rpartition(":")
    return head if colon and "/" not in tag else image.partition("@")[0]
