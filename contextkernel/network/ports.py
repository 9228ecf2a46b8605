"""Published ports: taken on the host, and relayed to a container in user space, without any privilege.

Taking ports and relaying them are two steps: a container that cannot have its ports is not started at all.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec

from contextkernel.errors import Conflict, ContextKernelError, HostUnsupported, InvalidInput
from contextkernel.model.networking import PortBinding
from contextkernel.network.datagrams import DatagramRelay
from contextkernel.network.dial import ANY, Dialer, family_of
from contextkernel.network.listening import StreamPort
from contextkernel.network.loop import Loop

_BACKLOG = 4096
_TRIES = 64  # for a free port that is free for both families


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A port of the host that leads to one of a container; what ``docker port`` tells.

    Attributes:
        container_port: inside.
        protocol: ``tcp`` or ``udp``.
        host_ip: address of the host that is listened on.
        host_port: its port.
    """

    container_port: int
    protocol: str
    host_ip: str
    host_port: int


class Target(msgspec.Struct, frozen=True):
    """Where a container is reached: its addresses, ``None`` where it has none of that family."""

    ipv4: str | None = None
    ipv6: str | None = None

    def address(self, host_ip: str) -> str | None:
        """The one to relay to what came in at ``host_ip``: of the same family, if there is one."""
        return (self.ipv6 or self.ipv4) if ":" in host_ip else (self.ipv4 or self.ipv6)


