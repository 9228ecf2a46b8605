"""From networks and endpoints to the exact, ordered operations that make them, and back. Pure.

Order matters in these places: the filter rules of a network are there before its bridge carries anything; a link is
told to do without IPv6 before it is up, because it gives itself an address then; addresses come before the routes that
need them.
"""

from __future__ import annotations

import ipaddress
from typing import Literal, TypeAlias

import msgspec

from contextkernel.model.networks import Endpoint, NetworkRecord

Outbound = Literal["routed", "tap", "relay", "none"]

_MTU = "com.docker.network.driver.mtu"
_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
_TALK = "com.docker.network.bridge.enable_icc"
_FALSE = ("false", "0", "f", "F", "FALSE", "False")


class AddBridge(msgspec.Struct, frozen=True, tag=True):
    """Make a bridge, if there is none of this name."""

    name: str
    mac: str
    mtu: int


class AddVeth(msgspec.Struct, frozen=True, tag=True):
    """Make a pair of links: ``link`` here, on ``bridge`` and up; ``inside`` in the network namespace of ``place``."""

    link: str
    bridge: str
    place: str
    inside: str
    mac: str
    mtu: int


class RemoveLink(msgspec.Struct, frozen=True, tag=True):
    """Remove a link of this namespace; one that is not there is no error."""

    link: str


class Without6(msgspec.Struct, frozen=True, tag=True):
    """Keep a link from having IPv6 addresses."""

    place: str
    link: str


class AddAddress(msgspec.Struct, frozen=True, tag=True):
    """Give a link an address; ``place`` is empty for this namespace."""

    place: str
    link: str
    address: str
    bits: int


class LinkUp(msgspec.Struct, frozen=True, tag=True):
    """Switch a link on."""

    place: str
    link: str


class SetGateway(msgspec.Struct, frozen=True, tag=True):
    """The way out of ``place`` for one family; replaces an earlier one. An empty ``gateway`` removes it."""

    place: str
    link: str
    version: Literal[4, 6]
    gateway: str


class Forward(msgspec.Struct, frozen=True, tag=True):
    """Let this namespace pass packets on between its links."""

    ipv6: bool


class AddRules(msgspec.Struct, frozen=True, tag=True):
    """A table of packet filter rules for one bridge.

    Attributes:
        table: its name.
        masquerade: subnets that leave under the host's address.
        closed: nothing passes between this bridge and other links.
        apart: the containers of this bridge do not reach each other.
        redirect, redirect6: ports of this namespace that outbound TCP over IPv4 and IPv6 is led to; 0 for none.
        own: the bridge's subnets, which are not outbound.
    """

    table: str
    bridge: str
    masquerade: tuple[str, ...]
    closed: bool
    apart: bool
    redirect: int
    redirect6: int = 0
    own: tuple[str, ...] = ()


class RemoveRules(msgspec.Struct, frozen=True, tag=True):
    """Remove a table; one that is not there is no error."""

    table: str


class GuardLink(msgspec.Struct, frozen=True, tag=True):
    """A table of its own name that lets nothing in by a link but what answers somebody here."""

    link: str


class LeadNames(msgspec.Struct, frozen=True, tag=True):
    """In ``place``: questions for the resolver's address are led to these ports, so that port 53 stays free there."""

    place: str
    address: str
    udp: int
    tcp: int


class AcceptForwarded(msgspec.Struct, frozen=True, tag=True):
    """Where another firewall drops what it does not know (docker does): let this bridge's packets pass there."""

    bridge: str


class ForgetForwarded(msgspec.Struct, frozen=True, tag=True):
    """Take back :class:`AcceptForwarded`."""

    bridge: str


Operation: TypeAlias = (
    AddBridge
    | AddVeth
    | RemoveLink
    | Without6
    | AddAddress
    | LinkUp
    | SetGateway
    | Forward
    | AddRules
    | RemoveRules
    | GuardLink
    | LeadNames
    | AcceptForwarded
    | ForgetForwarded
)


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """Where bridges are made.

    Attributes:
        shared: in the host's own network namespace, with its routes and other firewalls; else in one of our own.
        outbound: how what leaves a bridge goes on.
        by: with ``tap``: name of the program.
        redirect, redirect6: with ``relay``: the ports that outbound TCP over IPv4 and IPv6 is led to; 0 for none.
        filters: there is a packet filter; without one nothing keeps the networks of one user apart.
    """

    shared: bool
    outbound: Outbound
    by: str = ""
    redirect: int = 0
    redirect6: int = 0
    filters: bool = True

    @property
    def way(self) -> str:
        """How containers reach the outside, in a word: the name of the program, where there is one."""
        return self.by or self.outbound


