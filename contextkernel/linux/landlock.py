"""Landlock scopes: whom a program and all that it starts may signal, and whose abstract sockets it may connect to.

A scope draws a line around the calling process and its descendants (landlock(7), "Scope"; Linux 6.12, ABI 6). Nobody
inside can signal a process outside of it, by ``kill``, by a pidfd or through ``F_SETOWN``; or connect to an abstract
unix socket that was bound outside. Any Landlock domain also keeps its processes from tracing those outside, and from
what /proc guards in the same way: memory, open files, root and working directory. Who is outside reaches in as before.

It cannot be joined: a process that is put into the container later starts a line of its own.
"""

from __future__ import annotations

import ctypes
import os

from contextkernel.errors import HostUnsupported, SyscallFailed
from contextkernel.linux.libc import syscall

# <linux/landlock.h>
SCOPE_ABSTRACT_UNIX_SOCKET = 1
SCOPE_SIGNAL = 2
_CREATE_RULESET_VERSION = 1
_SCOPES_SINCE = 6  # ABI version
_REFER_SINCE = 2
_REFER = 1 << 13  # LANDLOCK_ACCESS_FS_REFER
_PATH_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH


class _RulesetAttributes(ctypes.Structure):
    """``struct landlock_ruleset_attr``."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    """``struct landlock_path_beneath_attr``."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """The kernel's Landlock ABI version; 0 where there is no Landlock, or a filter refuses the call."""
    try:
        return syscall("landlock_create_ruleset", None, 0, _CREATE_RULESET_VERSION)
    except (SyscallFailed, HostUnsupported):
        return 0


def scopes_possible() -> bool:
    """Whether :func:`restrict` works here."""
    return abi() >= _SCOPES_SINCE


def tracing_possible() -> bool:
    """Whether :func:`refuse_tracing` works here."""
    return abi() >= _REFER_SINCE


def refuse_tracing() -> None:
    """Keep the calling thread, and all it starts, from tracing processes outside, and from what /proc guards that way.

    For kernels without scopes. A domain must restrict something: this one is about moving and linking files into other
    directories, and allows it everywhere. Whoever is in it cannot mount anything.

    Raises:
        SyscallFailed: EOPNOTSUPP or ENOSYS: no Landlock; EINVAL: the kernel is older than 5.19; EPERM: neither
            no_new_privs nor CAP_SYS_ADMIN.
    """
    hint = "this needs Linux 5.19 or newer with landlock among its security modules"
    attributes = _RulesetAttributes(handled_access_fs=_REFER)
    # older kernels know the first field only, and take no more than they know
    ruleset = syscall("landlock_create_ruleset", ctypes.byref(attributes), ctypes.sizeof(ctypes.c_uint64), 0, hint=hint)
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(allowed_access=_REFER, parent_fd=root)
        syscall("landlock_add_rule", ruleset, _PATH_BENEATH, ctypes.byref(rule), 0, hint=hint)
        syscall("landlock_restrict_self", ruleset, 0, hint=hint)
    finally:
        os.close(root)
        os.close(ruleset)


def restrict(scopes: int) -> None:
    """Draw the line around the calling thread and all it starts; it cannot be taken away again.

    The caller has no_new_privs set, or CAP_SYS_ADMIN in its user namespace.

    Args:
        scopes: ``SCOPE_...`` bits.

    Raises:
        SyscallFailed: EOPNOTSUPP or ENOSYS: no Landlock; EINVAL: the kernel is older than 6.12; EPERM: see above.
    """
    attributes = _RulesetAttributes(scoped=scopes)
    hint = "Landlock scopes need Linux 6.12 or newer with landlock among its security modules"
    size = ctypes.sizeof(attributes)
    ruleset = syscall("landlock_create_ruleset", ctypes.byref(attributes), size, 0, hint=hint)
    try:
        syscall("landlock_restrict_self", ruleset, 0, hint=hint)
    finally:
        os.close(ruleset)
