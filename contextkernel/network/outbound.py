"""A way out for a network namespace that has none: what ordinary users' containers reach the outside by.

In this order: ``pasta`` or ``slirp4netns``, where one is installed and a tap device can be made; else outbound TCP is
led to a port inside by the packet filter and relayed from the host's network namespace, which needs neither; else there
is no way. What was found is told as a :class:`Way`.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import shutil
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NoReturn

import msgspec

from contextkernel.errors import ContextKernelError
from contextkernel.linux.namespaces import CLONE_NEWNET, set_parent_death_signal, setns
from contextkernel.network.bench import Bench
from contextkernel.network.dial import ANY, DirectDialer
from contextkernel.network.listening import StreamPort
from contextkernel.network.loop import Loop
from contextkernel.network.messages import Failed
from contextkernel.network.plan import AddRules, GuardLink, Outbound, RemoveRules

TAP = "tap0"
_TUN = "/dev/net/tun"
_PATIENCE = 5.0  # seconds for a program to have made its device
_LOOK = 0.01
_TRIAL = "ck-trial"
_ORIGINAL_DESTINATION = 80  # linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h
#: addresses that no network of ours has: else it could not be told from the one outside (slirp4netns's own)
_ADDRESS, _BITS, _GATEWAY = "10.0.2.100", 24, "10.0.2.2"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How containers reach the outside.

    Attributes:
        kind: ``tap``: by a program that passes packets on; ``relay``: TCP by relay; ``none``: not at all.
        by: name of the program.
        redirect, redirect6: ports inside that outbound TCP is to be led to.
        filters: there is a packet filter.
        problems: why the better ways are not taken, for people.
    """

    kind: Outbound
    by: str = ""
    redirect: int = 0
    redirect6: int = 0
    filters: bool = True
    problems: tuple[str, ...] = ()


