"""Published ports of a container that has the host's network: its own ports are the host's, others are relayed to them.

The relay is a process beside the monitor; it ends when the monitor closes their connection.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

import msgspec

from contextkernel.errors import ContextKernelError, LaunchFailed
from contextkernel.linux import namespaces as ns
from contextkernel.model.networking import PortBinding
from contextkernel.model.networks import BoundPort
from contextkernel.runtime.surroundings import Place, Surrounding

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest, RunState
    from contextkernel.runtime.loop import Loop

_LARGEST = 1 << 16  # bytes of an answer
_HERE = "127.0.0.1"
_ANY = ("0.0.0.0", "::")  # noqa: S104 - what a program that listens by itself is taken to listen on


class _Answer(msgspec.Struct, frozen=True):
    """What became of taking the ports."""

    ports: tuple[BoundPort, ...] = ()
    problem: str = ""
    hint: str = ""


class TracedPorts(Surrounding):
    """The published ports of one container.

    Args:
        request: what is started.
    """

    def __init__(self, request: LaunchRequest) -> None:
        super().__init__()
        asked = request.networking.ports if request.attach is not None and request.attach.mode == "bridge" else ()
        self._own = tuple(one for one in asked if _same(one))
        self._relayed = tuple(one for one in asked if not _same(one))
        self._ports: tuple[BoundPort, ...] = ()
        self._link: socket.socket | None = None

    def enter(self, place: Place, loop: Loop) -> Place:
        """See :class:`Surrounding`."""
        del loop
        self._ports = tuple(
            BoundPort(container_port=one.container_port, protocol=one.protocol, host_ip=ip, host_port=one.host_port)
            for one in self._own
            for ip in ((one.host_ip,) if one.host_ip else _ANY)
        )
        if self._relayed:
            self._ports += self._start()
        return place

    def _start(self) -> tuple[BoundPort, ...]:
        ours, theirs = socket.socketpair()
        try:
            # a sibling: it is none of the container's processes, which are those that descend from the monitor
            if ns.clone(ns.CLONE_PARENT) == 0:
                _become(theirs.fileno(), self._relayed)
            theirs.close()
            data = ours.recv(_LARGEST)
            answer = msgspec.msgpack.decode(data, type=_Answer) if data else _Answer(problem="the relay has ended")
            if answer.problem:
                raise LaunchFailed(answer.problem, hint=answer.hint or None)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        self._link = ours
        return answer.ports

    def leave(self) -> None:
        """See :class:`Surrounding`."""
        self._ports = ()
        if self._link is not None:
            self._link.close()
            self._link = None

    def report(self, state: RunState) -> RunState:
        """See :class:`Surrounding`."""
        return msgspec.structs.replace(state, network=msgspec.structs.replace(state.network, ports=self._ports))


def _same(binding: PortBinding) -> bool:
    """The port outside is the one inside, which the program opens by itself."""
    return binding.host_port == binding.container_port and binding.host_port_end in (0, binding.host_port)


def _become(link: int, bindings: tuple[PortBinding, ...]) -> NoReturn:
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in (0, 1, 2, link):
                _close(int(name))
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        ns.set_process_name("ck-ports")
        _relay(socket.socket(fileno=link), bindings)
    finally:
        os._exit(0)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return


def _relay(link: socket.socket, bindings: tuple[PortBinding, ...]) -> None:
    from contextkernel.network.dial import DirectDialer
    from contextkernel.network.loop import Loop
    from contextkernel.network.ports import PortTable, Target

    loop = Loop()
    try:
        taken = PortTable(loop).take("", bindings)
    except ContextKernelError as problem:
        link.send(msgspec.msgpack.encode(_Answer(problem=problem.problem, hint=problem.hint or "")))
        return
    taken.start(DirectDialer(loop), Target(ipv4=_HERE))
    ports = tuple(msgspec.convert(msgspec.structs.asdict(one), BoundPort) for one in taken.published)
    link.send(msgspec.msgpack.encode(_Answer(ports)))
    loop.add_reader(link.fileno(), loop.stop)
    loop.run()
