"""What the service does for attached containers besides links: published ports, names, and answers to questions."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

from contextkernel.model.networking import PortBinding
from contextkernel.model.networks import BoundPort, NetworkState
from contextkernel.network import texts
from contextkernel.network.bench import Bench
from contextkernel.network.dial import Dialer, DirectDialer, SuppliedDialer
from contextkernel.network.dns import NameServer, Resolver
from contextkernel.network.holdings import Held
from contextkernel.network.loop import Loop
from contextkernel.network.messages import Attach, Failed
from contextkernel.network.names import Names, Server, View
from contextkernel.network.plan import LeadNames, Outbound
from contextkernel.network.ports import Allocation, PortTable, Target
from contextkernel.network.subnets import parse_subnet
from contextkernel.network.upstream import Upstream

_DNS = 53
_LOOPBACK = "127.0.0.1"  # where the packet filter leads what a namespace sends to itself


class Servers:
    """What all containers share.

    Args:
        loop: of this process.
        bench: makes sockets where containers are reached.
        shared: containers are reached from this network namespace.
        outbound: how containers reach the outside.
    """

    def __init__(self, loop: Loop, bench: Bench, *, shared: bool, outbound: Outbound) -> None:
        self.loop = loop
        self.bench = bench
        self.outbound = outbound
        self.ports = PortTable(loop)
        self.names = Names()
        outside = DirectDialer(loop)
        self._supplied = None if shared else SuppliedDialer(loop, self._order)
        self.dialer: Dialer = self._supplied or outside
        self.server = NameServer(loop, self.names, Upstream(loop, outside, self.dialer))

    def _order(self, family: int, kind: int, count: int) -> None:
        """Sockets of the place where containers are."""

        def made(answer: list[socket.socket] | Failed) -> None:
            if self._supplied is not None:
                self._supplied.supply(family, kind, [] if isinstance(answer, Failed) else answer)

        self.bench.make_sockets("", family, kind, made, count=count)


class Serving:
    """What is done for one container.

    Args:
        servers: shared by all.
        request: what it asked for.
        held: its connections, as they are now.
    """

    def __init__(self, servers: Servers, request: Attach, held: Callable[[], Sequence[Held]]) -> None:
        self._servers = servers
        self._request = request
        self._held = held
        self._allocation: Allocation | None = None
        self._resolver: Resolver | None = None
        self._closed = False
        self._named: set[tuple[str, str]] = set()

    @property
    def ports(self) -> tuple[BoundPort, ...]:
        """The ports that lead to it."""
        if self._allocation is None:
            return ()
        return tuple(
            BoundPort(
                container_port=one.container_port,
                protocol="udp" if one.protocol == "udp" else "tcp",
                host_ip=one.host_ip,
                host_port=one.host_port,
            )
            for one in self._allocation.published
        )

    @property
    def resolver(self) -> bool:
        """Whether names are resolved for it; on the default network only where there is no other way to a server."""
        relayed = self._servers.outbound in ("relay", "none")
        return relayed or any(not one.network.is_default for one in self._held())

    def take_ports(self) -> None:
        """Take its ports on the host.

        Raises:
            Conflict, HostUnsupported, InvalidInput: see :meth:`PortTable.take`; none is taken then.
        """
        if all(one.network.internal for one in self._held()):
            return  # nobody from outside is let in
        before = self._request.before
        bindings = self._request.ports if before is None else again(before)
        if bindings:
            self._allocation = self._servers.ports.take(self._request.name, bindings)

    def listen(self, place: str, done: Callable[[Failed | None], None]) -> None:
        """Have names resolved in its network namespace, if they are to be."""
        if not self.resolver or self._resolver is not None:
            done(None)
            return

        def led(pair: tuple[socket.socket, socket.socket]) -> None:
            udp, tcp = (one.getsockname()[1] for one in pair)

            def tried(failure: Failed | None) -> None:
                if failure is None:
                    serve(pair)
                    return
                for one in pair:
                    one.close()
                # no packet filter: then the container cannot have a name server of its own at that port
                self._make_sockets(place, (texts.RESOLVER, _DNS), serve, done)

            self._servers.bench.apply([LeadNames(place, texts.RESOLVER, udp, tcp)], tried)

        def serve(pair: tuple[socket.socket, socket.socket]) -> None:
            if self._closed:  # the container has ended meanwhile
                for one in pair:
                    one.close()
                return
            self._resolver = self._servers.server.serve_many(lambda _: self._view(), *pair)
            done(None)

        self._make_sockets(place, (_LOOPBACK, 0), led, done)

    def _make_sockets(
        self,
        place: str,
        address: tuple[str, int],
        made: Callable[[tuple[socket.socket, socket.socket]], None],
        failed: Callable[[Failed | None], None],
    ) -> None:
        """One for datagrams and one for streams, in the container."""
        sockets: list[socket.socket] = []
        failures: list[Failed] = []

        def one(answer: list[socket.socket] | Failed) -> None:
            if isinstance(answer, Failed):
                failures.append(answer)
            else:
                sockets.extend(answer)
            if len(sockets) == 2:
                made((sockets[0], sockets[1]))
            elif len(sockets) + len(failures) == 2:
                for made_in_vain in sockets:
                    made_in_vain.close()
                failed(failures[0])

        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            self._servers.bench.make_sockets(
                place, socket.AF_INET, kind, one, bind=address, listen=kind == socket.SOCK_STREAM
            )

    def update(self) -> None:
        """Its connections are made, or have changed: lead others there."""
        held = self._held()
        wanted = {(one.network.id, one.endpoint.id): one for one in held if not one.network.is_default}
        for key in self._named - set(wanted):
            self._servers.names.remove(*key)
        for key, one in wanted.items():
            self._servers.names.add(*key, one.endpoint.names, ipv4=one.endpoint.ip, ipv6=one.endpoint.ip6)
        self._named = set(wanted)
        if self._allocation is None:
            return
        open_ones = [one.endpoint for one in held if not one.network.internal]
        if not open_ones:
            self._allocation.stop()
            return
        ipv4 = next((one.ip for one in open_ones if one.ip), None)
        ipv6 = next((one.ip6 for one in open_ones if one.ip6), None)
        self._allocation.start(self._servers.dialer, Target(ipv4, ipv6))

    def close(self) -> None:
        """Give everything back. Idempotent."""
        self._closed = True
        for key in self._named:
            self._servers.names.remove(*key)
        self._named = set()
        if self._resolver is not None:
            self._resolver.close()
            self._resolver = None
        if self._allocation is not None:
            self._allocation.close()
            self._allocation = None

    def _view(self) -> View:
        held = self._held()
        subnets = [parse_subnet(pool.subnet) for one in held for pool in one.network.pools]
        given = [
            Server(text, inside=any(ipaddress.ip_address(text) in subnet for subnet in subnets))
            for text in self._request.servers
        ]
        return View(
            networks=tuple((one.network.id, one.network.name) for one in held if not one.network.is_default),
            links={one.network.id: dict(one.wish.links) for one in held if one.wish.links},
            servers=tuple(given) or None,
            forwards=not all(one.network.internal for one in held),
            dotted=self._request.dotted,
        )


def again(before: NetworkState) -> tuple[PortBinding, ...]:
    """The ports a container had, to be taken again."""
    return tuple(
        PortBinding(
            container_port=one.container_port,
            protocol=one.protocol,
            host_ip=one.host_ip,
            host_port=one.host_port,
            host_port_end=one.host_port,
        )
        for one in before.ports
    )