def plan_network(network: NetworkRecord, ground: Ground) -> tuple[Operation, ...]:
    """Bring a network up.

    Args:
        network: with driver ``bridge``.
        ground: where.
    """
    bridge = network.bridge
    operations: list[Operation] = []
    leaves = not network.internal and ground.outbound in ("routed", "tap")
    hidden = leaves and network.options.get(_MASQUERADE, "true") not in _FALSE
    subnets = tuple(pool.subnet for pool in network.pools)
    relayed = bool(ground.redirect or ground.redirect6) and not network.internal
    if ground.filters:
        operations.append(
            AddRules(
                table=bridge,
                bridge=bridge,
                masquerade=subnets if hidden else (),
                closed=network.internal or ground.outbound in ("none", "relay"),
                apart=network.options.get(_TALK, "true") in _FALSE,
                redirect=ground.redirect if relayed else 0,
                redirect6=ground.redirect6 if relayed else 0,
                own=subnets if relayed else (),
            )
        )
    if ground.shared:
        operations.append(AcceptForwarded(bridge))
    operations.append(AddBridge(bridge, _bridge_mac(network), mtu(network)))
    if not network.ipv6:
        operations.append(Without6("", bridge))
    operations += [
        AddAddress("", bridge, pool.gateway, ipaddress.ip_network(pool.subnet).prefixlen) for pool in network.pools
    ]
    operations.append(LinkUp("", bridge))
    if leaves:
        operations.append(Forward(network.ipv6))
    return tuple(operations)


def plan_endpoint(network: NetworkRecord, endpoint: Endpoint, place: str) -> tuple[Operation, ...]:
    """Connect the network namespace ``place`` to a network that is up."""
    inside = endpoint.interface
    operations: list[Operation] = [
        AddVeth(endpoint.link, network.bridge, place, inside, endpoint.mac, mtu(network)),
    ]
    if not endpoint.ip6:
        operations.append(Without6(place, inside))
    operations.append(LinkUp(place, inside))
    if endpoint.ip:
        operations.append(AddAddress(place, inside, endpoint.ip, endpoint.bits))
    if endpoint.ip6:
        operations.append(AddAddress(place, inside, endpoint.ip6, endpoint.bits6))
    # docker takes them for addresses of the whole link-local network
    operations += [AddAddress(place, inside, text, 64 if ":" in text else 16) for text in endpoint.link_local]
    return tuple(operations)


def plan_gateways(endpoints: tuple[Endpoint, ...], place: str) -> tuple[Operation, ...]:
    """The ways out of ``place``: of the connection with the highest priority, then of the first by name of network."""
    operations: list[Operation] = []
    ordered = sorted(endpoints, key=lambda endpoint: (-endpoint.priority, endpoint.network))
    for version in (4, 6):
        for endpoint in ordered:
            gateway = endpoint.gateway if version == 4 else endpoint.gateway6
            if gateway:
                operations.append(SetGateway(place, endpoint.interface, version, gateway))
                break
    return tuple(operations)


def undo(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """What takes ``operations`` back, the last first. What goes with a link needs no step of its own."""
    steps: list[Operation] = []
    for operation in reversed(operations):
        match operation:
            case AddBridge(name):
                steps.append(RemoveLink(name))
            case AddVeth(link):
                steps.append(RemoveLink(link))
            case AddRules(table):
                steps.append(RemoveRules(table))
            case GuardLink(link):
                steps.append(RemoveRules(link))
            case AcceptForwarded(bridge):
                steps.append(ForgetForwarded(bridge))
            case _:
                pass
    return tuple(steps)


def mac_of(ip: str, ip6: str) -> str:
    """A link address that is always the same for one address, so that nobody's neighbour table grows stale.

    It is docker's of old: ``02:42`` and the four bytes of the IPv4 address; of an IPv6 address the last four.
    """
    data = ipaddress.ip_address(ip or ip6).packed[-4:]
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42 if ip else 0x46, *data))


def mtu(network: NetworkRecord) -> int:
    """Largest packet of a network's links, in bytes."""
    text = network.options.get(_MTU, "")
    return int(text) if text.isdigit() and int(text) else 1500


def _bridge_mac(network: NetworkRecord) -> str:
    gateway = network.pools[0].gateway if network.pools else "0.0.0.0"  # noqa: S104 - never bound to
    version = ipaddress.ip_address(gateway).version
    return mac_of(gateway if version == 4 else "", gateway)
