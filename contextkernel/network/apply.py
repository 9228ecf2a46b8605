"""Applies network operations to the kernel. The only module that imports pyroute2, which takes a while to load.

pyroute2's message types write the netlink messages; a plain socket carries them, several in one packet, because that is
an order of magnitude quicker than one round trip each.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, assert_never

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from contextkernel.errors import SyscallFailed
from contextkernel.linux.namespaces import CLONE_NEWNET, setns
from contextkernel.network import plan
from contextkernel.network.filter_messages import (
    FAMILIES,
    accept_link,
    batch_begin,
    batch_end,
    find_link_rules,
    guard_messages,
    names_messages,
    table_messages,
    table_removal,
)

_RTM_NEWLINK, _RTM_DELLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 17, 20, 24
_REQUEST, _ACK, _REPLACE, _EXCLUSIVE, _CREATE, _DUMP = 1, 4, 0x100, 0x200, 0x400, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_IFF_UP = 1
_NODAD = 0x02
_HEADER = struct.Struct("=IHHII")
_NETFILTER = 12
_UNIVERSE, _MAIN, _BOOT, _UNICAST = 0, 254, 3, 1

Message = tuple[int, int, Any]  # type, flags, pyroute2 message


class Netlink:
    """A netlink socket of the network namespace that this process is in when it is made.

    Args:
        protocol: 0 for links, addresses and routes, 12 for the packet filter.
    """

    def __init__(self, protocol: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._number = 0

    def close(self) -> None:
        """Give up the socket."""
        self._socket.close()

    def request(self, messages: Sequence[Message], what: str) -> None:
        """Send messages together, and wait until the kernel has answered each.

        Raises:
            SyscallFailed: one was refused; the first refusal counts, those after it may have taken effect.
        """
        data, waiting = self._wanted(messages)
        self._socket.send(data)
        refused: tuple[int, int] | None = None
        while waiting:
            for number, code in self._answers(waiting):
                waiting.discard(number)
                if code and (refused is None or number < refused[0]):
                    refused = (number, code)
        if refused:
            raise SyscallFailed("netlink", refused[1], what)

    def batch(self, messages: Sequence[Message], what: str) -> None:
        """Send packet filter messages as one transaction.

        Raises:
            SyscallFailed: it was refused, and nothing has changed.
        """
        begin = self._encoded(*batch_begin())
        data, waiting = self._wanted(messages)
        self._socket.send(begin + data + self._encoded(*batch_end()))
        while waiting:
            for number, code in self._answers(None):
                if code:
                    self._drain()
                    raise SyscallFailed("netlink", code, what)
                waiting.discard(number)

    def _wanted(self, messages: Sequence[Message]) -> tuple[bytes, set[int]]:
        """Encoded messages, and the numbers that answers will have."""
        first = self._number + 1
        data = b"".join(self._encoded(kind, flags | _REQUEST | _ACK, message) for kind, flags, message in messages)
        return data, set(range(first, self._number + 1))

    def _answers(self, wanted: set[int] | None) -> Iterator[tuple[int, int]]:
        """The next answers: number of the message, and errno or 0."""
        for kind, number, body in list(self._received()):
            if kind == _NLMSG_ERROR and (wanted is None or number in wanted):
                yield number, -struct.unpack_from("=i", body)[0]

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._socket.recv(65536, socket.MSG_DONTWAIT):
                pass

    def dump(self, kind: int, message: Any) -> Iterator[bytes]:
        """What the kernel has of a kind, as raw messages."""
        self._socket.send(self._encoded(kind, _REQUEST | _DUMP, message))
        number = self._number
        while True:
            for answer, sequence, body in self._received():
                if sequence != number:
                    continue
                if answer == _NLMSG_DONE:
                    return
                if answer == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    if code:
                        raise SyscallFailed("netlink", code, "dump")
                    return
                yield body

    def _encoded(self, kind: int, flags: int, message: Any) -> bytes:
        self._number += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = flags
        message["header"]["sequence_number"] = self._number
        message["header"]["pid"] = 0
        message.reset()
        message.encode()
        return bytes(message.data)

    def _received(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(1 << 18)
        place = 0
        while place + _HEADER.size <= len(data):
            length, kind, _, number, _ = _HEADER.unpack_from(data, place)
            yield kind, number, data[place + _HEADER.size : place + length]
            place += (length + 3) & ~3


class Places:
    """The network namespaces that operations speak of: this process's own, named by the empty string, and others."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors: dict[str, int] = {}

    def add(self, place: str, descriptor: int) -> None:
        """Take over a descriptor of a network namespace as ``place``."""
        self.remove(place)
        self._descriptors[place] = descriptor

    def remove(self, place: str) -> None:
        """Forget a place. Idempotent."""
        descriptor = self._descriptors.pop(place, None)
        if descriptor is not None:
            os.close(descriptor)

    def descriptor(self, place: str) -> int:
        """The descriptor of a place.

        Raises:
            SyscallFailed: there is no such place (any more).
        """
        found = self._descriptors.get(place)
        if found is None:
            raise SyscallFailed("setns", errno.ENOENT, f"the network namespace of {place[:12]}")
        return found

    @contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """Be in a place for the time of a block.

        Raises:
            SyscallFailed: the kernel refused.
        """
        if not place:
            yield
            return
        setns(self.descriptor(place), CLONE_NEWNET)
        try:
            yield
        finally:
            setns(self._home, CLONE_NEWNET)


