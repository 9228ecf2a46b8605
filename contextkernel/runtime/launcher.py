"""The launcher: a small single-threaded process that enters the user namespace once and forks a monitor per container.

A kernel has threads and much memory: it can neither enter a user namespace nor fork quickly. It starts one launcher, a
fresh Python, and sends it requests over a socket. The launcher ends when that socket closes; the monitors go on.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from typing import NoReturn

from contextkernel.errors import ContextKernelError
from contextkernel.linux.caps import read_capabilities
from contextkernel.linux.descriptors import close_all_but, null_standard_streams
from contextkernel.linux.namespaces import set_process_name
from contextkernel.linux.seccomp import default_filter, fake_ids_filter
from contextkernel.linux.signals import reset_signals
from contextkernel.linux.userns import enter
from contextkernel.runtime import messages
from contextkernel.runtime.messages import Decoder, Hello, Launch, Refused, ToLauncher, Welcome
from contextkernel.runtime.monitor import run_monitor
from contextkernel.runtime.plan import CAPABILITIES


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
    decoder: Decoder[Hello | Launch] = Decoder(ToLauncher, "launcher", "client")
    hello, _ = decoder.receive(link)
    if hello is None:
        return
    if not isinstance(hello, Hello):
        messages.unexpected("launcher", "client", hello, "Hello")
    try:
        enter(hello.idmap)
        permitted = read_capabilities().permitted
        default_filter(frozenset(CAPABILITIES))  # compiled once, here, for all containers
        fake_ids_filter()
    except ContextKernelError as problem:
        messages.send(link, Refused(problem.problem, problem.hint))
        return
    # monitors are reaped by the kernel; only after enter(), which waits for a child of its own
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
        _start(link, launch, descriptors, permitted)


def _start(link: socket.socket, launch: Launch, descriptors: list[int], permitted: frozenset[str]) -> None:
    connection = socket.socket(fileno=descriptors[0])
    try:
        if os.fork() == 0:
            link.close()
            run_monitor(launch, connection, descriptors[1:], permitted)
    except OSError as problem:
        text = f"fork: {os.strerror(problem.errno or 0).lower()}"
        messages.send(connection, messages.Failed("setup", text, number=problem.errno or 0))
    finally:
        connection.close()
        for descriptor in descriptors[1:]:
            os.close(descriptor)
