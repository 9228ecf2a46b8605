"""What the service knows: networks that are up, containers that are attached, and the addresses they have. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from contextkernel.errors import Conflict
from contextkernel.model.networks import Endpoint, NetworkRecord, NetworkState, Wish
from contextkernel.network.ipam import Ipam
from contextkernel.network.plan import mac_of
from contextkernel.network.subnets import parse_subnet


class Held:
    """A container's connection to one network.

    Attributes:
        wish: as it was asked for.
        network: as it is up; its subnets may be others than those of the wish.
        endpoint: as it is.
    """

    def __init__(self, wish: Wish, network: NetworkRecord, endpoint: Endpoint) -> None:
        self.wish = wish
        self.network = network
        self.endpoint = endpoint


class Holdings:
    """The connections of all containers; the authority for addresses."""

    def __init__(self) -> None:
        self._ipam = Ipam()
        self._held: dict[str, dict[str, Held]] = {}

    def of(self, container: str) -> tuple[Held, ...]:
        """A container's connections, in the order they were made."""
        return tuple(self._held.get(container, {}).values())

    def endpoints(self, container: str) -> tuple[Endpoint, ...]:
        """The same as endpoints."""
        return tuple(held.endpoint for held in self.of(container))

    def on(self, network_id: str) -> tuple[tuple[str, Held], ...]:
        """Containers that are connected to a network, with their connections."""
        return tuple(
            (container, held)
            for container, connections in self._held.items()
            for identity, held in connections.items()
            if identity == network_id
        )

    def take(self, container: str, wishes: Sequence[tuple[Wish, NetworkRecord]], before: NetworkState | None) -> None:
        """Give a container addresses on networks; on all of them, or on none.

        Args:
            container: its id.
            wishes: what is asked for, with the network as it is up.
            before: what it had and is to have again, if that is so.

        Raises:
            Conflict: an address is in use, none is free, or it is connected already. InvalidInput: an address that
                lies outside.
        """
        done: list[str] = []
        try:
            for wish, network in wishes:
                self._take_one(container, wish, network, before)
                done.append(network.id)
        except BaseException:
            for identity in done:
                self.release(container, identity)
            raise

    def _take_one(self, container: str, wish: Wish, network: NetworkRecord, before: NetworkState | None) -> None:
        connections = self._held.setdefault(container, {})
        if network.id in connections:
            raise Conflict(f"endpoint with name {container[:12]} already exists in network {network.name}")
        known = known_endpoint(before, network.id)
        self._ipam.open(network)
        try:
            ip, ip6 = self._ipam.take(network.id, known.ip if known else wish.ip, known.ip6 if known else wish.ip6)
        finally:
            if not connections:
                self._held.pop(container, None)
        self._held.setdefault(container, connections)
        first, second = str(ip or ""), str(ip6 or "")
        taken = {held.endpoint.interface for held in connections.values()}
        # those of `before` keep their names
        taken |= {endpoint.interface for endpoint in before.endpoints} if before and not known else set()
        interface = next(name for number in range(1 << 12) if (name := f"eth{number}") not in taken)
        bits, gateway = _family(network, 4)
        bits6, gateway6 = _family(network, 6)
        endpoint = known or Endpoint(
            network=network.name,
            network_id=network.id,
            id=wish.endpoint,
            interface=interface,
            link=f"ckv{wish.endpoint[:11]}",
            mac=wish.mac or mac_of(first, second),
            names=wish.names,
            link_local=wish.link_local,
            priority=wish.priority,
            ip=first,
            bits=bits if first else 0,
            gateway=gateway if first else "",
            ip6=second,
            bits6=bits6 if second else 0,
            gateway6=gateway6 if second else "",
        )
        connections[network.id] = Held(wish, network, endpoint)

    def release(self, container: str, network_id: str | None = None) -> tuple[Held, ...]:
        """Take the addresses of a container back, on one network or on all; what it had. Idempotent."""
        connections = self._held.get(container, {})
        gone = [identity for identity in connections if network_id in (None, identity)]
        held = [connections.pop(identity) for identity in gone]
        for one in held:
            self._ipam.give_back(one.network.id, one.endpoint.ip, one.endpoint.ip6)
        if not connections:
            self._held.pop(container, None)
        return tuple(held)

    def forget(self, network_id: str) -> None:
        """A network has gone."""
        self._ipam.close(network_id)


def known_endpoint(before: NetworkState | None, network_id: str) -> Endpoint | None:
    """What a container had of a network already."""
    for endpoint in before.endpoints if before else ():
        if endpoint.network_id == network_id:
            return endpoint
    return None


def _family(network: NetworkRecord, version: int) -> tuple[int, str]:
    """Bits and gateway of a network's addresses of one family."""
    for pool in network.pools:
        subnet = parse_subnet(pool.subnet)
        if subnet.version == version:
            return subnet.prefixlen, "" if network.internal else pool.gateway
    return 0, ""
