"""What a container is to have of networks."""

from __future__ import annotations

from typing import Literal

import msgspec

from contextkernel.model.networks import Joining

Protocol = Literal["tcp", "udp", "sctp"]


class PortBinding(msgspec.Struct, frozen=True, kw_only=True):
    """A port of the container that is to be reached through one of the host's (``-p``).

    Attributes:
        container_port: inside, 1 to 65535.
        protocol: of both.
        host_ip: address of the host to listen on; empty for all.
        host_port: first port that may be taken, 0 for any free one.
        host_port_end: last port that may be taken; the same as ``host_port`` where it is one.
    """

    container_port: int
    protocol: Protocol = "tcp"
    host_ip: str = ""
    host_port: int = 0
    host_port_end: int = 0


class Networking(msgspec.Struct, frozen=True, kw_only=True):
    """What a container is to have of networks, besides which kind it is (``ContainerSpec.network``).

    Attributes:
        joins: the networks it is connected to when it runs; ``network connect`` and ``disconnect`` change them. Empty
            for the networks ``host``, ``none`` and another container's, and for ``default`` alone.
        ports: published ports.
        publish_all: publish every exposed port at a free one of the host (``-P``).
        exposed: ``PORT/PROTOCOL``, of the image and of ``--expose``.
        domainname: what follows the host name.
        servers, search, options: for /etc/resolv.conf (``--dns``, ``--dns-search``, ``--dns-option``).
        hosts: ``NAME:ADDRESS`` for /etc/hosts; ``host-gateway`` as the address is the host's.
        links: ``CONTAINER:ALIAS`` on the default network.
        mac: link address on the first network.
    """

    joins: tuple[Joining, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    publish_all: bool = False
    exposed: tuple[str, ...] = ()
    domainname: str = ""
    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    mac: str = ""
