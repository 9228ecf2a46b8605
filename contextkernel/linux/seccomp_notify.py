"""Seccomp user notification (seccomp_unotify(2)): a process outside answers chosen system calls of others.

Whoever holds the listener hears of each call, with its arguments as they were in registers; what they point to is read
from the caller's memory. All answers here are of the kind "I have done it, and this is the result": none lets the
kernel go on with a call whose memory another thread may have changed meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from typing import NamedTuple

from contextkernel.errors import HostUnsupported, SyscallFailed
from contextkernel.linux.libc import AT_FDCWD, syscall
from contextkernel.linux.openat2 import openat2
from contextkernel.linux.seccomp import SET_MODE_FILTER, SPECULATION_ALLOWED, FilterProgram

# <linux/seccomp.h>
_GET_NOTIF_SIZES = 3
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE_RECV = 1 << 5  # Linux 5.19: once heard, only a deadly signal interrupts the caller
_RECV = 0xC050_2100  # SECCOMP_IOCTL_NOTIF_RECV
_SEND = 0xC018_2101  # SECCOMP_IOCTL_NOTIF_SEND
_ID_VALID = 0x4008_2102  # SECCOMP_IOCTL_NOTIF_ID_VALID
_NOTIFICATION = struct.Struct("=QII iIQ6Q")  # struct seccomp_notif with its struct seccomp_data
_RESPONSE = struct.Struct("=QqiI")  # struct seccomp_notif_resp
_SIZES = struct.Struct("=HHH")  # struct seccomp_notif_sizes
_DATA_SIZE = 64


class Call(NamedTuple):
    """A system call that waits for its answer.

    Attributes:
        id: of the notification.
        pid: thread that makes the call, in the pid namespace of whoever listens; 0: not to be seen from there.
        number: of the call, in the table of ``audit``.
        audit: AUDIT_ARCH_* of the way into the kernel.
        arguments: six words, unsigned.
    """

    id: int
    pid: int
    number: int
    audit: int
    arguments: tuple[int, ...]


def install_listener(program: bytes) -> int:
    """Install a filter some of whose verdicts are left to a supervisor (seccomp_unotify(2)), and get its descriptor.

    The caller is as for :func:`contextkernel.linux.seccomp.install_filter`. Whoever reads from the descriptor must not
    make the calls that it decides on.

    Args:
        program: from :func:`contextkernel.linux.seccomp.compile_policy`, with rules whose action is ``NOTIFY``.

    Returns:
        The listener, close-on-exec. Calls fail with ENOSYS once nobody holds it.

    Raises:
        HostUnsupported: this kernel's notifications, or its way to open names safely, are not those known here.
        SyscallFailed: refused; EBUSY where another filter of this process has a listener.
    """
    _check_sizes()
    fprog = FilterProgram(len(program) // 8, program)
    hint = "supervised calls need Linux 5.0 or newer, and no other supervisor"
    wanted = (_WAIT_KILLABLE_RECV | SPECULATION_ALLOWED, SPECULATION_ALLOWED, 0)
    for flags in wanted:
        try:
            return syscall("seccomp", SET_MODE_FILTER, _NEW_LISTENER | flags, ctypes.byref(fprog), hint=hint)
        except SyscallFailed as problem:
            if problem.number != errno.EINVAL or not flags:
                raise
    raise AssertionError("unreachable")


def _check_sizes() -> None:
    sizes = ctypes.create_string_buffer(_SIZES.size)
    syscall("seccomp", _GET_NOTIF_SIZES, 0, sizes)
    known = (_NOTIFICATION.size, _RESPONSE.size, _DATA_SIZE)
    if _SIZES.unpack(sizes.raw) != known:
        raise HostUnsupported(f"seccomp notifications of sizes {_SIZES.unpack(sizes.raw)}, known are {known}")
    # without it names cannot be followed safely (Linux 5.6)
    os.close(openat2(AT_FDCWD, "/", os.O_PATH))


def receive(listener: int) -> Call | None:
    """Take the next call; waits for one if there is none.

    Returns:
        ``None`` when its caller has been killed, or interrupted, meanwhile.

    Raises:
        OSError: the listener is none, or broken.
    """
    data = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECV, data)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    identity, pid, _, number, audit, _, *arguments = _NOTIFICATION.unpack(data)
    return Call(identity, pid, number, audit, tuple(arguments))


def is_valid(listener: int, call: Call) -> bool:
    """Whether the caller still waits: only then its pid is still its own."""
    try:
        fcntl.ioctl(listener, _ID_VALID, struct.pack("=Q", call.id))
    except OSError as problem:
        if problem.errno == errno.ENOENT:
            return False
        raise
    return True


def answer(listener: int, call: Call, number: int) -> None:
    """End a call: 0 for success with the result 0, else the errno it fails with. A caller that has gone is no error."""
    try:
        fcntl.ioctl(listener, _SEND, _RESPONSE.pack(call.id, 0, -number, 0))
    except OSError as problem:
        if problem.errno not in (errno.ENOENT, errno.EINPROGRESS):
            raise
