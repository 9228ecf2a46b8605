"""The networks of a store, and what a container is to have of them when it starts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import Conflict, ContainerNotFound, InvalidInput, LaunchFailed, NetworkNotFound
from contextkernel.model.networking import PortBinding
from contextkernel.model.networks import Endpoint, Joining, NetworkLaunch, NetworkRecord, NetworkRow, Wish
from contextkernel.network.subnets import (
    Network,
    asked_pools,
    choose_pool,
    choose_pool6,
    overlapping,
    parse_subnet,
    read_host_networks,
)
from contextkernel.runtime import network_rules as rules

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec, RunState
    from contextkernel.network import messages
    from contextkernel.runtime.events import EventLog
    from contextkernel.store import Store

DEFAULT = "bridge"
_PATIENCE = 5.0  # seconds
_PAUSE = 0.005


class Networks:
    """The networks of one store.

    Args:
        store: where they are recorded.
        state: what became of a container.
        events: where it is told what happens.
    """

    def __init__(self, store: Store, state: Callable[[ContainerSpec], RunState], events: EventLog) -> None:
        self._store = store
        self._state = state
        self._events = events

    # ---- networks

    def all(self) -> tuple[NetworkRecord, ...]:
        """All networks, by name."""
        return self._store.networks.all()

    def find(self, text: str) -> NetworkRecord:
        """A network by name, id, or the unique beginning of its id, with the subnets it has.

        Raises:
            NetworkNotFound: there is none.
        """
        record = self._store.networks.get(text)
        if record.driver == "bridge" and not record.pools:
            record = msgspec.structs.replace(record, pools=(choose_pool(self._taken()),))
            self._store.networks.replace(record)
        return record

    def create(
        self,
        name: str,
        *,
        subnets: Sequence[str] = (),
        ranges: Sequence[str] = (),
        gateways: Sequence[str] = (),
        auxiliary: Sequence[tuple[str, str]] = (),
        driver: str = "bridge",
        ipv4: bool = True,
        ipv6: bool = False,
        internal: bool = False,
        attachable: bool = False,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> NetworkRecord:
        """Record a new network; its bridge is made when a container needs it.

        Raises:
            InvalidInput: a name, address or driver that cannot be. Conflict: the name, or a subnet, is taken.
        """
        rules.check_network_name(name)
        rules.check_driver(driver)
        if not ipv4 and not ipv6:
            raise InvalidInput("IPv4 or IPv6 must be enabled", hint="give --ipv6 too")
        taken = self._taken()
        pools = list(asked_pools(subnets, ranges, gateways, auxiliary))
        for pool in pools:
            clash = overlapping(parse_subnet(pool.subnet), taken)
            if clash is not None:
                raise Conflict(
                    "invalid pool request: Pool overlaps with other one on this address space",
                    hint=f"{pool.subnet} and {clash} share addresses",
                )
        versions = {parse_subnet(pool.subnet).version for pool in pools}
        if ipv4 and 4 not in versions:
            pools.insert(0, choose_pool(taken))
        if ipv6 and 6 not in versions:
            pools.append(choose_pool6(self._store.root, taken))
        record = NetworkRecord(
            id=secrets.token_hex(32),
            name=name,
            pools=tuple(pool for pool in pools if ipv6 or parse_subnet(pool.subnet).version == 4),
            given=bool(subnets),
            ipv4=ipv4,
            ipv6=ipv6,
            internal=internal,
            attachable=attachable,
            options=dict(options or {}),
            labels=dict(labels or {}),
            created=time.time_ns(),
        )
        self._store.networks.add(record)
        self.tell(record, "create")
        return record

    def remove(self, text: str) -> NetworkRecord:
        """Remove a network that no container uses.

        Raises:
            NetworkNotFound: there is none. Conflict: it is predefined, or in use.
        """
        record = self._store.networks.get(text)
        if rules.is_predefined(record.name):
            raise Conflict(f"{record.name} is a pre-defined network and cannot be removed")
        users = self.users(record)
        if users:
            spec, endpoint = users[0]
            raise Conflict(
                f"error while removing network: network {record.name} has active endpoints "
                f'(name:"{spec.name}" id:"{endpoint.id[:12]}")',
                hint=f"stop {spec.name}, or take it off the network: network disconnect {record.name} {spec.name}",
            )
        from contextkernel.network import client, messages

        service = client.find(self._store.root)
        if service is not None:
            try:
                service.ask(messages.Drop(record.id))
            except ConnectionError:
                pass  # it is just ending, and takes the bridge with it
            finally:
                service.close()
        self._store.networks.remove(record.id)
        self.tell(record, "destroy")
        return record

    def rows(self) -> tuple[NetworkRow, ...]:
        """All networks, by name, with the containers that run and are connected."""
        self.find(DEFAULT)  # it has its subnet from the first look on
        connected: dict[str, list[str]] = {}
        for spec, one in self._connections():
            connected.setdefault(one.network_id, []).append(spec.id)
        return tuple(
            NetworkRow(network=record, containers=tuple(connected.get(record.id, ()))) for record in self.all()
        )

    def users(self, record: NetworkRecord) -> tuple[tuple[ContainerSpec, Endpoint], ...]:
        """Running containers that are connected to a network, with their connections."""
        return tuple((spec, one) for spec, one in self._connections() if one.network_id == record.id)

    def _connections(self) -> Iterator[tuple[ContainerSpec, Endpoint]]:
        """What the containers that run are connected to."""
        for spec in self._store.containers():
            state = self._state(spec)
            if state.alive:
                yield from ((spec, one) for one in state.network.endpoints)

    def tell(self, record: NetworkRecord, action: str, **attributes: str) -> None:
        """Note that something happened to a network, with docker's attributes."""
        self._events.write("network", action, record.id, {"name": record.name, "type": record.driver, **attributes})

    def _taken(self) -> tuple[Network, ...]:
        """Subnets of this host, and of the store's networks: a bridge that is up may have another than its record."""
        own = [parse_subnet(pool.subnet) for record in self._store.networks.all() for pool in record.pools]
        return (*read_host_networks(), *own)

    # ---- containers

    def settled(self, joins: Sequence[Joining]) -> tuple[Joining, ...]:
        """Connections of a new container under the networks' names, where there are such networks.

        Raises:
            InvalidInput: an address that cannot be had there.
        """
        found = []
        for joining in joins:
            try:
                record = self.find(joining.network)
            except NetworkNotFound:  # the start says so
                found.append(joining)
                continue
            rules.check_addresses(joining, record)
            found.append(msgspec.structs.replace(joining, network=record.name))
        return tuple(found)

    def connect(self, spec: ContainerSpec, joining: Joining) -> None:
        """Connect a container to one more network; at once if it runs.

        Raises:
            NetworkNotFound: there is none. InvalidInput: an address that cannot be had there. Conflict: it is
                connected already, or has no networks of its own.
        """
        record = self.find(joining.network)
        joining = msgspec.structs.replace(joining, network=record.name)
        rules.check_joining(spec, record)
        rules.check_addresses(joining, record, prefix="invalid endpoint settings:")
        others = [one for one in spec.networking.joins if one.network != record.name]
        if self._state(spec).alive:
            from contextkernel.network import messages

            self._ask(messages.Join(spec.id, wish_of(spec, joining, record)))
            self._await(spec, record.id, connected=True)
            self.tell(record, "connect", container=spec.id)
        self._record(spec, (*others, joining))

    def disconnect(self, spec: ContainerSpec, network: str, *, force: bool = False) -> None:
        """Take a container off a network; at once if it runs.

        Raises:
            Conflict: it is not connected to it.
        """
        try:
            record = self.find(network)
        except NetworkNotFound:
            record = None
        name = record.name if record is not None else network
        if name == "host" and spec.network == "host":
            raise Conflict("container cannot be disconnected from host network")
        kept = tuple(one for one in spec.networking.joins if one.network != name)
        if len(kept) == len(spec.networking.joins) and not force:
            raise Conflict(
                f"container {spec.id} is not connected to the network {name}",
                hint=f"it is connected to {', '.join(one.network for one in kept) or 'none'}",
            )
        state = self._state(spec)
        connected = next((one for one in state.network.endpoints if one.network == name), None)
        if state.alive and connected is not None:
            from contextkernel.network import messages

            self._ask(messages.Part(spec.id, connected.network_id))
            self._await(spec, connected.network_id, connected=False)
            if record is not None:
                self.tell(record, "disconnect", container=spec.id)
        self._record(spec, kept)

    def _record(self, spec: ContainerSpec, joins: tuple[Joining, ...]) -> None:
        networking = msgspec.structs.replace(spec.networking, joins=joins)
        self._store.replace_container(msgspec.structs.replace(spec, networking=networking))

    def _await(self, spec: ContainerSpec, network_id: str, *, connected: bool) -> None:
        """Wait until the container's monitor has recorded a change; it hears of it from the network service."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            state = self._state(spec)
            if not state.alive or connected == any(one.network_id == network_id for one in state.network.endpoints):
                return
            time.sleep(_PAUSE)

    def _ask(self, message: messages.Join | messages.Part) -> None:
        from contextkernel.network import client

        service = client.find(self._store.root)
        if service is None:
            raise LaunchFailed("the network service does not run", hint="its containers start it again: try once more")
        try:
            service.ask(message)
        except ConnectionError as problem:
            raise LaunchFailed(f"the network service ended: {problem}", hint="try once more") from None
        finally:
            service.close()

    def launch(self, spec: ContainerSpec) -> tuple[NetworkLaunch, tuple[PortBinding, ...]]:
        """What the monitor of ``spec`` is to do about networks, and which ports are published.

        Raises:
            LaunchFailed: a network or container that it needs is not there.
        """
        asked = spec.networking
        launch = NetworkLaunch(
            mode="none",
            root=self._store.root,
            name=spec.name,
            hosts=tuple(rules.split_host(text) for text in asked.hosts),
            servers=asked.servers,
            search=asked.search,
            options=asked.options,
        )
        replace = msgspec.structs.replace
        if spec.network in ("none", "host"):
            return replace(launch, mode=spec.network, network=self.find(spec.network)), ()
        if spec.network.startswith("container:"):
            other = spec.network.partition(":")[2]
            pid = self._pid_of(other)
            return replace(launch, mode="container", pid=pid, closed=self._store.container(other).network == "none"), ()
        wishes = tuple(self._wish(spec, joining) for joining in rules.joins_of(spec))
        if not wishes:
            return launch, ()
        return replace(
            launch,
            mode="bridge",
            wishes=wishes,
            may_fall_back=spec.network == "default" and len(wishes) == 1,
            hosts=(*launch.hosts, *self._linked(asked.links)),
        ), rules.published(asked)

    def _wish(self, spec: ContainerSpec, joining: Joining) -> Wish:
        try:
            record = self.find(joining.network)
        except NetworkNotFound as problem:
            raise LaunchFailed(
                f"failed to set up container networking: network {joining.network} not found", hint=problem.hint
            ) from None
        return wish_of(spec, joining, record)

    def _pid_of(self, container: str) -> int:
        try:
            other = self._store.container(container)
        except ContainerNotFound:
            raise LaunchFailed(f"joining network namespace of container: No such container: {container}") from None
        state = self._state(other)
        if not state.pid or not state.alive:
            raise LaunchFailed(
                f"cannot join network namespace of a non running container: container {other.name} is {state.status}",
                hint=f"start it first: start {other.name}",
            )
        return state.pid

    def _linked(self, links: Sequence[str]) -> list[tuple[str, str]]:
        """Lines of /etc/hosts for links on the default network."""
        found = []
        for link in links:
            alias, name = rules.split_link(link)
            other = self._store.container(name)
            state = self._state(other)
            address = next((one.ip or one.ip6 for one in state.network.endpoints if one.network == DEFAULT), "")
            if not address and state.alive:
                raise LaunchFailed(
                    f"container {other.name} is not attached to the default bridge network",
                    hint="on a network of their own containers find each other by name, without --link: give --network",
                )
            if not address:
                raise LaunchFailed(
                    f"Cannot link to a non running container: /{other.name} AS {alias}",
                    hint=f"start it first: start {other.name}",
                )
            names = dict.fromkeys([alias, other.hostname, other.name])
            found.append((" ".join(names), address))
        return found


def wish_of(spec: ContainerSpec, joining: Joining, record: NetworkRecord) -> Wish:
    """A connection as the network service is asked for it."""
    return Wish(
        network=record,
        endpoint=secrets.token_hex(32),
        ip=joining.ip,
        ip6=joining.ip6,
        mac=joining.mac,
        link_local=joining.link_local,
        names=() if record.is_default else rules.dns_names(spec, joining),
        links=tuple(rules.split_link(link) for link in joining.links),
        priority=joining.priority,
    )
