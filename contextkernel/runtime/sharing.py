"""What one container shares with another: a namespace, and a mount of it (--ipc container:NAME)."""

from __future__ import annotations

import os
import socket

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux import mount as mounts
from contextkernel.linux import namespaces as ns

_KINDS = {"ipc": ns.CLONE_NEWIPC, "pid": ns.CLONE_NEWPID, "mnt": ns.CLONE_NEWNS}


def join(pid: int, kind: str) -> None:
    """Enter a namespace of process ``pid`` (for a pid namespace: later children do).

    Args:
        pid: as the mounted /proc counts.
        kind: ``ipc``, ``pid`` or ``mnt``.

    Raises:
        LaunchFailed: there is no such process any more. SyscallFailed: the kernel refused.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        raise LaunchFailed(
            f"failed to join the {kind} namespace of process {pid}: {(problem.strerror or str(problem)).lower()}",
            hint="the other container must be running",
        ) from None
    try:
        ns.setns(descriptor, _KINDS[kind])
    finally:
        os.close(descriptor)


def share_mount(pid: int, target: str, point: int) -> None:
    """Show what is mounted at ``target`` of another container at ``point`` of this one.

    A mount can only be copied by a process in its own mount namespace: a child goes there and hands the copy back.

    Args:
        pid: of the other one's first process.
        target: path there.
        point: ``O_PATH`` descriptor of the place here; closed.

    Raises:
        SyscallFailed, LaunchFailed: the kernel refused, or there is nothing to share.
    """
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        _hand_over(there, pid, target)
    there.close()
    try:
        with here:
            text, copies, _, _ = socket.recv_fds(here, 1024, 1)
        os.waitpid(child, 0)
        if not copies:
            reason = text.decode("utf-8", "replace") or "the helper has died"
            raise LaunchFailed(f"failed to share {target} of process {pid}: {reason}")
        copy = copies[0]
        try:
            mounts.attach(copy, point)
        finally:
            os.close(copy)
    finally:
        os.close(point)


def _hand_over(there: socket.socket, pid: int, target: str) -> None:
    try:
        try:
            # of a container whose root is not the root of its mount namespace, the latter is the host's
            root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            join(pid, "mnt")
            os.fchdir(root)
            os.chroot(".")
            socket.send_fds(there, [b"x"], [mounts.copy_mount(target)])
        except (LaunchFailed, SyscallFailed) as problem:
            there.send(problem.problem.encode())
        except OSError as problem:
            there.send(f"its root: {(problem.strerror or str(problem)).lower()}".encode())
    finally:
        os._exit(0)