class PortTable:
    """The published ports of all containers of a store.

    Args:
        loop: that of this thread.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._holders: dict[tuple[str, str, int], str] = {}

    def take(self, holder: str, bindings: Sequence[PortBinding]) -> Allocation:
        """Take ports of the host, all or none.

        Where no address is given, IPv4 and IPv6 get the same port; a host without IPv6 has IPv4 only.

        Args:
            holder: name of the container, for messages.
            bindings: what is asked for, in this order.

        Raises:
            Conflict: a port is taken, or all of a range; says which and, if it is one of ours, by whom.
            HostUnsupported: a port that this user may not listen on, or an address that this host does not have.
            InvalidInput: a protocol that cannot be relayed.
        """
        made: list[tuple[Published, socket.socket]] = []
        try:
            for binding in bindings:
                made += self._bind(binding)
        except BaseException:
            for _, one in made:
                one.close()
            raise
        for published, _ in made:
            self._holders[_key(published)] = holder
        return Allocation(self._loop, made, self._free)

    def _free(self, published: Published) -> None:
        self._holders.pop(_key(published), None)

    def _bind(self, binding: PortBinding) -> list[tuple[Published, socket.socket]]:
        if binding.protocol not in ("tcp", "udp"):
            raise InvalidInput(
                f"port {binding.container_port}/{binding.protocol} cannot be published",
                hint="tcp and udp are relayed; the network of the host (--network host) carries all protocols",
            )
        addresses = [binding.host_ip.strip("[]")] if binding.host_ip else list(ANY.values())
        problem: ContextKernelError | None = None
        for port in _candidates(binding):
            try:
                return self._bind_all(binding, addresses, port)
            except Conflict as found:
                problem = found
        if problem is not None and binding.host_port_end > binding.host_port:
            raise Conflict(
                f"all ports of {binding.host_port}-{binding.host_port_end}/{binding.protocol} are taken",
                hint=problem.hint,
            ) from problem
        raise problem or Conflict(f"no free port for {binding.container_port}/{binding.protocol}")

    def _bind_all(
        self, binding: PortBinding, addresses: Sequence[str], port: int
    ) -> list[tuple[Published, socket.socket]]:
        """The same port on all of the addresses; 0 is any."""
        made: list[tuple[Published, socket.socket]] = []
        try:
            for address in addresses:
                try:
                    one = _listen(binding.protocol, address, port)
                except OSError as problem:
                    if made and problem.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                        continue  # no IPv6 on this host
                    raise self._refused(problem, binding, address, port) from problem
                port = one.getsockname()[1]
                published = Published(
                    container_port=binding.container_port, protocol=binding.protocol, host_ip=address, host_port=port
                )
                made.append((published, one))
        except BaseException:
            for _, one in made:
                one.close()
            raise
        return made

    def _refused(self, problem: OSError, binding: PortBinding, address: str, port: int) -> ContextKernelError:
        place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        match problem.errno:
            case errno.EADDRINUSE:
                holder = self._holder(binding.protocol, address, port)
                if holder is not None:
                    return Conflict(
                        f"Bind for {place} failed: port is already allocated",
                        hint=f"container {holder} has it; publish another (-p {_other(port)}:{binding.container_port})",
                    )
                return Conflict(
                    f"failed to bind host port {place}/{binding.protocol}: address already in use",
                    hint="a program on this host listens there; publish another"
                    f" (-p {_other(port)}:{binding.container_port})",
                )
            case errno.EACCES | errno.EPERM:
                return HostUnsupported(
                    f"failed to bind host port {place}/{binding.protocol}: permission denied",
                    hint="low ports are for root (sysctl net.ipv4.ip_unprivileged_port_start); publish a higher one"
                    f" (-p {_other(port)}:{binding.container_port})",
                )
            case _:
                reason = os.strerror(problem.errno or 0).lower()
                return HostUnsupported(
                    f"failed to bind host port {place}/{binding.protocol}: {reason}",
                    hint="is it an address of this host? without one all of them are listened on",
                )

    def _holder(self, protocol: str, address: str, port: int) -> str | None:
        """Who of our containers has a port, or the same port on an address that covers this one."""
        anywhere = ANY.values()
        for (kind, where, number), holder in self._holders.items():
            same = where == address or (
                (":" in where) == (":" in address) and (where in anywhere or address in anywhere)
            )
            if (kind, number) == (protocol, port) and same:
                return holder
        return None


class Allocation:
    """Ports that were taken for one container; relayed from :meth:`start` on, given back by :meth:`close`.

    Args:
        loop: that of this thread.
        made: ports and their sockets.
        freed: told of each port that is given back.
    """

    def __init__(
        self, loop: Loop, made: list[tuple[Published, socket.socket]], freed: Callable[[Published], None]
    ) -> None:
        self._loop = loop
        self._made = made
        self._freed = freed
        self._relays: list[StreamPort | DatagramRelay] = []

    @property
    def published(self) -> tuple[Published, ...]:
        """What was taken, in the order it was asked for."""
        return tuple(published for published, _ in self._made)

    @property
    def connections(self) -> int:
        """How many connections and flows are relayed just now."""
        return sum(relay.flows for relay in self._relays)

    def start(self, dialer: Dialer, target: Target) -> None:
        """Relay to a container; a second call leads new connections elsewhere.

        Args:
            dialer: connects where the container can be reached.
            target: its addresses.
        """
        if not self._relays:
            for published, one in self._made:
                self._relays.append(
                    StreamPort(self._loop, one) if published.protocol == "tcp" else DatagramRelay(self._loop, one)
                )
        for (published, _), relay in zip(self._made, self._relays, strict=True):
            host = target.address(published.host_ip)
            relay.lead(dialer, None if host is None else (host, published.container_port))

    def stop(self) -> None:
        """Relay nothing more until :meth:`start`; the ports stay taken, and who connects is refused at once."""
        for relay in self._relays:
            relay.lead(None, None)

    def close(self) -> None:
        """Give the ports back and cut what goes on over them. Idempotent."""
        for relay in self._relays:
            relay.close()
        for published, one in self._made:
            one.close()
            self._freed(published)
        self._relays, self._made = [], []


def _key(published: Published) -> tuple[str, str, int]:
    return published.protocol, published.host_ip, published.host_port


def _other(port: int) -> int:
    """A port to suggest instead."""
    return port + 8000 if port < 1024 else min(port + 1, 65535)


def _candidates(binding: PortBinding) -> Iterator[int]:
    """Ports to try one after another."""
    if binding.host_port:
        yield from range(binding.host_port, max(binding.host_port, binding.host_port_end) + 1)
    else:
        yield from [0] * _TRIES  # the kernel chooses; the other family may have that one already


def _listen(protocol: str, address: str, port: int) -> socket.socket:
    """A socket that takes what comes for a port."""
    family = family_of(address)
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    one = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            # a port whose last connections are in TIME_WAIT is free; for datagrams it would mean to share it
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
        if kind == socket.SOCK_STREAM:
            one.listen(_BACKLOG)
    except BaseException:
        with suppress(OSError):
            one.close()
        raise
    return one
