"""EXPOSE: port words into ``port/protocol`` (``dockerfile2llb/convert_expose.go``)."""

from __future__ import annotations

import ipaddress

from contextkernel.errors import InvalidInput

_PROTOCOLS = ("tcp", "udp", "sctp")
_LAST_PORT = 65535


def exposed_ports(word: str) -> tuple[str, ...]:
    """The ports of one word: ``80``, ``53/udp``, ``8000-8010/tcp``; ``[ip:]host:`` in front is accepted and dropped.

    Raises:
        InvalidInput: not a port, a range that runs backwards, or an unknown protocol.
    """
    address, host, container = _split(word)
    text, _, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    if not text:
        raise InvalidInput(f"EXPOSE {word}: no port given", hint="EXPOSE PORT[/PROTOCOL]; is a variable empty?")
    if protocol not in _PROTOCOLS:
        raise InvalidInput(f"EXPOSE {word}: unknown protocol {protocol!r}", hint=f"one of {', '.join(_PROTOCOLS)}")
    if address:
        try:
            ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise InvalidInput(f"EXPOSE {word}: {address!r} is not an address", hint="EXPOSE 80/tcp") from None
    first, last = _range(word, text)
    if host:
        host_first, host_last = _range(word, host)
        if last - first not in {0, host_last - host_first}:
            raise InvalidInput(f"EXPOSE {word}: the ranges {text} and {host} differ in length", hint="EXPOSE 80/tcp")
    return tuple(f"{port}/{protocol}" for port in range(first, last + 1))


def _split(word: str) -> tuple[str, str, str]:
    head, _, container = word.rpartition(":")
    address, _, host = head.rpartition(":")
    return address, host, container


def _range(word: str, text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    start = _port(word, first)
    stop = _port(word, last) if dash else start
    if stop < start:
        raise InvalidInput(f"EXPOSE {word}: the range {text} runs backwards", hint=f"EXPOSE {last}-{first}")
    return start, stop


def _port(word: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _LAST_PORT:
        raise InvalidInput(
            f"EXPOSE {word}: {text!r} is not a port",
            hint="a port is a number from 0 to 65535; it may come from a variable, which must then be set",
        )
    return int(text)
