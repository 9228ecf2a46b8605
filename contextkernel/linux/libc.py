"""The C library, its ``syscall`` function, and the one way an errno becomes an error."""

from __future__ import annotations

import ctypes
import os

from contextkernel.errors import HostUnsupported, SyscallFailed

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

#: the same functions called without giving up the interpreter lock: for clone(2), where the child must own it
libc_holding_lock = ctypes.PyDLL(None, use_errno=True)
libc_holding_lock.syscall.restype = ctypes.c_long

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

# Numbers from the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h;
# calls newer than 5.0 have the same number everywhere.
_COMMON = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
_X86_64 = {
    "rt_sigaction": 13,
    "clone": 56,
    "pivot_root": 155,
    "keyctl": 250,
    "seccomp": 317,
    "capget": 125,
    "capset": 126,
}
_GENERIC = {
    "rt_sigaction": 134,
    "clone": 220,
    "pivot_root": 41,
    "keyctl": 219,
    "seccomp": 277,
    "capget": 90,
    "capset": 91,
}
_MACHINES = {"x86_64": _X86_64, "aarch64": _GENERIC, "riscv64": _GENERIC}


def number(call: str) -> int:
    """The number of a system call on this machine.

    Raises:
        HostUnsupported: this machine's numbers are not known here.
    """
    if call in _COMMON:
        return _COMMON[call]
    machine = os.uname().machine
    try:
        return _MACHINES[machine][call]
    except KeyError:
        raise HostUnsupported(
            f"system call {call} is not known for the machine {machine!r}",
            hint=f"supported are {', '.join(sorted(_MACHINES))}",
        ) from None


def check(result: int, call: str, path: str | os.PathLike[str] | None = None, hint: str | None = None) -> int:
    """Return ``result``, or raise what errno says if it is negative.

    Args:
        result: what the C function returned.
        call: its name, for the message.
        path: the file it was about.
        hint: what the failure usually means here.

    Raises:
        SyscallFailed: ``result`` is negative.
    """
    if result < 0:
        raise SyscallFailed(call, ctypes.get_errno(), None if path is None else os.fspath(path), hint)
    return result


def syscall(call: str, *args: object, path: str | os.PathLike[str] | None = None, hint: str | None = None) -> int:
    """Make a system call that the C library may have no function for.

    Args:
        call: its name, see :func:`number`.
        args: integers, ``bytes``, ``None`` or ctypes values.
        path: the file it is about, for the message.
        hint: what a failure usually means here.

    Raises:
        SyscallFailed: it failed.
    """
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return check(libc.syscall(ctypes.c_long(number(call)), *words), call, path, hint)


def prctl(option: int, *args: int, call: str = "prctl") -> int:
    """Change a property of this process (prctl(2)).

    Args:
        option: ``PR_...``.
        args: up to four words.
        call: name for the message.

    Raises:
        SyscallFailed: it failed.
    """
    words = [ctypes.c_ulong(arg) for arg in (*args, 0, 0, 0, 0)[:4]]
    return check(libc.prctl(ctypes.c_int(option), *words), call)
