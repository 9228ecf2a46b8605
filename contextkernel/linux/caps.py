"""Capabilities: names, Docker's default set, and giving a container's first process exactly its own (capabilities(7)).

The order in a container's child, with everything else set up::

    limit_bounding(names)                          # while CAP_SETPCAP is still effective
    setgroups; setresgid; setresuid                # the kernel takes all capabilities from a user other than root
    apply_capabilities(for_user(names, uid))       # root keeps the container's
    set_no_new_privs(); install_filter(...); execve

The bounding set limits what any program in the container can ever have: exec gives root (uid 0) all of it. For another
user's program that is to have capabilities of its own, :func:`keep_capabilities` comes before the change of ids.
"""

from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING, NamedTuple

from contextkernel.errors import InvalidInput, SyscallFailed
from contextkernel.linux.libc import prctl, syscall

if TYPE_CHECKING:
    from collections.abc import Iterable

# <linux/capability.h>: the position is the number
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
_NUMBERS = {name: number for number, name in enumerate(CAPABILITIES)}

#: What Docker gives a container that asks for nothing (moby, daemon/pkg/oci/caps/defaults.go).
DEFAULT_CAPABILITIES = frozenset(
    {
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    }
)

# <linux/prctl.h>
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x2008_0522  # _LINUX_CAPABILITY_VERSION_3: two 32-bit words of each set


class CapabilitySets(NamedTuple):
    """A process's five sets, by name."""

    bounding: frozenset[str]
    permitted: frozenset[str]
    effective: frozenset[str]
    inheritable: frozenset[str] = frozenset()
    ambient: frozenset[str] = frozenset()


def to_mask(names: Iterable[str]) -> int:
    """Capabilities as bits.

    Args:
        names: such as ``CAP_CHOWN``.

    Raises:
        InvalidInput: a name that is no capability.
    """
    mask = 0
    for name in names:
        if name not in _NUMBERS:
            raise InvalidInput(f"unknown capability {name!r}", hint="capabilities(7) lists them, e.g. CAP_NET_ADMIN")
        mask |= 1 << _NUMBERS[name]
    return mask


def from_mask(mask: int) -> frozenset[str]:
    """Names of the bits in ``mask``; bits that are newer than this table are left out."""
    return frozenset(name for name, number in _NUMBERS.items() if mask >> number & 1)


def for_user(names: frozenset[str], uid: int) -> CapabilitySets:
    """The sets that a container's program starts with, as Docker (since 20.10.14) and runc give them.

    Args:
        names: the container's capabilities.
        uid: of the program's user inside the container. Root has them all; another user has none, and can only get
            those in the bounding set through set-user-ID programs and file capabilities. Nothing is inheritable
            (CVE-2022-24769) or ambient.
    """
    own = names if uid == 0 else frozenset[str]()
    return CapabilitySets(bounding=names, permitted=own, effective=own)


def apply_capabilities(sets: CapabilitySets) -> None:
    """Give the calling thread exactly these sets; capabilities it does not have itself are left out silently.

    Dropping from the bounding set needs CAP_SETPCAP in the effective set. Ambient capabilities must be permitted and
    inheritable.

    Args:
        sets: the wished sets.

    Raises:
        SyscallFailed: prctl or capset refused; EPERM when the bounding set must shrink and CAP_SETPCAP is missing.
    """
    clear_ambient()
    limit_bounding(sets.bounding)
    have = read_capabilities().permitted
    set_capabilities(sets.permitted & have, sets.effective & have, sets.inheritable & have)
    for name in sorted(sets.ambient & have):
        prctl(_PR_CAP_AMBIENT, 2, _NUMBERS[name], call="prctl(PR_CAP_AMBIENT_RAISE)")


def limit_bounding(names: frozenset[str]) -> None:
    """Drop everything else from the bounding set, the kernel's newest capabilities included.

    Raises:
        SyscallFailed: EPERM without CAP_SETPCAP, when there is something to drop.
    """
    keep = to_mask(names)
    for number in range(64):
        try:
            present = prctl(_PR_CAPBSET_READ, number, call="prctl(PR_CAPBSET_READ)")
        except SyscallFailed:
            break  # EINVAL: the kernel has no more
        if present and not keep >> number & 1:
            prctl(_PR_CAPBSET_DROP, number, call="prctl(PR_CAPBSET_DROP)")


def set_capabilities(
    permitted: frozenset[str], effective: frozenset[str], inheritable: frozenset[str] = frozenset()
) -> None:
    """capset(2) for the calling thread.

    Raises:
        SyscallFailed: EPERM for capabilities beyond the present ones.
    """
    masks = [to_mask(names) for names in (effective, permitted, inheritable)]
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    low, high = ([mask >> shift & 0xFFFF_FFFF for mask in masks] for shift in (0, 32))
    data = (ctypes.c_uint32 * 6)(*low, *high)
    syscall("capset", ctypes.byref(header), ctypes.byref(data))


def clear_ambient() -> None:
    """Empty the ambient set. No error on kernels without one."""
    try:
        prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, call="prctl(PR_CAP_AMBIENT_CLEAR_ALL)")
    except SyscallFailed as problem:
        if problem.number != errno.EINVAL:  # before Linux 4.3
            raise


def keep_capabilities(keep: bool) -> None:
    """Whether permitted capabilities survive the next change from uid 0 to another (PR_SET_KEEPCAPS).

    Raises:
        SyscallFailed: refused by securebits.
    """
    prctl(_PR_SET_KEEPCAPS, int(keep), call="prctl(PR_SET_KEEPCAPS)")


def set_no_new_privs() -> None:
    """No exec gives more privileges from now on, for this thread and all it starts (PR_SET_NO_NEW_PRIVS).

    Raises:
        SyscallFailed: the kernel is older than 3.5.
    """
    prctl(_PR_SET_NO_NEW_PRIVS, 1, call="prctl(PR_SET_NO_NEW_PRIVS)")


def no_new_privs() -> bool:
    """Whether no_new_privs is set for the calling thread."""
    return prctl(_PR_GET_NO_NEW_PRIVS, call="prctl(PR_GET_NO_NEW_PRIVS)") == 1


def read_status(pid: int | None = None) -> dict[str, str]:
    """The fields of ``/proc/PID/status`` (proc(5)) as text.

    Args:
        pid: process id; ``None`` is the calling thread's process.

    Raises:
        SyscallFailed: no such process, or no /proc.
    """
    path = f"/proc/{'self' if pid is None else pid}/status"
    try:
        with open(path, encoding="utf-8", errors="replace") as status:
            return {name: value.strip() for name, _, value in (line.partition(":") for line in status)}
    except OSError as problem:
        raise SyscallFailed("open", problem.errno or 0, path) from problem


def read_capabilities(pid: int | None = None) -> CapabilitySets:
    """The capability sets of a process.

    Args:
        pid: process id; ``None`` is the calling process.

    Raises:
        SyscallFailed: no such process, or no /proc.
    """
    status = read_status(pid)
    bounding, permitted, effective, inheritable, ambient = (
        from_mask(int(status.get(f"Cap{part}", "0"), 16)) for part in ("Bnd", "Prm", "Eff", "Inh", "Amb")
    )
    return CapabilitySets(bounding, permitted, effective, inheritable, ambient)
