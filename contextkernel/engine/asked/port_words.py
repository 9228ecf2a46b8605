"""Ports in words: ``-p``, ``--expose``, and docker-py's ``ports``. Pure.

Source of the grammar: docker/go-connections, nat (ParsePortSpec, ParsePortRange); docker/cli, container/opts.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, get_args

from contextkernel.errors import InvalidInput
from contextkernel.model.given import several
from contextkernel.model.networking import PortBinding, Protocol

#: docker-py's: a port, an address and a port, several of these, or ``None`` for any
PortWish: TypeAlias = "int | str | tuple[str, int] | Sequence[int | tuple[str, int]] | None"

_HIGHEST = 65535
_HINT = "-p [ADDRESS:][HOST_PORT:]PORT[/PROTOCOL], for instance -p 8080:80"


def parse_ports(words: Iterable[str]) -> tuple[PortBinding, ...]:
    """Words of ``-p``; ranges become one binding a port.

    Raises:
        InvalidInput: one that cannot be read; the messages are docker's.
    """
    return tuple(binding for word in words for binding in _bindings(_short(word)))


def ports_from(wanted: Mapping[str, PortWish] | str | Iterable[str]) -> tuple[PortBinding, ...]:
    """Docker-py's mapping of ``PORT/PROTOCOL`` to places of the host, or words of ``-p``.

    Raises:
        InvalidInput: one that cannot be read.
    """
    if not isinstance(wanted, Mapping):
        return parse_ports(several(wanted))
    words: list[str] = []
    for inside, places in wanted.items():
        choice = places if isinstance(places, list) else [places]
        for place in choice:
            match place:
                case None:
                    words.append(str(inside))
                case (str(address), port):
                    shown = f"[{address}]" if ":" in address else address
                    words.append(f"{shown}:{'' if port is None else port}:{inside}")
                case _:
                    words.append(f"{place}:{inside}")
    return parse_ports(words)


def parse_exposed(words: Iterable[str]) -> tuple[str, ...]:
    """Words of ``--expose``: ``PORT[-PORT][/PROTOCOL]``, as one ``PORT/PROTOCOL`` a port.

    Raises:
        InvalidInput: one that cannot be read.
    """
    found: list[str] = []
    for word in words:
        if ":" in word:
            raise InvalidInput(f"invalid port format for --expose: {word}", hint="PORT[-PORT][/PROTOCOL]")
        text, _, protocol = word.partition("/")
        try:
            first, last = _range(text)
        except ValueError as problem:
            raise InvalidInput(
                f"invalid range format for --expose: {text}, error: {problem}", hint="PORT[-PORT][/PROTOCOL]"
            ) from None
        found += [f"{port}/{protocol or 'tcp'}" for port in range(first, last + 1)]
    return tuple(dict.fromkeys(found))


def _short(word: str) -> str:
    """The long form ``published=8080,target=80,protocol=udp`` as the short one."""
    if "=" not in word:
        return word
    given = {"published": "", "target": "", "protocol": "tcp"}
    for part in word.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise InvalidInput(f"invalid publish opts format (should be name=value but got '{part}')", hint=_HINT)
        given[key] = value
    return f"{given['published']}:{given['target']}/{given['protocol']}"


def _bindings(word: str) -> Iterator[PortBinding]:
    address, outside, inside = _split(word)
    inside, slash, protocol = inside.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if not inside:
        raise InvalidInput(f"No port specified: {word}<empty>", hint=_HINT)
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidInput(f"Invalid ip address: {address}", hint=_HINT) from None
    first, last = _checked(inside, "containerPort")
    low, high = _checked(outside, "hostPort") if outside else (0, 0)
    if outside and last - first != high - low and last != first:
        raise InvalidInput(
            f"Invalid ranges specified for container and host Ports: {inside} and {outside}",
            hint="both must have the same length, or the container's is a single port",
        )
    if protocol not in get_args(Protocol):
        raise InvalidInput(f"Invalid proto: {protocol}", hint="tcp, udp or sctp")
    known: Protocol = "tcp" if protocol == "tcp" else "udp" if protocol == "udp" else "sctp"
    for number in range(last - first + 1):
        single = last == first
        yield PortBinding(
            container_port=first + number,
            protocol=known,
            host_ip=address,
            host_port=low + number if outside else 0,
            host_port_end=(high if single else low + number) if outside else 0,
        )


def _split(word: str) -> tuple[str, str, str]:
    """Address, host's ports and container's ports."""
    parts = word.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _checked(text: str, what: str) -> tuple[int, int]:
    try:
        return _range(text)
    except ValueError:
        raise InvalidInput(f"Invalid {what}: {text}", hint=_HINT) from None


def _range(text: str) -> tuple[int, int]:
    """First and last port of ``PORT[-PORT]``.

    Raises:
        ValueError: not that; the text is Go's.
    """
    low, dash, high = text.partition("-")
    first = _number(low)
    last = _number(high) if dash else first
    if last < first:
        raise ValueError(f"Invalid range specified for the Port: {text}")
    return first, last


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    number = int(text)
    if number > _HIGHEST:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return number
