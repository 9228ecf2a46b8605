"""Rows of ``network ls`` as docker shows them (docker/cli, cli/command/network/formatter.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from contextkernel.commands.outcome import TableOptions
    from contextkernel.model.networks import NetworkRow

NETWORK_HEADERS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}
NETWORK_FORMAT = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"


def network_fields(row: NetworkRow, options: TableOptions, _now: datetime) -> dict[str, Any]:
    """One row's values by template field."""
    network = row.network
    return {
        "CreatedAt": _go_time(network.created),
        "Driver": network.driver,
        "ID": network.id if options.no_trunc else network.id[:12],
        "IPv4": _flag(network.ipv4),
        "IPv6": _flag(network.ipv6),
        "Internal": _flag(network.internal),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(network.labels.items())),
        "Name": network.name,
        "Scope": "local",
        "Label": lambda name: network.labels.get(name, ""),
    }


def _go_time(nanoseconds: int) -> str:
    """Go's ``time.Time.String`` in UTC, in which docker keeps the time."""
    from datetime import UTC, datetime

    whole, fraction = divmod(nanoseconds, 10**9)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}{digits} +0000 UTC"


def _flag(value: bool) -> str:
    return "true" if value else "false"