class Outside:
    """Finds a way out, and keeps it open.

    Args:
        loop: that of this thread.
        bench: the process in the namespace that is to have a way out.
        inside: process id of that process; this process may enter its network namespace.
        keep_out: subnets that are not outside: nothing is relayed there.
        tun: path of the device that makes tap devices.
    """

    def __init__(
        self,
        loop: Loop,
        bench: Bench,
        inside: int,
        keep_out: Callable[[], Iterable[str]] = tuple,
        *,
        tun: str = _TUN,
    ) -> None:
        self._loop = loop
        self._bench = bench
        self._inside = inside
        self._keep_out = keep_out
        self._tun = tun
        self._problems: list[str] = []
        self._program: _Program | None = None
        self._listeners: list[socket.socket] = []
        self._ports: list[StreamPort] = []

    def open(self, done: Callable[[Way], None]) -> None:
        """Begin; ``done`` is called once with what was found."""

        def ready(failure: Failed | None) -> None:
            if failure is not None:
                done(Way(kind="none", filters=False, problems=(failure.problem,)))
            else:
                self._try_programs(iter(tap_commands(self._usable())), done)

        # answered once the process inside has made its namespace
        self._bench.apply((), ready)

    def close(self) -> None:
        """Close the way. Idempotent."""
        if self._program is not None:
            self._program.end()
            self._program = None
        for port in self._ports:
            port.close()
        for listener in self._listeners:
            listener.close()
        self._ports, self._listeners = [], []

    def _usable(self) -> list[str]:
        """Programs that could be tried; notes why others cannot."""
        found = [name for name in ("pasta", "slirp4netns") if shutil.which(name)]
        if not found:
            self._problems.append("neither pasta nor slirp4netns is installed")
            return []
        problem = _why_no_tun(self._tun)
        if problem is not None:
            self._problems.append(problem)
            return []
        return found

    def _try_programs(self, commands: Iterator[tuple[str, list[str]]], done: Callable[[Way], None]) -> None:
        name, command = next(commands, ("", []))
        if not name:
            self._try_relay(done)
            return

        def settled(problem: str | None) -> None:
            if problem is None:
                way = Way(kind="tap", by=name, problems=tuple(self._problems))
                self._bench.apply([GuardLink(TAP)], lambda _: done(way))
                return
            self._problems.append(f"{name}: {problem}")
            if self._program is not None:
                self._program.end()
                self._program = None
            self._try_programs(commands, done)

        try:
            namespace = os.open(f"/proc/{self._inside}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as problem:
            settled(f"the network namespace cannot be opened: {os.strerror(problem.errno or 0).lower()}")
            return
        try:
            self._program = _Program(self._loop, command, namespace, settled)
        finally:
            os.close(namespace)

    def _try_relay(self, done: Callable[[Way], None]) -> None:
        """See whether the packet filter can redirect, then listen."""

        def none(problem: str, *, filters: bool) -> None:
            self._problems.append(problem)
            done(Way(kind="none", filters=filters, problems=tuple(self._problems)))

        def tried(failure: Failed | None) -> None:
            if failure is not None:
                none(f"the packet filter cannot redirect: {failure.problem}", filters=False)
                return
            self._bench.apply([RemoveRules(_TRIAL)], lambda _: None)
            self._listen(socket.AF_INET, listening)

        def listening(port: int, problem: str) -> None:
            if not port:
                none(f"the relay cannot listen: {problem}", filters=True)
                return

            def also6(port6: int, _problem: str) -> None:
                way = Way(kind="relay", redirect=port, redirect6=port6, problems=tuple(self._problems))
                done(way)

            if _has_ipv6():
                self._listen(socket.AF_INET6, also6)
            else:
                also6(0, "")

        trial = AddRules(_TRIAL, _TRIAL, (), closed=False, apart=False, redirect=1, own=("10.0.0.0/8",))
        self._bench.apply([trial], tried)

    def _listen(self, family: socket.AddressFamily, done: Callable[[int, str], None]) -> None:
        """A relay for one family; ``done`` gets its port, or 0 and what is wrong."""

        def made(answer: list[socket.socket] | Failed) -> None:
            if isinstance(answer, Failed) or not answer:
                done(0, answer.problem if isinstance(answer, Failed) else "no socket")
                return
            (listener,) = answer
            self._listeners.append(listener)
            port = StreamPort(self._loop, listener)
            port.lead_by(DirectDialer(self._loop), self._destination)
            self._ports.append(port)
            done(listener.getsockname()[1], "")

        self._bench.make_sockets("", family, socket.SOCK_STREAM, made, bind=(ANY[family], 0), listen=True)

    def _destination(self, client: socket.socket) -> tuple[str, int] | None:
        """Where a redirected connection was to go, if that is outside."""
        try:
            found = original_destination(client)
            if found is None or found == client.getsockname()[:2]:
                return None  # it came for the relay itself
        except OSError:
            return None
        return found if is_outside(found[0], self._keep_out()) else None


class _Program:
    """A program that makes a device inside and passes packets on; it dies with this process."""

    def __init__(
        self, loop: Loop, command: Sequence[str], namespace: int, settled: Callable[[str | None], None]
    ) -> None:
        self._loop = loop
        self._settled: Callable[[str | None], None] | None = settled
        said, says = os.pipe2(os.O_CLOEXEC)
        self._pid = _start([word.format(namespace=_NAMESPACE) for word in command], namespace, says)
        os.close(says)
        self._said = said
        ready, tells = os.pipe2(os.O_CLOEXEC)
        self._watcher = _watch(namespace, tells, self._pid)
        os.close(tells)
        self._ready = ready
        loop.add_reader(ready, self._heard)

    def _heard(self) -> None:
        """The watcher has seen the device, or has given up."""
        well = os.read(self._ready, 1) == b"y"
        self._loop.remove(self._ready)
        os.close(self._ready)
        _reap(self._watcher)
        settled, self._settled = self._settled, None
        if settled is None:
            return
        if well and _alive(self._pid):
            settled(None)
        else:
            settled(self._words() or "it made no device")

    def _words(self) -> str:
        """The last line of what the program said."""
        os.set_blocking(self._said, False)
        try:
            text = os.read(self._said, 4096).decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""

    def end(self) -> None:
        self._settled = None
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        _reap(self._pid)
        os.close(self._said)


_NAMESPACE = "/proc/self/fd/3"


def tap_commands(programs: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Names of programs and how they are started: in the foreground, without a way to the host's own loopback."""
    lines = {
        "pasta": f"pasta --foreground --quiet --config-net --netns-only --netns {{namespace}} --ns-ifname {TAP}"
        f" --address {_ADDRESS} --netmask {_BITS} --gateway {_GATEWAY} --no-map-gw"
        " --tcp-ports none --udp-ports none --tcp-ns none --udp-ns none",
        "slirp4netns": f"slirp4netns --configure --mtu=65520 --disable-host-loopback --netns-type=path"
        f" {{namespace}} {TAP}",
    }
    return [(name, lines[name].split()) for name in programs]


def original_destination(client: socket.socket) -> tuple[str, int] | None:
    """Where a connection was to go before the packet filter led it here."""
    if client.family == socket.AF_INET6:
        data = client.getsockopt(socket.IPPROTO_IPV6, _ORIGINAL_DESTINATION, 28)
        port, address = struct.unpack_from("!H", data, 2)[0], data[8:24]
        return socket.inet_ntop(socket.AF_INET6, address), int(port)
    data = client.getsockopt(socket.IPPROTO_IP, _ORIGINAL_DESTINATION, 16)
    return socket.inet_ntop(socket.AF_INET, data[4:8]), int(struct.unpack_from("!H", data, 2)[0])


def is_outside(address: str, keep_out: Iterable[str]) -> bool:
    """Whether a container may be led to an address: not to the host's loopback, nor to a network of containers."""
    found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback or found.is_unspecified or found.is_multicast or address == "255.255.255.255":
        return False
    return not any(found in ipaddress.ip_network(subnet) for subnet in keep_out)


def _why_no_tun(path: str) -> str | None:
    """Why no tap device can be made; ``None`` if one can."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as problem:
        return f"{path}: {os.strerror(problem.errno or 0).lower()}"
    return None


def _has_ipv6() -> bool:
    """Whether the host itself reaches anything over IPv6: it has a default route."""
    try:
        with open("/proc/net/ipv6_route", encoding="ascii") as file:
            routes = [line.split() for line in file]
    except OSError:
        return False
    return any(words[0] == "0" * 32 and words[1] == "00" and words[-1] != "lo" for words in routes)


def _start(command: Sequence[str], namespace: int, says: int) -> int:
    """Start a program with the network namespace as descriptor 3; it ends with this process."""
    pid = os.fork()
    if pid == 0:
        _become(list(command), namespace, says)
    return pid


def _become(command: list[str], namespace: int, says: int) -> NoReturn:
    try:
        set_parent_death_signal(signal.SIGKILL)
        high = max(namespace, says) + 10
        os.dup2(namespace, high)
        os.dup2(says, high + 1)
        for place, descriptor in ((3, high), (1, high + 1), (2, high + 1)):
            os.dup2(descriptor, place, inheritable=True)
        os.closerange(4, high + 2)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606 - one of the commands above
    except BaseException as problem:
        with suppress(OSError):
            os.write(2, str(problem).encode())
    finally:
        os._exit(127)


def _watch(namespace: int, tells: int, program: int) -> int:
    """Start a process that looks for the device from inside, and says whether it came."""
    pid = os.fork()
    if pid == 0:
        _look_for_device(namespace, tells, program)
    return pid


def _look_for_device(namespace: int, tells: int, program: int) -> NoReturn:
    try:
        set_parent_death_signal(signal.SIGKILL)
        setns(namespace, CLONE_NEWNET)
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and not _has_way_out():
            if not _alive(program):
                break
            time.sleep(_LOOK)
        os.write(tells, b"y" if _has_way_out() else b"n")
    except (OSError, ContextKernelError):
        os.write(tells, b"n")
    finally:
        os._exit(0)


def _has_way_out() -> bool:
    """Whether this thread's network namespace has a default route by the device."""
    with open("/proc/thread-self/net/route", encoding="ascii") as file:
        return any(words[0] == TAP and words[1] == "00000000" for line in file if (words := line.split()))


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError as problem:
        return problem.errno not in {errno.ENOENT, errno.ESRCH}


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
