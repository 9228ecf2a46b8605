"""Probes of what a program can be confined and supervised with, without namespaces: seccomp, Landlock, ptrace, proot.

Most of them change the process that asks, so each is run in a fork (:func:`contextkernel.host.trying.in_child`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct

from contextkernel.errors import SyscallFailed
from contextkernel.host.trying import Limited, Refused
from contextkernel.linux import landlock, namespaces
from contextkernel.linux.caps import DEFAULT_CAPABILITIES, set_no_new_privs
from contextkernel.linux.libc import number, syscall
from contextkernel.linux.proot_loaders import loaders_in
from contextkernel.linux.ptrace import trace_me

# <linux/seccomp.h>: struct seccomp_notif (id, pid, flags, struct seccomp_data), struct seccomp_notif_resp
_NOTIFICATION_BYTES = 80
_ANSWER = struct.Struct("=QqiI")
_RECEIVE, _SEND = 0xC050_2100, 0xC018_2101
_PATIENCE_MILLISECONDS = 2000
#: an answer that the kernel itself never gives to capget(2)
_MADE_UP = errno.EXFULL

# landlock(7), "Landlock ABI versions"
_LANDLOCK_NETWORK, _LANDLOCK_SCOPES = 4, 6


def try_seccomp() -> None:
    """Install the default filter and have it refuse something harmless."""
    from contextkernel.linux import seccomp

    set_no_new_privs()
    seccomp.install_filter(seccomp.default_filter(DEFAULT_CAPABILITIES))
    try:
        namespaces.unshare(0)
    except SyscallFailed:
        return
    raise Refused("an installed filter refuses nothing")


def try_seccomp_notify() -> str:
    """Have a child's system call answered by this process, as a supervisor of ``chown`` does (seccomp_unotify(2))."""
    from contextkernel.linux import bpf, seccomp_notify
    from contextkernel.linux.seccomp_policy import ALLOW, NOTIFY

    # capget(2), because no container's own filter refuses it; a policy's tables would take longer than all the rest
    filter_ = bpf.Assembler()
    notified = filter_.jump(bpf.JEQ, number("capget"), filter_.ret(NOTIFY), filter_.ret(ALLOW))
    program = filter_.program(filter_.load(bpf.OFFSET_NUMBER, notified))
    set_no_new_privs()
    listener = seccomp_notify.install_listener(program)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            syscall("capget", None, None)
        except SyscallFailed as failure:
            status = 0 if failure.number == _MADE_UP else 2
        finally:
            os._exit(status)
    try:
        if not _answer(listener):
            os.kill(pid, signal.SIGKILL)
            raise Refused("a supervised call was not handed to its supervisor")
    finally:
        os.close(listener)
        _, status = os.waitpid(pid, 0)
    if status:
        raise Refused("a supervisor's answer did not reach the program")
    return "calls are answered by a supervisor"


def _answer(listener: int) -> bool:
    """Answer one call with :data:`_MADE_UP`; false if none came."""
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    if not waiting.poll(_PATIENCE_MILLISECONDS):
        return False
    received = fcntl.ioctl(listener, _RECEIVE, bytes(_NOTIFICATION_BYTES))
    (call,) = struct.unpack_from("=Q", received)
    fcntl.ioctl(listener, _SEND, _ANSWER.pack(call, 0, -_MADE_UP, 0))
    return True


def try_landlock() -> str:
    """Ask for the ABI version, and draw a line around this process where the kernel can (landlock(7))."""
    version = landlock.abi()
    if not version:
        raise Refused("the kernel has no Landlock, or a filter refuses it")
    if version < _LANDLOCK_NETWORK:
        raise Limited(f"ABI {version}: file system; no TCP, no scopes")
    if version < _LANDLOCK_SCOPES:
        raise Limited(f"ABI {version}: file system, TCP; no scopes")
    set_no_new_privs()
    landlock.restrict(landlock.SCOPE_SIGNAL)
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return f"ABI {version}: file system, TCP, scopes"
    raise Refused("an installed scope keeps no signal in")


def try_ptrace() -> None:
    """Trace a child, as proot does."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            trace_me()
            os.kill(os.getpid(), signal.SIGSTOP)
        except SyscallFailed as failure:
            os.write(write, bytes([failure.number]))
        finally:
            os._exit(0)
    os.close(write)
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        return
    number = os.read(read, 1)
    os.close(read)
    raise SyscallFailed("ptrace", number[0] if number else 0)


def try_proot(path: str, place: str) -> None:
    """Run /bin/true in proot as the engine runs programs: with its loader in the store, since /tmp may be noexec.

    Args:
        path: of proot.
        place: a directory in the store's root.
    """
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        raise OSError(errno.EACCES, "programs of images cannot be started")
    loader = os.path.join(place, "loader")
    with open(path, "rb") as program, open(loader, "wb") as file:
        file.write(loaders_in(program.read()).wide)
    os.chmod(loader, 0o500)
    actions = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in (0, 1, 2)]
    environment = {**os.environ, "PROOT_LOADER": loader}
    pid = os.posix_spawn(path, [path, "-0", "/bin/true"], environment, file_actions=actions)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise Refused(f"proot -0 /bin/true: exit status {status}")
