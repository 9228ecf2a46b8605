"""Networks as values: what one is, how a container is to be connected to it, and what it got."""

from __future__ import annotations

from typing import Literal

import msgspec

Driver = Literal["bridge", "host", "null"]


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of one family.

    Attributes:
        subnet: ``ADDRESS/BITS``.
        gateway: the bridge's address; every container's way out.
        ip_range: the part of the subnet that addresses are taken from; empty for all of it.
        auxiliary: names and addresses that are never given to a container.
        gateway_chosen: the gateway is only what follows from a subnet that was asked for; ``inspect`` does not show it.
    """

    subnet: str
    gateway: str
    ip_range: str = ""
    auxiliary: dict[str, str] = {}
    gateway_chosen: bool = False


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A network as it was created; stored, and never changed afterwards.

    Attributes:
        id: 64 hex digits.
        name: unique in the store.
        driver: ``host`` and ``null`` are those of the networks ``host`` and ``none``.
        pools: IPv4 first.
        given: the subnets were asked for; else they were chosen among those free on this host at that time.
        internal: no way out.
        options, labels: as given.
        created: nanoseconds since the epoch.
    """

    id: str
    name: str
    driver: Driver = "bridge"
    pools: tuple[Pool, ...] = ()
    given: bool = False
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    created: int

    @property
    def is_default(self) -> bool:
        """Whether it is the network of containers that ask for none: no names are resolved there."""
        return self.name == "bridge"

    @property
    def bridge(self) -> str:
        """Name of the bridge device, unique on the host."""
        return self.options.get("com.docker.network.bridge.name") or f"ck-{self.id[:12]}"


class Joining(msgspec.Struct, frozen=True, kw_only=True):
    """How a container is to be connected to one network, as the user said it.

    Attributes:
        network: name or id.
        aliases: more names that others on this network find it by.
        links: ``CONTAINER[:ALIAS]`` names that it finds others by.
        ip, ip6, mac: addresses; empty for any.
        link_local: more addresses of the link.
        options: of the driver.
        priority: the connection with the highest gives the way out.
    """

    network: str
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    link_local: tuple[str, ...] = ()
    options: dict[str, str] = {}
    priority: int = 0


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A container's connection to one network, as it is.

    Attributes:
        network, network_id: name and id.
        id: of the connection, 64 hex digits.
        interface: name inside.
        link: name of the other end, on the bridge.
        ip, ip6: addresses, with ``bits`` and ``bits6``; empty for none.
        gateway, gateway6: ways out; empty for none.
        link_local: more addresses.
        names: what others on this network find it by.
    """

    network: str
    network_id: str
    id: str
    interface: str
    link: str
    mac: str
    ip: str = ""
    bits: int = 0
    gateway: str = ""
    ip6: str = ""
    bits6: int = 0
    gateway6: str = ""
    link_local: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    priority: int = 0


class BoundPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port of the container and the host's address and port that lead to it."""

    container_port: int
    protocol: Literal["tcp", "udp", "sctp"]
    host_ip: str
    host_port: int


class NetworkState(msgspec.Struct, frozen=True, kw_only=True):
    """What a running container has of networks.

    Attributes:
        mode: ``bridge``: of its own, connected to ``endpoints``; ``none``: of its own, not connected; ``host``: the
            host's; ``container``: another container's; empty: it does not run.
        reason: why it is not what was asked for, else empty.
        outbound: how it reaches the outside: ``routed``, ``tap``, ``relay``, ``none``.
    """

    mode: Literal["", "bridge", "none", "host", "container"] = ""
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[BoundPort, ...] = ()
    reason: str = ""
    outbound: str = ""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A connection to one network that a container is to get when it starts, with all names resolved.

    Attributes:
        network: what to connect to.
        endpoint: id of the connection, 64 hex digits.
        ip, ip6, mac, link_local: as asked for; empty for any.
        names: what others on this network are to find the container by.
        links: names that this container alone finds others by: its own name for them, and theirs.
        priority: see :class:`Joining`.
    """

    network: NetworkRecord
    endpoint: str
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    link_local: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    priority: int = 0


class NetworkLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """What a container's monitor is to do about networks; for a build step there is none.

    Attributes:
        mode: see :class:`NetworkState`.
        root: directory of the store.
        name: of the container.
        wishes: with ``bridge``: what to connect to.
        network: with ``none`` and ``host``: the predefined network, for events.
        pid: with ``container``: the init of the container whose network is shared.
        closed: with ``container``: that one was made without a network.
        may_fall_back: take the host's network where none of its own can be had, and say so; else that is an error.
        hosts: more ``(name, address)`` for /etc/hosts; the address ``host-gateway`` is that of the host.
        servers, search, options: for /etc/resolv.conf, instead of the host's where not empty.
    """

    mode: Literal["bridge", "none", "host", "container"]
    root: str
    name: str = ""
    wishes: tuple[Wish, ...] = ()
    network: NetworkRecord | None = None
    pid: int = 0
    closed: bool = False
    may_fall_back: bool = False
    hosts: tuple[tuple[str, str], ...] = ()
    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class NetworkRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``network ls``.

    Attributes:
        network: as it was created; with the subnets it has.
        containers: ids of the containers that run and are connected.
    """

    network: NetworkRecord
    containers: tuple[str, ...] = ()
