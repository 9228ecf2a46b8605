"""The part of ck-network that changes links, addresses, routes and filters, one request after the other.

It may enter any container's network namespace and come back. Where bridges are in the host's network namespace, it is
there; else it makes one of its own, which lives as long as it does.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, assert_never

from contextkernel.errors import ContextKernelError, SyscallFailed
from contextkernel.linux.namespaces import CLONE_NEWNET, set_process_name, unshare
from contextkernel.linux.net import loopback_up
from contextkernel.network.messages import (
    Abandon,
    Adopt,
    Applied,
    Apply,
    Failed,
    Link,
    Made,
    MakeSockets,
    Ready,
    Restore,
    ToInner,
)

if TYPE_CHECKING:
    from contextkernel.network.apply import Applier, Places

_BACKLOG = 256


def serve(connection: socket.socket, *, shared: bool) -> None:
    """Serve the process on the other end of ``connection`` until it goes.

    Args:
        connection: a socket that keeps packets apart.
        shared: work in this network namespace; else in a new one.
    """
    set_process_name("ck-network-in")
    link: Link[ToInner] = Link(connection, ToInner, "inner network process", "network service")
    try:
        if not shared:
            unshare(CLONE_NEWNET)
            with suppress(SyscallFailed):
                loopback_up()
        from contextkernel.network.apply import Applier, Places

        places = Places()
        applier = Applier(places)
    except ContextKernelError as problem:
        link.send(Ready(problem.problem, problem.hint))
        return
    except ImportError as problem:
        link.send(Ready(f"{problem.name or 'a module'} cannot be loaded: {problem}", "install pyroute2"))
        return
    link.send(Ready())
    while True:
        request, descriptors = link.receive()
        if request is None:
            return
        answer, made = _answer(request, descriptors, places, applier)
        if answer is not None:
            link.send(answer, [one.fileno() for one in made])
        for one in made:
            one.close()


def _answer(
    request: ToInner, descriptors: list[int], places: Places, applier: Applier
) -> tuple[Applied | Made | Failed | None, list[socket.socket]]:
    try:
        match request:
            case Adopt(place):
                places.add(place, descriptors[0])
            case Abandon(place):
                places.remove(place)
            case Restore():
                applier.restore()
            case Apply(number, operations, unless):
                if not unless or not applier.has_link(unless):
                    applier.apply(operations)
                return Applied(number), []
            case MakeSockets(number):
                return Made(number), _sockets(request, places)
            case _:
                assert_never(request)
    except SyscallFailed as problem:
        return Failed(getattr(request, "number", 0), problem.problem, problem.number, problem.hint), []
    except OSError as problem:
        text = os.strerror(problem.errno or 0).lower()
        return Failed(getattr(request, "number", 0), text, problem.errno or 0), []
    except Exception as problem:
        return Failed(getattr(request, "number", 0), f"{type(problem).__name__}: {problem}"), []
    return None, []


def _sockets(wanted: MakeSockets, places: Places) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        with places.inside(wanted.place):
            for _ in range(wanted.count):
                one = socket.socket(wanted.family, wanted.kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
                made.append(one)
                if wanted.bind is not None:
                    if wanted.kind == socket.SOCK_STREAM:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.bind(wanted.bind)
                if wanted.listen:
                    one.listen(_BACKLOG)
    except BaseException:
        for one in made:
            one.close()
        raise
    return made
