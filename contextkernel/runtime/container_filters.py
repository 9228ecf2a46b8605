"""Docker's filters for ``ps`` (moby, daemon/list.go). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.errors import InvalidInput

if TYPE_CHECKING:
    from contextkernel.model.results import ContainerRow

STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
HEALTH = ("none", "starting", "healthy", "unhealthy")
#: those that are about other objects, which the caller resolves first
_RESOLVED = ("ancestor", "before", "since")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?\Z")


def check(filters: Mapping[str, Sequence[str]]) -> None:
    """Refuse what cannot be.

    Raises:
        InvalidInput: an unknown key, or a value that the key does not take.
    """
    known = sorted((*_TESTS, *_RESOLVED))
    for key, values in filters.items():
        if key not in known:
            raise InvalidInput(f"invalid filter {key!r}", hint=f"one of {', '.join(known)}")
        for value in values:
            problem, hint = _problem(key, value)
            if problem:
                raise InvalidInput(f"invalid filter '{key}={value}': {problem}", hint=hint)


def _problem(key: str, value: str) -> tuple[str, str]:
    if key == "status" and value not in STATES:
        return "no such state", f"one of {', '.join(STATES)}"
    if key == "health" and value not in HEALTH:
        return "no such health", f"one of {', '.join(HEALTH)}"
    if key == "exited" and not value.removeprefix("-").isdigit():
        return "an exit code is a whole number", "such as exited=137"
    if key == "is-task" and value.lower() not in ("0", "1", "true", "false"):
        return "neither true nor false", "true or false"
    if key in ("publish", "expose") and not _PORTS.match(value):
        return "not a port", "such as 80, 80/udp or 8000-8010/tcp"
    return "", ""


def chosen(
    rows: Iterable[ContainerRow],
    filters: Mapping[str, Sequence[str]],
    *,
    ancestors: frozenset[str] = frozenset(),
    before: str = "",
    since: str = "",
) -> Iterator[ContainerRow]:
    """The rows that pass: any value of a key, all keys.

    Args:
        rows: newest first.
        filters: checked.
        ancestors: ids of the images of ``ancestor``.
        before: id of the container that all must be older than; empty for none.
        since: id of the container that all must be newer than.
    """
    waiting = bool(before)
    for row in rows:
        if waiting:
            waiting = row.id != before
            continue
        if since and row.id == since:
            return
        if "ancestor" in filters and row.image_id not in ancestors:
            continue
        if all(_passes(row, key, values) for key, values in filters.items() if key not in _RESOLVED):
            yield row


def _passes(row: ContainerRow, key: str, values: Sequence[str]) -> bool:
    tests = [_TESTS[key](row, value) for value in values]
    return all(tests) if key == "label" else any(tests)


def _has_label(row: ContainerRow, value: str) -> bool:
    key, equals, wanted = value.partition("=")
    return key in row.labels and (not equals or row.labels[key] == wanted)


def _is_named(row: ContainerRow, value: str) -> bool:
    """Equal, or found by the value as a regular expression; with and without docker's slash."""
    names = (row.name, f"/{row.name}")
    if value in names:
        return True
    try:
        return any(re.search(value, name) for name in names)
    except re.error:
        return False


def _has_port(row: ContainerRow, value: str, *, public: bool) -> bool:
    found = _PORTS.match(value)
    if not found:
        return False
    first, last, kind = int(found[1]), int(found[2] or found[1]), found[3] or "tcp"
    numbers = (port.public if public else port.private for port in row.port_list if port.type == kind)
    return any(first <= number <= last for number in numbers if number)


def _has_mount(row: ContainerRow, value: str) -> bool:
    return any(value in (mount.target, mount.name or mount.source) for mount in row.mounts)


def _is_on(row: ContainerRow, value: str) -> bool:
    return value in row.networks or any(full.startswith(value) for full in row.networks.values())


_ENDED = ("exited", "dead")
_TESTS: dict[str, Callable[[ContainerRow, str], bool]] = {
    "exited": lambda row, value: row.state in _ENDED and row.started is not None and row.exit_code == int(value),
    "expose": lambda row, value: _has_port(row, value, public=False),
    "health": lambda row, value: (row.health or "none") == value,
    "id": lambda row, value: row.id.startswith(value),
    "is-task": lambda _row, value: value.lower() in ("0", "false"),
    "label": _has_label,
    "name": _is_named,
    "network": _is_on,
    "publish": lambda row, value: _has_port(row, value, public=True),
    "status": lambda row, value: row.state == value,
    "volume": _has_mount,
}