class Applier:
    """Applies operations, and takes back what it did when one fails.

    Args:
        places: where.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._links = Netlink()
        self._filter: Netlink | None = None
        self._forwarded: dict[str, str] = {}  # what the kernel's settings were

    def apply(self, operations: Sequence[plan.Operation]) -> None:
        """All of ``operations``, or none.

        Raises:
            SyscallFailed: the kernel refused one; those before it were taken back.
        """
        done: list[plan.Operation] = []
        try:
            for place, part in _together(operations):
                if place is None:
                    self._one(part[0])
                else:
                    with self._places.inside(place):
                        self._inside(part)
                done += part
        except BaseException:
            for step in plan.undo(tuple(done)):
                with suppress(SyscallFailed):
                    self._one(step)
            raise

    def has_link(self, name: str) -> bool:
        """Whether this namespace has a link of this name."""
        return _index(name) is not None

    def restore(self) -> None:
        """Set what :class:`plan.Forward` changed back to what it was."""
        for path, value in self._forwarded.items():
            with suppress(OSError):
                _write(path, value)
        self._forwarded.clear()

    def _one(self, operation: plan.Operation) -> None:
        match operation:
            case plan.AddBridge(name, mac, mtu):
                self._add_bridge(name, mac, mtu)
            case plan.AddVeth():
                self._add_veth(operation)
            case plan.RemoveLink(link):
                self._remove_link(link)
            case plan.AddRules(table):
                self._batch((*table_removal(table, certain=True), *table_messages(operation)), f"rules of {table}")
            case plan.GuardLink(link):
                self._batch((*table_removal(link, certain=True), *guard_messages(link)), f"rules of {link}")
            case plan.LeadNames(place):
                with self._places.inside(place), closing(Netlink(_NETFILTER)) as inside:
                    inside.batch(names_messages(operation), "rules for the resolver")
            case plan.RemoveRules(table):
                self._absent_is_fine(lambda: self._batch(table_removal(table), f"rules of {table}"))
            case plan.AcceptForwarded(bridge):
                self._absent_is_fine(lambda: self._accept_forwarded(bridge))
            case plan.ForgetForwarded(bridge):
                self._absent_is_fine(lambda: self._forget_forwarded(bridge))
            case plan.Forward(ipv6):
                self._forward(ipv6)
            case plan.AddAddress() | plan.LinkUp() | plan.SetGateway() | plan.Without6():
                with self._places.inside(operation.place):
                    self._inside([operation])
            case _:
                assert_never(operation)

    def _add_bridge(self, name: str, mac: str, mtu: int) -> None:
        message = ifinfmsg()
        message["attrs"] = [
            ("IFLA_IFNAME", name),
            ("IFLA_ADDRESS", mac),
            ("IFLA_MTU", mtu),
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
        ]
        try:
            self._links.request([(_RTM_NEWLINK, _CREATE | _EXCLUSIVE, message)], f"bridge {name}")
        except SyscallFailed as problem:
            if problem.number != errno.EEXIST:
                raise

    def _add_veth(self, wanted: plan.AddVeth) -> None:
        bridge = _index(wanted.bridge)
        if bridge is None:
            raise SyscallFailed("netlink", errno.ENODEV, f"bridge {wanted.bridge}")
        message = ifinfmsg()
        message["flags"] = message["change"] = _IFF_UP
        peer = {
            "attrs": [
                ("IFLA_IFNAME", wanted.inside),
                ("IFLA_ADDRESS", wanted.mac),
                ("IFLA_MTU", wanted.mtu),
                ("IFLA_NET_NS_FD", self._places.descriptor(wanted.place)),
            ]
        }
        message["attrs"] = [
            ("IFLA_IFNAME", wanted.link),
            ("IFLA_MTU", wanted.mtu),
            ("IFLA_MASTER", bridge),
            (
                "IFLA_LINKINFO",
                {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})]},
            ),
        ]
        self._links.request([(_RTM_NEWLINK, _CREATE | _EXCLUSIVE, message)], f"link {wanted.link}")

    def _remove_link(self, name: str) -> None:
        index = _index(name)
        if index is None:
            return
        message = ifinfmsg()
        message["index"] = index
        with _ignoring(errno.ENODEV):
            self._links.request([(_RTM_DELLINK, 0, message)], f"link {name}")

    def _inside(self, operations: Sequence[plan.Operation]) -> None:
        """Operations of one place, in which this process is; they are sent together."""
        messages: list[Message] = []
        for operation in operations:
            match operation:
                case plan.Without6(_, link):
                    _without6(link)
                case plan.LinkUp(_, link):
                    message = ifinfmsg()
                    message["index"] = _must_index(link)
                    message["flags"] = message["change"] = _IFF_UP
                    messages.append((_RTM_NEWLINK, 0, message))
                case plan.AddAddress(_, link, address, bits):
                    messages.append((_RTM_NEWADDR, _CREATE | _REPLACE, _address(link, address, bits)))
                case plan.SetGateway(_, link, version, gateway):
                    messages.append((_RTM_NEWROUTE, _CREATE | _REPLACE, _default_route(link, version, gateway)))
                case _:
                    raise TypeError(type(operation).__name__)
        if messages:
            links = Netlink() if operations[0].place else self._links  # type: ignore[union-attr]
            try:
                links.request(messages, _shown(operations))
            finally:
                if links is not self._links:
                    links.close()

    def _batch(self, messages: Sequence[Message], what: str) -> None:
        if self._filter is None:
            self._filter = Netlink(_NETFILTER)
        self._filter.batch(messages, what)

    def _accept_forwarded(self, bridge: str) -> None:
        self._forget_forwarded(bridge)
        for family in FAMILIES:
            for chain in ("DOCKER-USER", "FORWARD"):
                try:
                    self._batch(accept_link(bridge, family, chain), f"rules of {chain}")
                    break
                except SyscallFailed as problem:
                    if problem.number not in (errno.ENOENT, errno.EAFNOSUPPORT):
                        raise

    def _forget_forwarded(self, bridge: str) -> None:
        if self._filter is None:
            self._filter = Netlink(_NETFILTER)
        for family in FAMILIES:
            for removal in find_link_rules(self._filter.dump, bridge, family):
                self._batch(removal, "rules of another firewall")

    def _absent_is_fine(self, step: Callable[[], None]) -> None:
        with _ignoring(errno.ENOENT, errno.EAFNOSUPPORT):
            step()

    def _forward(self, ipv6: bool) -> None:
        paths = ["/proc/sys/net/ipv4/ip_forward"]
        if ipv6:
            paths.append("/proc/sys/net/ipv6/conf/all/forwarding")
        for path in paths:
            try:
                with open(path, encoding="ascii") as file:
                    before = file.read().strip()
                if before == "0":
                    _write(path, "1")
                    self._forwarded.setdefault(path, before)
            except OSError as problem:
                if path.endswith("ip_forward"):
                    raise SyscallFailed("write", problem.errno or 0, path) from problem


def _together(operations: Sequence[plan.Operation]) -> Iterator[tuple[str | None, list[plan.Operation]]]:
    """Runs of operations that can be sent in one packet, with their place; ``None`` for one that stands alone."""
    run: list[plan.Operation] = []
    place = ""
    for operation in operations:
        if isinstance(operation, plan.AddAddress | plan.LinkUp | plan.SetGateway | plan.Without6):
            if run and operation.place != place:
                yield place, run
                run = []
            place = operation.place
            run.append(operation)
            continue
        if run:
            yield place, run
            run = []
        yield None, [operation]
    if run:
        yield place, run


def _address(link: str, address: str, bits: int) -> Any:
    parsed = ipaddress.ip_interface(f"{address}/{bits}")
    message = ifaddrmsg()
    message["family"] = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    message["prefixlen"] = bits
    message["index"] = _must_index(link)
    attributes: list[tuple[str, object]] = [("IFA_ADDRESS", address), ("IFA_LOCAL", address)]
    if parsed.version == 4:
        if bits < 31:
            attributes.append(("IFA_BROADCAST", str(parsed.network.broadcast_address)))
    else:
        # nobody else can have it, and what is looked for first cannot be bound to yet
        message["flags"] = _NODAD
    message["attrs"] = attributes
    return message


def _default_route(link: str, version: int, gateway: str) -> Any:
    message = rtmsg()
    message["family"] = socket.AF_INET if version == 4 else socket.AF_INET6
    message["dst_len"] = 0
    message["table"] = _MAIN
    message["proto"] = _BOOT
    message["scope"] = _UNIVERSE
    message["type"] = _UNICAST
    message["attrs"] = [("RTA_GATEWAY", gateway), ("RTA_OIF", _must_index(link)), ("RTA_TABLE", _MAIN)]
    return message


def _without6(link: str) -> None:
    """Best where /proc/sys can be written; else the link gives itself no address."""
    path = f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6"
    try:
        _write(path, "1")
    except FileNotFoundError:
        return  # a kernel without IPv6
    except OSError:
        _without_own_address6(link)


def _without_own_address6(link: str) -> None:
    message = ifinfmsg()
    message["index"] = _must_index(link)
    message["attrs"] = [
        ("IFLA_AF_SPEC", {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}),
    ]
    links = Netlink()
    try:
        with suppress(SyscallFailed):
            links.request([(_RTM_NEWLINK, 0, message)], f"link {link}")
    finally:
        links.close()


def _index(link: str) -> int | None:
    try:
        return socket.if_nametoindex(link)
    except OSError:
        return None


def _must_index(link: str) -> int:
    found = _index(link)
    if found is None:
        raise SyscallFailed("if_nametoindex", errno.ENODEV, link)
    return found


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


@contextmanager
def _ignoring(*numbers: int) -> Iterator[None]:
    try:
        yield
    except SyscallFailed as problem:
        if problem.number not in numbers:
            raise


def _shown(operations: Sequence[plan.Operation]) -> str:
    return ", ".join(type(operation).__name__ for operation in operations)
