"""ck-network's outer part: answers monitors and engines, gives addresses, and has the inner process do the rest.

A monitor's connection is its container's hold on all it has: when it closes, for whatever reason, addresses, names,
ports and links are free. The service ends by itself when nobody has needed it for a while, and takes its bridges with
it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence

import msgspec

from contextkernel.errors import Conflict, ContextKernelError, InvalidInput, ProtocolViolation
from contextkernel.model.networks import NetworkRecord, NetworkState, Wish
from contextkernel.network.accepting import Acceptor
from contextkernel.network.bench import Bench
from contextkernel.network.holdings import Held, Holdings, known_endpoint
from contextkernel.network.journal import Journal
from contextkernel.network.loop import Loop, Timer
from contextkernel.network.messages import (
    Attach,
    Attached,
    Changed,
    Detach,
    Done,
    Drop,
    Failed,
    Join,
    Link,
    Part,
    Prepare,
    Refused,
    ToService,
)
from contextkernel.network.plan import (
    ForgetForwarded,
    Ground,
    LinkUp,
    Operation,
    RemoveLink,
    RemoveRules,
    plan_endpoint,
    plan_gateways,
    plan_network,
    undo,
)
from contextkernel.network.serving import Servers, Serving
from contextkernel.network.subnets import actual_pools, parse_subnet, placed, read_host_networks

_GRACE = 1.5  # seconds in which monitors find out that their service was killed, and come to the new one


class Container:
    """An attached container.

    Attributes:
        id, name: of it.
        client: its monitor.
        serving: what is done for it besides links.
        ready: its links are made.
    """

    def __init__(self, client: Client, request: Attach, serving: Serving) -> None:
        self.id = request.container
        self.name = request.name
        self.client = client
        self.request = request
        self.serving = serving
        self.ready = False


class Client:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.link: Link[ToService] = Link(connection, ToService, "network service", "client")
        self.container: Container | None = None


class LiveNetwork:
    """A network that is up, or about to be.

    Attributes:
        record: with the subnets it has here.
        operations: what made it.
        failure: why it could not be made.
    """

    def __init__(self, record: NetworkRecord, operations: tuple[Operation, ...]) -> None:
        self.record = record
        self.operations = operations
        self.failure: Failed | None = None


class Service:
    """The service.

    Args:
        loop: of this process.
        listener: where clients connect.
        bench: the inner process.
        journal: bridges that were made.
        ground: where bridges are made.
        linger: seconds without anybody after which it ends.
    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        bench: Bench,
        journal: Journal,
        ground: Ground,
        linger: float,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._bench = bench
        self._journal = journal
        self._ground = ground
        self._linger = linger
        self._clients: set[Client] = set()
        self._containers: dict[str, Container] = {}
        self._holdings = Holdings()
        self._networks: dict[str, LiveNetwork] = {}
        self._ending: Timer | None = None
        self._servers = Servers(loop, bench, shared=ground.shared, outbound=ground.outbound)
        self._grace = loop.call_later(_GRACE, lambda: None)
        if not journal.bridges:  # the one before has ended as it should, or there was none
            self._grace.cancel()
        listener.settimeout(0)
        self._acceptor = Acceptor(loop, listener, lambda connection, _: self._begin(connection))
        self._await_nobody()

    @property
    def subnets(self) -> tuple[str, ...]:
        """Those of the networks that are up."""
        return tuple(pool.subnet for live in self._networks.values() for pool in live.record.pools)

    # Clients

    def _begin(self, connection: socket.socket) -> None:
        client = Client(connection)
        self._clients.add(client)
        self._loop.add_reader(connection.fileno(), lambda: self._read(client))
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def _read(self, client: Client) -> None:
        descriptors: list[int] = []
        try:
            request, descriptors = client.link.receive()
        except BlockingIOError:
            return
        except (OSError, ProtocolViolation):
            request = None
        try:
            if request is None:
                self._gone(client)
            else:
                self._answer(client, request, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _answer(self, client: Client, request: ToService, descriptors: Sequence[int]) -> None:
        try:
            match request:
                case Attach():
                    if not descriptors or client.container is not None:
                        raise InvalidInput("one network namespace is attached by one connection")
                    if request.before is None and self._grace.pending:
                        self._postpone(client, request, os.dup(descriptors[0]))
                    else:
                        self._attach(client, request, descriptors[0])
                case Prepare(networks):
                    self._prepare(client, networks)
                case Detach():
                    self._detach(client)
                    self._say(client, Done())
                case Join(container, wish):
                    self._join(client, self._attached(container), wish)
                case Part(container, network_id):
                    self._part(client, self._attached(container), network_id)
                case Drop(network_id):
                    self._drop(client, network_id)
        except ContextKernelError as problem:
            self._say(client, refusal(problem))

    def _postpone(self, client: Client, request: Attach, descriptor: int) -> None:
        """Let those who were attached to a service that was killed come back first, and have the same again."""

        def now() -> None:
            try:
                if client in self._clients:
                    self._answer(client, request, [descriptor])
            finally:
                os.close(descriptor)

        self._loop.call_later(_GRACE, now)

    def _say(self, client: Client, message: Attached | Changed | Done | Refused) -> None:
        try:
            client.link.send(message)
        except OSError:
            self._loop.call_soon(lambda: self._gone(client))

    def _gone(self, client: Client) -> None:
        if client not in self._clients:
            return
        self._clients.discard(client)
        self._loop.remove(client.link.fileno())
        client.link.close()
        self._detach(client)
        self._await_nobody()

    def _attached(self, container: str) -> Container:
        found = self._containers.get(container)
        if found is None or not found.ready:
            raise Conflict(f"container {container[:12]} is not connected to networks here", hint="does it run?")
        return found

    # Containers

    def _attach(self, client: Client, request: Attach, namespace: int) -> None:
        if request.container in self._containers:
            raise Conflict(f"container {request.container[:12]} is attached already")
        up = [(wish, self._bring_up(_as_before(wish.network, request.before))) for wish in request.wishes]
        self._holdings.take(request.container, up, request.before)
        serving = Serving(self._servers, request, lambda: self._holdings.of(request.container))
        try:
            serving.take_ports()
        except BaseException:
            self._holdings.release(request.container)
            raise
        container = Container(client, request, serving)
        client.container = self._containers[container.id] = container
        self._bench.adopt(container.id, namespace)

        def linked(failure: Failed | None) -> None:
            if failure is not None or client.container is not container:
                self._answer_attach(container, failure)
            else:
                serving.listen(container.id, lambda failure: self._answer_attach(container, failure))

        self._link_up(container, self._holdings.of(container.id), linked)

    def _prepare(self, client: Client, networks: Sequence[NetworkRecord]) -> None:
        for network in networks:
            self._bring_up(network)

        def done(_: Failed | None) -> None:
            refused = self._failed(networks)
            self._say(client, Done() if refused is None else refused)

        self._bench.apply((), done)

    def _failed(self, networks: Iterable[NetworkRecord]) -> Refused | None:
        """Why one of the networks could not be made; the next who asks for it tries again."""
        for network in networks:
            live = self._networks.get(network.id)
            if live is not None and live.failure is not None:
                failure = live.failure
                self._forget(network.id)
                return unable(failure)
        return None

    def _answer_attach(self, container: Container, failure: Failed | None) -> None:
        if container.client.container is not container:
            return  # it has gone meanwhile
        if failure is not None:
            self._detach(container.client)
            self._say(container.client, self._cannot_link(container, failure))
            return
        container.ready = True
        container.serving.update()
        self._say(container.client, Attached(self._state(container), resolver=container.serving.resolver))

    def _link_up(self, container: Container, held: Sequence[Held], done: Callable[[Failed | None], None]) -> None:
        """Make the links of connections, and the way out."""
        gateways = plan_gateways(self._holdings.endpoints(container.id), container.id)
        loopback = LinkUp(container.id, "lo")
        problems: list[Failed] = []

        def note(failure: Failed | None) -> None:
            if failure is not None:
                problems.append(failure)

        if container.request.before is None:
            operations = [step for one in held for step in plan_endpoint(one.network, one.endpoint, container.id)]
            self._bench.apply((loopback, *operations, *gateways), done)
            return
        for one in held:
            steps = plan_endpoint(one.network, one.endpoint, container.id)
            self._bench.apply(steps, note, unless=one.endpoint.link)
        self._bench.apply(gateways, lambda failure: done(problems[0] if problems else failure))

    def _cannot_link(self, container: Container, failure: Failed) -> Refused:
        refused = self._failed(wish.network for wish in container.request.wishes)
        return refused or Refused(failure.problem, failure.hint, number=failure.errno)

    def _detach(self, client: Client) -> None:
        """All that a client's container has is free when this returns, but for links that are about to go."""
        container, client.container = client.container, None
        if container is None:
            return
        self._containers.pop(container.id, None)
        container.serving.close()
        held = self._holdings.release(container.id)
        self._bench.apply([RemoveLink(one.endpoint.link) for one in held], _whatever)
        self._bench.abandon(container.id)

    def _state(self, container: Container) -> NetworkState:
        return NetworkState(
            mode="bridge",
            endpoints=self._holdings.endpoints(container.id),
            ports=container.serving.ports,
            outbound=self._ground.way,
        )

    def _join(self, client: Client, container: Container, wish: Wish) -> None:
        network = self._bring_up(wish.network)
        self._holdings.take(container.id, [(wish, network)], None)
        held = self._holdings.of(container.id)[-1]
        steps = plan_endpoint(network, held.endpoint, container.id)
        gateways = plan_gateways(self._holdings.endpoints(container.id), container.id)

        def done(failure: Failed | None) -> None:
            if failure is not None:
                self._holdings.release(container.id, network.id)
                self._say(client, Refused(failure.problem, failure.hint, number=failure.errno))
                return
            container.serving.listen(container.id, lambda _: self._changed(container, client))

        self._bench.apply((*steps, *gateways), done)

    def _part(self, client: Client, container: Container, network_id: str) -> None:
        held = self._holdings.release(container.id, network_id)
        if not held:
            raise Conflict(f"container {container.id[:12]} is not connected to the network")
        steps: list[Operation] = [RemoveLink(one.endpoint.link) for one in held]
        steps += plan_gateways(self._holdings.endpoints(container.id), container.id)

        def done(_failure: Failed | None) -> None:
            self._changed(container, client)

        self._bench.apply(steps, done)

    def _changed(self, container: Container, client: Client) -> None:
        """Tell a container's monitor what it has now, and then the client who wanted it so."""
        if container.client.container is container:
            container.serving.update()
            self._say(
                container.client,
                Changed(
                    self._state(container),
                    resolver=container.serving.resolver,
                    wishes=tuple(held.wish for held in self._holdings.of(container.id)),
                ),
            )
        self._say(client, Done())

    # Networks

    def _bring_up(self, record: NetworkRecord) -> NetworkRecord:
        """Begin to make a network's bridge, if it is not there; the network with the subnets it has here."""
        live = self._networks.get(record.id)
        if live is None:
            chosen = self._placed(record)
            operations = plan_network(chosen, self._ground)
            live = self._networks[record.id] = LiveNetwork(chosen, operations)
            self._journal.add(chosen.bridge)

            def done(failure: Failed | None) -> None:
                live.failure = failure

            self._bench.apply(operations, done)
        return live.record

    def _placed(self, record: NetworkRecord) -> NetworkRecord:
        """With subnets that are free on this host now.

        Raises:
            Conflict: they are not, and others would not be what was asked for.
        """
        if not self._ground.shared:
            return record
        ours = {live.record.bridge for live in self._networks.values()} | {record.bridge}
        taken = read_host_networks(without=ours)
        mine = [parse_subnet(pool.subnet) for live in self._networks.values() for pool in live.record.pools]
        # a network of this store may have others than its record says, which were free when it was made
        return placed(record, (*taken, *mine))

    def _drop(self, client: Client, network_id: str) -> None:
        users = self._holdings.on(network_id)
        if users:
            raise Conflict(f"the network has active endpoints: {', '.join(container[:12] for container, _ in users)}")
        self._forget(network_id, lambda _: self._say(client, Done()))

    def _forget(self, network_id: str, done: Callable[[Failed | None], None] | None = None) -> None:
        live = self._networks.pop(network_id, None)
        self._holdings.forget(network_id)
        if live is None:
            if done is not None:
                done(None)
            return
        self._bench.apply(undo(live.operations), done or _whatever)
        self._journal.remove(live.record.bridge)

    # The end

    def _await_nobody(self) -> None:
        if not self._clients and self._ending is None:
            self._ending = self._loop.call_later(self._linger, self._end)

    def _end(self) -> None:
        """Let nobody in any more, and take down what was made."""
        self._ending = None
        if self._clients:
            return
        self._acceptor.close()
        self._journal.close_door()
        self._listener.close()
        for network_id in list(self._networks):
            self._forget(network_id)
        self._bench.apply(removals(self._journal.bridges), _whatever)
        self._bench.restore()
        self._bench.apply((), lambda _: self._finished())

    def _finished(self) -> None:
        self._journal.clear()
        self._loop.stop()

    def lost(self) -> None:
        """The inner process has gone: nothing can be done any more; monitors start another service and come again."""
        trouble = self._bench.trouble
        if trouble is not None:
            problem = Refused(trouble.problem, trouble.hint, kind="unable")
            for container in list(self._containers.values()):
                if not container.ready:
                    self._say(container.client, problem)
        self._loop.stop()


def _as_before(record: NetworkRecord, before: NetworkState | None) -> NetworkRecord:
    """A network with the subnets that a container has of it already."""
    return msgspec.structs.replace(record, pools=actual_pools(record, known_endpoint(before, record.id)))


def removals(bridges: Iterable[str]) -> tuple[Operation, ...]:
    """What takes bridges away that somebody else has made; for those that are not there it does nothing."""
    steps: list[Operation] = []
    for bridge in bridges:
        steps += [RemoveLink(bridge), ForgetForwarded(bridge), RemoveRules(bridge)]
    return tuple(steps)


def unable(failure: Failed) -> Refused:
    """Why bridges cannot be made here, in words."""
    problem, hint = failure.problem, failure.hint
    if failure.errno in (errno.EPERM, errno.EACCES):
        problem = f"this process may not set up networks: {problem}"
        hint = (
            "CAP_NET_ADMIN is missing: add it to the container around this (--cap-add NET_ADMIN); or use --network host"
        )
    elif failure.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
        problem = f"this kernel cannot do it: {problem}"
        hint = "load the modules bridge, veth and nf_tables (modprobe, as root on the host); or use --network host"
    return Refused(problem, hint, kind="unable", number=failure.errno)


def refusal(problem: ContextKernelError) -> Refused:
    """An error as an answer."""
    kind = "conflict" if isinstance(problem, Conflict) else "input" if isinstance(problem, InvalidInput) else "launch"
    return Refused(problem.problem, problem.hint, kind=kind, number=getattr(problem, "number", 0))


def _whatever(_failure: Failed | None) -> None:
    """For what cannot be helped if it fails."""
