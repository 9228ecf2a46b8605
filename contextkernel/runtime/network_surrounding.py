"""A container's network as its monitor sees it: entered before the init exists, given back after its end.

The monitor's connection to ck-network is what holds addresses, names and ports; if the service is lost while the
container runs, the monitor starts another and asks for the same again.
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import ContextKernelError, LaunchFailed, SyscallFailed
from contextkernel.linux.namespaces import CLONE_NEWNET, new_network, setns
from contextkernel.linux.openat2 import open_in_root
from contextkernel.linux.userns_shared import own_membership
from contextkernel.model.networks import NetworkState
from contextkernel.network import texts
from contextkernel.network.client import Hold, Service, connect
from contextkernel.network.messages import (
    Attach,
    Attached,
    Changed,
    Detach,
    FromService,
    Prepare,
    ToService,
    rehearse,
)
from contextkernel.runtime.events import EventLog
from contextkernel.runtime.surroundings import Place, Surrounding

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest, RunState
    from contextkernel.model.networks import NetworkLaunch
    from contextkernel.runtime.loop import Loop

_RETRY = 1.0  # seconds until the next attempt to get the network back
_RETRIES = 30
_HOSTS = "/etc/hosts"
_RESOLV = "/etc/resolv.conf"
_HOST_GATEWAY = "host-gateway"
_OUTSIDE = ("192.0.2.1", 9)  # of a network for documentation (RFC 5737): anywhere


#: what the launcher keeps for all its monitors; they start services with its membership
HOLD = Hold()


def prepare(launch: NetworkLaunch, *, shared: bool, membership: int | None) -> None:
    """In the launcher, before a monitor is forked: load what it needs, and begin to start the network service.

    Args:
        launch: of the container.
        shared: there is no user namespace.
        membership: see :class:`contextkernel.network.client.Hold`.
    """
    HOLD.membership = membership
    rehearse(FromService, ToService)
    if launch.mode == "bridge":
        with suppress(LaunchFailed):  # the monitor says so
            HOLD.keep(launch.root, shared=shared)


class NetworkSurrounding(Surrounding):
    """The network of one container.

    Args:
        request: what is started; its ``attach`` says what to do.
        launch: the same.
    """

    def __init__(self, request: LaunchRequest, launch: NetworkLaunch) -> None:
        super().__init__()
        self._request = request
        self._launch = launch
        self._names = texts.own_names(request.hostname, request.networking.domainname)
        self._state = NetworkState()
        self._service: Service | None = None
        self._shared = True
        self._namespace: int | None = None
        self._loop: Loop | None = None
        self._pid = 0
        self._tries = 0

    def enter(self, place: Place, loop: Loop) -> Place:
        """See :class:`Surrounding`."""
        entered = self._enter(place, loop)
        self._tell("connect")
        return entered

    def _enter(self, place: Place, loop: Loop) -> Place:
        self._loop = loop
        self._shared = not place.facts.user_namespace
        match self._launch.mode:
            case "bridge":
                return self._enter_bridge(place)
            case "container":
                return self._enter_other(place)
            case "none":
                self._state = NetworkState(mode="none")
                return self._planned(place, network="none", resolver=False)
            case "host":
                self._state = NetworkState(mode="host")
                return self._planned(place, network="host", resolver=False)

    def _enter_bridge(self, place: Place) -> Place:
        try:
            if place.facts.isolation == "none" or not place.facts.network:
                why = place.facts.refusals.get("network_namespace")
                raise LaunchFailed("this host allows no network namespace", hint=why or "see doctor")
            service = self._reach()
            self._namespace = new_network()
        except ContextKernelError as problem:
            self._hang_up()
            if not self._launch.may_fall_back:
                raise LaunchFailed(
                    f"failed to set up container networking: {problem.problem}", hint=problem.hint
                ) from problem
            self._state = NetworkState(mode="host", reason=f"{problem.problem}; {problem.hint or 'see doctor'}")
            return self._planned(place, network="host", resolver=False)
        try:
            resolver = self._attach(service, None)
        except ConnectionError as problem:
            self._hang_up()
            raise LaunchFailed(f"failed to set up container networking: {problem}") from problem
        except ContextKernelError as problem:
            self._hang_up()
            problem.problem = f"failed to set up container networking: {problem.problem}"
            raise
        if self._loop is not None:
            self._loop.add(self)
        return self._inside(self._planned(place, network="none", resolver=resolver), self._namespace)

    def _inside(self, place: Place, namespace: int) -> Place:
        """The init enters a network namespace that is there already."""
        return msgspec.structs.replace(
            place,
            facts=msgspec.structs.replace(place.facts, network_file=f"/proc/{os.getpid()}/fd/{namespace}"),
            namespaces=msgspec.structs.replace(place.namespaces, network=False),
        )

    def _enter_other(self, place: Place) -> Place:
        """Enter another container's network namespace, and take over what its files say of it."""
        pid = self._launch.pid
        try:
            root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as problem:
            raise LaunchFailed(
                "cannot join the network of a container that does not run", hint="start it first"
            ) from problem
        self._namespace = namespace
        try:
            hosts, resolv = _read(root, _HOSTS), _read(root, _RESOLV)
        finally:
            os.close(root)
        self._state = NetworkState(mode="container")
        facts = msgspec.structs.replace(place.facts, hosts_file=hosts, resolv_conf=resolv)
        if os.fstat(namespace).st_ino == os.stat("/proc/self/ns/net").st_ino:
            # the host's, which the other one shares; where it may not use it, this one may not either
            request = msgspec.structs.replace(place.request, network="none" if self._launch.closed else "host")
            namespaces = msgspec.structs.replace(place.namespaces, network=False)
            return msgspec.structs.replace(place, request=request, facts=facts, namespaces=namespaces)
        request = msgspec.structs.replace(place.request, network="none")
        return self._inside(msgspec.structs.replace(place, request=request, facts=facts), namespace)

    def _planned(self, place: Place, *, network: str, resolver: bool) -> Place:
        launch = self._launch
        facts = msgspec.structs.replace(
            place.facts,
            resolv_conf=self._resolv_file(place.facts.resolv_conf, resolver=resolver)
            if network == "none" or launch.servers or launch.search or launch.options
            else place.facts.resolv_conf,
            hosts_file=texts.hosts_file(self._hosts(), self._state.endpoints, self._names) if network == "none" else "",
        )
        request = msgspec.structs.replace(
            place.request,
            network="none" if network == "none" else "host",
            hosts=(*place.request.hosts, *(self._hosts() if network == "host" else ())),
        )
        namespaces = msgspec.structs.replace(place.namespaces, network=network == "none" and place.facts.network)
        return msgspec.structs.replace(place, facts=facts, request=request, namespaces=namespaces)

    def _hosts(self) -> tuple[tuple[str, str], ...]:
        gateway = next((one.gateway for one in self._state.endpoints if one.gateway), "127.0.0.1")
        if not self._shared and _HOST_GATEWAY in {address for _, address in self._launch.hosts}:
            # the gateway is in a namespace of the service's, where nothing of the host listens
            gateway = _address_of_host() or gateway
        return tuple((name, gateway if ip == _HOST_GATEWAY else ip) for name, ip in self._launch.hosts)

    # The service

    def _reach(self) -> Service:
        """Connect to the service and have the networks brought up, from the host's network namespace."""
        networks = tuple(wish.network for wish in self._launch.wishes)
        for attempt in (1, 2, 3):
            service = self._connect()
            try:
                service.ask(Prepare(networks))
            except ConnectionError as problem:  # it was just ending
                service.close()
                if attempt == 3:
                    raise LaunchFailed(f"the network service cannot be reached: {problem}") from problem
            except ContextKernelError:
                service.close()
                raise
            else:
                self._service = service
                return service
        raise AssertionError("unreachable")

    def _connect(self) -> Service:
        return connect(self._launch.root, shared=self._shared, membership=own_membership().descriptor)

    def _attach(self, service: Service, before: NetworkState | None) -> bool:
        """Get what was asked for; whether names are resolved."""
        assert self._namespace is not None  # noqa: S101
        answer = service.ask(
            Attach(
                container=self._request.id,
                name=self._launch.name,
                wishes=self._launch.wishes,
                ports=self._request.networking.ports,
                servers=self._launch.servers,
                dotted=any(re.match("ndots:[1-9]", option) for option in self._launch.options),
                before=before,
            ),
            (self._namespace,),
        )
        assert isinstance(answer, Attached)  # noqa: S101
        self._state = answer.state
        return answer.resolver

    def interests(self) -> Iterator[tuple[int, int]]:
        """See :class:`contextkernel.runtime.loop.Source`."""
        if self._service is not None:
            yield self._service.fileno(), select.POLLIN

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`contextkernel.runtime.loop.Source`."""
        if self._service is None or self._service.fileno() not in events:
            return
        try:
            self._take(self._service.heard())
        except (OSError, ContextKernelError):
            self._hang_up()
            self._tries = 0
            self._again()

    def _take(self, changed: Changed | None) -> None:
        if changed is None:
            return
        before, self._state = self._state, changed.state
        # what a later start, or another service, is asked for
        self._launch = msgspec.structs.replace(self._launch, wishes=changed.wishes)
        with suppress(OSError, ContextKernelError):
            root = os.open(f"/proc/{self._pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _rewrite(root, _HOSTS, lambda text: self._changed_hosts(text, before, changed.state))
                if changed.resolver:
                    _rewrite(root, _RESOLV, self._resolving)
            finally:
                os.close(root)
        self.changed()

    def _changed_hosts(self, text: str, before: NetworkState, after: NetworkState) -> str:
        return texts.changed_hosts(text, before.endpoints, after.endpoints, self._names)

    def _resolving(self, text: str) -> str:
        """/etc/resolv.conf once names are resolved in the container; one that is so already stays as it is."""
        if texts.RESOLVER in text:
            return text
        return self._resolv_file(text, resolver=True)

    def _resolv_file(self, text: str, *, resolver: bool) -> str:
        launch = self._launch
        return texts.resolv_file(
            text, resolver=resolver, servers=launch.servers, search=launch.search, options=launch.options
        )

    def _again(self) -> None:
        """The service is lost: another one is to give the same again."""
        if self._namespace is None or self._loop is None or self._service is not None:
            return
        try:
            self._service = self._connect()
            self._attach(self._service, self._state)
        except (OSError, ContextKernelError):
            self._hang_up()
            self._tries += 1
            if self._tries < _RETRIES:
                self._loop.after(_RETRY, self._again)

    def _hang_up(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None

    # The container

    def settle(self, pid: int) -> None:
        """See :class:`Surrounding`."""
        self._pid = pid

    def join(self) -> None:
        """See :class:`Surrounding`."""
        if self._namespace is not None:
            setns(self._namespace, CLONE_NEWNET)

    def leave(self) -> None:
        """See :class:`Surrounding`. When it returns, addresses, names and ports are free."""
        if self._loop is not None:
            self._loop.discard(self)
        if self._service is not None:
            with suppress(OSError, ContextKernelError):
                self._service.ask(Detach())
            self._hang_up()
        if self._namespace is not None:
            os.close(self._namespace)
            self._namespace = None
        self._tell("disconnect")
        self._state = NetworkState()

    def _tell(self, action: str) -> None:
        """Note what happened to the networks."""
        if self._state.mode in ("none", "host") and self._launch.network is not None:
            self._note(action, self._launch.network.id, self._launch.network.name, self._launch.network.driver)
        for one in self._state.endpoints:
            self._note(action, one.network_id, one.network, "bridge")

    def _note(self, action: str, network_id: str, name: str, driver: str) -> None:
        attributes = {"container": self._request.id, "name": name, "type": driver}
        EventLog(self._launch.root).write("network", action, network_id, attributes)

    def report(self, state: RunState) -> RunState:
        """See :class:`Surrounding`."""
        return msgspec.structs.replace(state, network=self._state)


def _address_of_host() -> str:
    """The address that this host shows to the outside; empty if it has no way there. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(_OUTSIDE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _read(root: int, path: str) -> str:
    try:
        descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except SyscallFailed:
        return ""
    with os.fdopen(descriptor, "r", encoding="utf-8", errors="replace") as file:
        return file.read(1 << 20)


def _rewrite(root: int, path: str, change: Callable[[str], str]) -> None:
    """Change a generated file of the container in place, as it is mounted there."""
    descriptor = open_in_root(root, path, os.O_RDWR | os.O_NONBLOCK)
    with os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace") as file:
        text = file.read(1 << 20)
        changed = change(text)
        if changed != text:
            file.seek(0)
            file.write(changed)
            file.truncate()
