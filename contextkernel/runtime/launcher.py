"""The launcher: a small single-threaded process that enters the user namespace once and forks a monitor per container.

A kernel has threads and much memory: it can neither enter a user namespace nor fork quickly. It starts one launcher, a
fresh Python, and sends it requests over a socket. The launcher ends when that socket closes; the monitors go on.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
from typing import NoReturn

from contextkernel.errors import ContextKernelError
from contextkernel.linux.caps import read_capabilities, to_mask
from contextkernel.linux.descriptors import close_all_but, null_standard_streams
from contextkernel.linux.libc import libc
from contextkernel.linux.namespaces import set_process_name
from contextkernel.linux.seccomp import default_filter, fixed_filter, recorded_calls
from contextkernel.linux.seccomp_policy import FAKE_IDS_POLICY, RECORDED_IDS_POLICY
from contextkernel.linux.signals import reset_signals
from contextkernel.linux.userns_shared import Membership, enter_shared
from contextkernel.model.container import LaunchRequest
from contextkernel.model.union import decoder_of
from contextkernel.runtime import messages
from contextkernel.runtime.facts import HostFacts
from contextkernel.runtime.messages import Decoder, Hello, Launch, Refused, ToLauncher, Welcome
from contextkernel.runtime.monitor import run_monitor
from contextkernel.runtime.plan import plan_operations
from contextkernel.runtime.plan_security import CAPABILITIES
from contextkernel.runtime.resource_group import base
from contextkernel.runtime.users import resolve

_WARM = 16  # runs after which the interpreter has specialised a function's code


def main(descriptor: int) -> NoReturn:
    """Serve the client on the other end of ``descriptor`` until it goes; never returns.

    Args:
        descriptor: of a connected unix stream socket.
    """
    status = 1
    try:
        _settle(descriptor)
        _serve(socket.socket(fileno=descriptor))
        status = 0
    finally:
        os._exit(status)


def _settle(descriptor: int) -> None:
    """Leave the terminal, the working directory and the open files of whoever started us."""
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes no keyword
    null_standard_streams()
    close_all_but(descriptor)
    reset_signals()
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    set_process_name("ck-launcher")


def _serve(link: socket.socket) -> None:
    decoder: Decoder[ToLauncher] = Decoder(ToLauncher, "launcher", "client")
    hello, _ = decoder.receive(link)
    if hello is None:
        return
    if not isinstance(hello, Hello):
        messages.unexpected("launcher", "client", hello, "Hello")
    try:
        membership = enter_shared(hello.idmap, hello.registry)
        permitted = read_capabilities().permitted
        _rehearse()
    except ContextKernelError as problem:
        messages.send(link, Refused(problem.problem, problem.hint))
        return
    # monitors are reaped by the kernel; only after enter_shared(), which waits for a child of its own
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.disable()  # less to copy after each fork
    messages.send(link, Welcome(os.getpid()))
    while True:
        launch, descriptors = decoder.receive(link)
        if launch is None:
            return
        if not isinstance(launch, Launch):
            messages.unexpected("launcher", "client", launch, "Launch")
        _start(link, launch, descriptors, permitted, membership)
        for descriptor in descriptors:
            os.close(descriptor)


def _rehearse() -> None:
    """Do once, here, what every container would have to do again after its fork: compile, look up, load."""
    default_filter(frozenset(CAPABILITIES))
    for policy in (FAKE_IDS_POLICY, RECORDED_IDS_POLICY):
        fixed_filter(policy)
    recorded_calls()
    for union in (messages.ToMonitor, messages.FromChild):
        decoder_of(union)
    for name in ("mount", "umount2", "prctl", "sethostname"):
        getattr(libc, name)
    os.strerror(errno.ENOENT)
    base()  # where control groups can be made
    request = LaunchRequest(
        id="", argv=("",), env=(), hostname="", network="none", lowers=("/",), upper="/", work="/", state_dir="/"
    )
    for _ in range(_WARM):
        plan_operations(request, HostFacts())
        resolve("", "root:x:0:0::/:\n", "root:x:0:\n")
        to_mask(CAPABILITIES)


def _start(
    link: socket.socket, launch: Launch, descriptors: list[int], permitted: frozenset[str], membership: Membership
) -> None:
    """Fork a monitor for the request."""
    attach = launch.request.attach if launch.facts.isolation == "namespaces" else None
    if attach is not None:
        # loaded when the first container needs it, once for all
        from contextkernel.runtime import network_surrounding

        network_surrounding.prepare(attach, shared=not launch.facts.user_namespace, membership=membership.descriptor)
    try:
        if os.fork() == 0:
            membership.note()  # the monitor outlives this process, and keeps the namespace to be found
            if attach is not None:
                network_surrounding.HOLD.let_go()
            link.close()
            run_monitor(launch, socket.socket(fileno=descriptors[0]), descriptors[1:], permitted)
    except OSError as problem:
        text = f"fork: {os.strerror(problem.errno or 0).lower()}"
        with socket.socket(fileno=os.dup(descriptors[0])) as connection:
            messages.send(connection, messages.Failed("setup", text, number=problem.errno or 0))
