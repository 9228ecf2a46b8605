"""The start of ck-network: a fresh, small interpreter that becomes the service, and forks the inner process."""

from __future__ import annotations

import os
import resource
import signal
import socket
import traceback
from contextlib import suppress
from typing import NoReturn

from contextkernel.linux.descriptors import close_from, null_standard_streams
from contextkernel.linux.namespaces import set_process_name
from contextkernel.linux.signals import reset_signals
from contextkernel.linux.userns_shared import Membership
from contextkernel.network.bench import Bench
from contextkernel.network.inner import serve
from contextkernel.network.journal import Journal
from contextkernel.network.loop import Loop
from contextkernel.network.outbound import Outside, Way
from contextkernel.network.plan import Ground
from contextkernel.network.service import Service

_LISTENER, _MEMBERSHIP = 3, 5
_LINGER = 3.0  # seconds
_LOG = "log"
_LOG_LIMIT = 1 << 16


def main(directory: str, shared: bool, count: int) -> NoReturn:
    """Serve until nobody has needed it for a while; never returns.

    Args:
        directory: where the socket and what is noted are.
        shared: bridges are made in this network namespace; else in one of the inner process's own.
        count: how many descriptors were handed over: listening socket, lock, and maybe a membership.
    """
    status = 1
    try:
        _settle(count)
        if count > _MEMBERSHIP - _LISTENER:
            Membership(_MEMBERSHIP).note()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inner = os.fork()
        if inner == 0:
            ours.close()
            os.close(_LISTENER)
            serve(theirs, shared=shared)
            os._exit(0)
        theirs.close()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        _serve(directory, ours, inner, shared=shared)
        status = 0
    except BaseException:
        _note(directory, traceback.format_exc())
    finally:
        os._exit(status)


def _serve(directory: str, link: socket.socket, inner: int, *, shared: bool) -> None:
    """Find out how containers get outside, then let clients in: until then they wait to be answered."""
    loop = Loop(failed=lambda problem: _note(directory, "".join(traceback.format_exception(problem))))
    services: list[Service] = []

    def lost() -> None:
        for service in services:
            service.lost()
        loop.stop()

    def begin(way: Way) -> None:
        ground = Ground(
            shared=shared,
            outbound=way.kind,
            by=way.by,
            redirect=way.redirect,
            redirect6=way.redirect6,
            filters=way.filters,
        )
        listener = socket.socket(fileno=_LISTENER)
        services.append(Service(loop, listener, bench, Journal(directory), ground, _linger()))

    bench = Bench(loop, link, lost)
    if shared:
        begin(Way(kind="routed"))
        loop.run()
        return
    outside = Outside(loop, bench, inner, lambda: [subnet for service in services for subnet in service.subnets])
    outside.open(begin)
    loop.run()
    outside.close()


def _settle(count: int) -> None:
    """Leave the terminal, the working directory and the open files of whoever started us."""
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    null_standard_streams()
    close_from(_LISTENER + count)
    for descriptor in range(_LISTENER, _LISTENER + count):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes no keyword
    reset_signals()
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    set_process_name("ck-network")
    # every relayed connection takes two descriptors, and two more once it carries much
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _linger() -> float:
    """Seconds to stay when nobody needs it: ``$CONTEXTKERNEL_NETWORK_LINGER``, else a few."""
    try:
        return max(0.0, float(os.environ["CONTEXTKERNEL_NETWORK_LINGER"]))
    except (KeyError, ValueError):
        return _LINGER


def _note(directory: str, text: str) -> None:
    """Keep what went wrong where somebody can find it."""
    path = os.path.join(directory, _LOG)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < _LOG_LIMIT:
                os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError:
        return
