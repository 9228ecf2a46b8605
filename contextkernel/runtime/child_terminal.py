"""The terminal of a program, from inside: opened in the container's own devpts, handed to the monitor."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from contextkernel.errors import SyscallFailed
from contextkernel.linux import mount as mounts
from contextkernel.linux.openat2 import open_in_root
from contextkernel.linux.terminal import open_peer, set_size, take_control
from contextkernel.runtime import messages
from contextkernel.runtime.messages import Opened

if TYPE_CHECKING:
    from contextkernel.runtime.operations import OpenTerminal


def open_terminal(step: OpenTerminal, root: int, dev: int, report: int) -> None:
    """Open a new terminal, make it this process's, and send its other end to the monitor.

    Args:
        step: its size, and whether it is the console.
        root: descriptor of the container's root.
        dev: descriptor of the container's /dev, for the console.
        report: descriptor of the socket to the monitor.

    Raises:
        SyscallFailed: there is no usable ``/dev/pts/ptmx``.
    """
    ptmx = open_in_root(root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    terminal = _program_end(ptmx, step, report)
    if step.console:
        os.close(os.open("console", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=dev))
        point = os.open("console", os.O_PATH | os.O_NOFOLLOW, dir_fd=dev)
        mounts.bind_at(f"/proc/self/fd/{terminal}", point)
        os.close(point)
    _take(terminal)


def open_hosts_terminal(step: OpenTerminal, report: int) -> str:
    """Like :func:`open_terminal`, with a terminal of the host's own; its name.

    Raises:
        SyscallFailed: there is no usable ``/dev/ptmx``.
    """
    try:
        ptmx = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise SyscallFailed("open", problem.errno or 0, "/dev/ptmx", "this host has no terminals to give") from problem
    terminal = _program_end(ptmx, step, report)
    name = os.ttyname(terminal)
    _take(terminal)
    return name


def _program_end(ptmx: int, step: OpenTerminal, report: int) -> int:
    """The end that the program gets; the other one goes to the monitor, and is closed here."""
    try:
        terminal = open_peer(ptmx)
        set_size(ptmx, step.rows, step.columns)
        with socket.socket(fileno=os.dup(report)) as link:
            messages.send(link, Opened(), [ptmx])
    finally:
        os.close(ptmx)
    return terminal


def _take(terminal: int) -> None:
    """Make it this process's, with its three standard streams; it is closed as such."""
    take_control(terminal)
    for place in range(3):
        os.dup2(terminal, place, inheritable=True)
    os.close(terminal)


def own_streams(uid: int) -> None:
    """Give the standard streams to the program's user, so that it can open ``/dev/stdout``; as runc does.

    Args:
        uid: of that user.
    """
    null = os.makedev(1, 3)
    for place in range(3):
        try:
            if os.fstat(place).st_rdev != null:
                os.fchown(place, uid, -1)
        except OSError:  # it is not this namespace's to give
            continue
