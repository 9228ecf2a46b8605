"""Containers as ``ps`` lists them, out of the documents that ``inspect`` shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contextkernel.model.results import ContainerRow, MountRow, PortRow
from contextkernel.runtime import spec as rules
from contextkernel.runtime.fallbacks import TRACED

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec, RunState


def container_row(
    spec: ContainerSpec,
    state: RunState,
    document: Mapping[str, Any],
    *,
    image: str,
    size: int = 0,
    virtual_size: int = 0,
) -> ContainerRow:
    """One line.

    Args:
        spec: as created.
        state: what became of it.
        document: of the container, for ``inspect``.
        image: the name it is shown with.
        size, virtual_size: bytes.
    """
    settings = document.get("NetworkSettings") or {}
    networks = {name: (one or {}).get("NetworkID") or "" for name, one in (settings.get("Networks") or {}).items()}
    ports = tuple(port_rows(settings.get("Ports") or {})) if state.alive else ()
    return ContainerRow(
        id=spec.id,
        image=image,
        command=rules.shown_command(spec.argv),
        created=_when(spec.created),
        state=state.status,
        exit_code=state.exit_code,
        started=_when(state.started) if state.started else None,
        finished=_when(state.finished) if state.finished else None,
        ports=ports_text(ports),
        name=spec.name,
        labels=spec.labels,
        size=size,
        virtual_size=virtual_size,
        network=",".join(networks),
        image_id=str(spec.image_id),
        health=state.health.status if state.health is not None else "",
        networks=networks,
        mounts=tuple(
            MountRow(
                name=mount.get("Name") or "",
                source=mount.get("Source") or "",
                target=mount.get("Destination") or "",
                driver=mount.get("Driver") or "",
            )
            for mount in document.get("Mounts") or ()
        ),
        port_list=ports,
        isolation="none" if state.alive and state.isolation.get("Root") == TRACED else "",
    )


def _when(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def port_rows(ports: Mapping[str, Sequence[Mapping[str, str]] | None]) -> list[PortRow]:
    """Docker's ``NetworkSettings.Ports`` as rows, in docker's order: by private port, address, public port, type."""
    rows = [row for key, bindings in ports.items() for row in _of_port(key, bindings or ())]
    return sorted(rows, key=lambda row: (row.private, _address(row.address), row.public, row.type))


def _of_port(key: str, bindings: Sequence[Mapping[str, str]]) -> list[PortRow]:
    number, _, kind = key.partition("/")
    if not bindings:
        return [PortRow(private=int(number), type=kind)]
    return [
        PortRow(private=int(number), type=kind, address=one.get("HostIp", ""), public=int(one["HostPort"]))
        for one in bindings
    ]


def _address(text: str) -> tuple[int, bytes]:
    """Addresses in numerical order, version 4 first; none at all before them."""
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return (0, b"")
    return (address.version, address.packed)


def ports_text(rows: Sequence[PortRow]) -> str:
    """``90/tcp, 0.0.0.0:8080->80/tcp``: ports that follow each other are put together (docker/cli).

    Args:
        rows: in order.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    done: list[str] = []
    mapped: list[str] = []
    for row in rows:
        if row.address and row.public != row.private:
            mapped.append(f"{_host(row.address)}:{row.public}->{row.private}/{row.type}")
            continue
        key = (row.address, row.type)
        group = groups.setdefault(key, [row.private, row.private])
        if row.private == group[1] + 1:
            group[1] = row.private
        elif row.private != group[1]:
            done.append(_range(key, group))
            groups[key] = [row.private, row.private]
    return ", ".join([*done, *(_range(key, group) for key, group in groups.items()), *mapped])


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _range(key: tuple[str, str], group: Sequence[int]) -> str:
    address, kind = key
    text = str(group[0]) if group[0] == group[1] else f"{group[0]}-{group[1]}"
    return f"{_host(address)}:{text}->{text}/{kind}" if address else f"{text}/{kind}"
