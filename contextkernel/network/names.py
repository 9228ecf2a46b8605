"""Which names are found on which network, and what one container sees of them. Pure.

Docker's rules (moby, daemon/libnetwork: ``Sandbox.ResolveName``, ``Network.ResolveName``, ``Network.ResolveIP``): a
name is looked for on the networks of the asking container in their order, then without its last label on the network
that this label names, and so on; names that only this container has for others (``--link NAME:ALIAS``) come first;
upper and lower case are the same; an address is called by its container's first name and the network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

import msgspec


class Found(msgspec.Struct, frozen=True):
    """A name that there is; either family may have no address."""

    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()


class Server(msgspec.Struct, frozen=True):
    """A name server for what is not a container's name.

    Attributes:
        address: IPv4 or IPv6.
        inside: it is asked where containers are, not from the host.
        port: of the server.
    """

    address: str
    inside: bool = False
    port: int = 53


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What one container sees.

    Attributes:
        networks: (id, name) of those it is on, in the order in which they are asked.
        links: by network id: names that it alone has, and whose names they stand for.
        servers: are asked for everything else, one after the other; ``None``: those of the host.
        forwards: whether anything else is asked for at all; an internal network has no way out.
        dotted: names without a dot are left to the search list (``--dns-option ndots:N``).
    """

    networks: tuple[tuple[str, str], ...] = ()
    links: Mapping[str, Mapping[str, str]] = {}
    servers: tuple[Server, ...] | None = None
    forwards: bool = True
    dotted: bool = False


class _Entry(msgspec.Struct, frozen=True):
    names: tuple[str, ...]
    ipv4: str
    ipv6: str


class Names:
    """The names of all networks of a store."""

    def __init__(self) -> None:
        self._networks: dict[str, dict[str, _Entry]] = {}

    def add(self, network: str, endpoint: str, names: Sequence[str], *, ipv4: str = "", ipv6: str = "") -> None:
        """Let a container be found on a network; replaces what was said of this endpoint before.

        Args:
            network: id.
            endpoint: id of the container's connection to it.
            names: the container's own name first.
            ipv4, ipv6: its addresses, empty for none.
        """
        known = tuple(dict.fromkeys(name.lower() for name in names if name))
        self._networks.setdefault(network, {})[endpoint] = _Entry(known, ipv4, ipv6)

    def remove(self, network: str, endpoint: str) -> None:
        """Let a container be found no more. Idempotent."""
        entries = self._networks.get(network, {})
        entries.pop(endpoint, None)
        if not entries:
            self._networks.pop(network, None)

    def find(self, name: str, view: View) -> Found | None:
        """The addresses of a name; ``None`` if no container has it."""
        wanted = name.removesuffix(".").lower()
        labels = wanted.split(".")
        for count in range(len(labels), 0, -1):
            head, network = ".".join(labels[:count]), ".".join(labels[count:])
            found = self._find(head, network, view)
            if found is not None:
                return found
        return None

    def _find(self, name: str, network_name: str, view: View) -> Found | None:
        asked = [network for network, called in view.networks if network_name in ("", called.lower())]
        links = {network: _lower(view.links.get(network, {})) for network in asked}
        for network in asked:
            found = self._on(network, links[network][name]) if name in links[network] else None
            if found is not None:
                return found
        for network in asked:
            found = None if name in links[network] else self._on(network, name)
            if found is not None:
                return found
        return None

    def _on(self, network: str, name: str) -> Found | None:
        having = [entry for entry in self._networks.get(network, {}).values() if name in entry.names]
        if not having:
            return None
        ipv4 = dict.fromkeys(entry.ipv4 for entry in having if entry.ipv4)
        ipv6 = dict.fromkeys(entry.ipv6 for entry in having if entry.ipv6)
        return Found(tuple(ipv4), tuple(ipv6))

    def name_of(self, address: str, view: View) -> str | None:
        """What the container with an address is called: ``NAME.NETWORK``; ``None`` if it is nobody's here."""
        for network, called in view.networks:
            for entry in self._networks.get(network, {}).values():
                if address in (entry.ipv4, entry.ipv6) and entry.names:
                    return f"{entry.names[0]}.{called}"
        return None


def _lower(links: Mapping[str, str]) -> dict[str, str]:
    return {alias.lower(): target.lower() for alias, target in links.items()}


def reversed_address(name: str) -> str | None:
    """The address that a name below in-addr.arpa or ip6.arpa asks for; ``None`` if it is no whole address."""
    labels = name.removesuffix(".").lower().split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return str(ipaddress.IPv4Address(".".join(reversed(labels[:4]))))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
            return str(ipaddress.IPv6Address(int("".join(reversed(labels[:32])), 16)))
    except ValueError:
        return None
    return None


def servers_in(resolv_conf: str) -> tuple[str, ...]:
    """The first three name servers of a resolv.conf(5) that are addresses."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(str(ipaddress.ip_address(words[1])))
            except ValueError:
                continue
    return tuple(dict.fromkeys(found))[:3]
