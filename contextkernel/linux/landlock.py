"""Landlock: what a program and all that it starts may do with files, and whom they may signal and talk to.

A domain is drawn around the calling process and its descendants (the kernel's userspace-api/landlock.rst). It holds for
good, and a process that is put into the container later draws one of its own.

* **Files** (Linux 5.13; used from ABI 2 on, which lets files be renamed and linked between directories): opening,
  executing, making and removing is allowed below the named paths only. What it does not cover: ``stat`` and ``chdir``,
  changes of mode, owner, times and extended attributes, and connecting to a unix socket that has a name.
* **Scopes** (Linux 6.12, ABI 6): nobody inside can signal a process outside, by ``kill``, by a pidfd or through
  ``F_SETOWN``; or connect to an abstract unix socket that was bound outside.
* Any domain also keeps its processes from tracing those outside, and from what /proc guards in the same way: memory,
  open files, environment, root and working directory. Who is outside reaches in as before.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

from contextkernel.errors import HostUnsupported, SyscallFailed
from contextkernel.linux.libc import syscall

# <linux/landlock.h>
SCOPE_ABSTRACT_UNIX_SOCKET = 1
SCOPE_SIGNAL = 2
_CREATE_RULESET_VERSION = 1
_SCOPES_SINCE = 6  # ABI version
_PATH_BENEATH = 1

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
_ABI_1 = (1 << 13) - 1  # and removing and making of each kind of file
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEVICE = 1 << 15
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE  # the rest is about directories

#: what may be done with files that are only looked at
READ = READ_FILE | READ_DIR
#: everything but executing, which has to be granted by itself
WRITE = (_ABI_1 | REFER | TRUNCATE | IOCTL_DEVICE) & ~EXECUTE

#: without ABI 2 nothing could be renamed into another directory, which package managers do
FILES_SINCE = 2
#: without ABI 3 a file that may only be read could be emptied
TRUNCATE_SINCE = 3


class _RulesetAttributes(ctypes.Structure):
    """``struct landlock_ruleset_attr``."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneathAttributes(ctypes.Structure):
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
    """Whether :func:`restrict` works with scopes here."""
    return abi() >= _SCOPES_SINCE


def tracing_possible() -> bool:
    """Whether :func:`refuse_tracing` works here."""
    return abi() >= FILES_SINCE


def refuse_tracing() -> None:
    """Keep the calling thread, and all it starts, from tracing processes outside, and from what /proc guards that way.

    For kernels without scopes. A domain must restrict something: this one is about moving and linking files into other
    directories, and allows it everywhere. Whoever is in it cannot mount anything.

    Raises:
        SyscallFailed: EOPNOTSUPP or ENOSYS: no Landlock; EINVAL: the kernel is older than 5.19; EPERM: neither
            no_new_privs nor CAP_SYS_ADMIN.
    """
    hint = "this needs Linux 5.19 or newer with landlock among its security modules"
    attributes = _RulesetAttributes(handled_access_fs=REFER)
    # older kernels know the first field only, and take no more than they know
    ruleset = syscall("landlock_create_ruleset", ctypes.byref(attributes), ctypes.sizeof(ctypes.c_uint64), 0, hint=hint)
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneathAttributes(REFER, root)
        syscall("landlock_add_rule", ruleset, _PATH_BENEATH, ctypes.byref(rule), 0, hint=hint)
        syscall("landlock_restrict_self", ruleset, 0, hint=hint)
    finally:
        os.close(root)
        os.close(ruleset)


def handled_rights(version: int) -> int:
    """The rights to files that a kernel knows.

    Args:
        version: of its ABI.
    """
    newer = {2: REFER, 3: TRUNCATE, 5: IOCTL_DEVICE}
    return _ABI_1 | sum(right for since, right in newer.items() if version >= since)


def restrict(scopes: int, rules: Iterable[tuple[str, int]] | None = None) -> None:
    """Draw the line around the calling thread and all it starts; it cannot be taken away again.

    The caller has no_new_privs set, or CAP_SYS_ADMIN in its user namespace.

    Args:
        scopes: ``SCOPE_...`` bits.
        rules: ``(path, rights)``: what may be done with the file, or below the directory, that is there now; links are
            followed. A path that does not exist allows nothing. ``None``: files are not restricted.

    Raises:
        SyscallFailed: EOPNOTSUPP or ENOSYS: no Landlock; EINVAL: the kernel is older than 6.12; EPERM: see above.
    """
    handled = handled_rights(abi()) if rules is not None else 0
    attributes = _RulesetAttributes(handled_access_fs=handled, scoped=scopes)
    hint = "Landlock scopes need Linux 6.12 or newer with landlock among its security modules"
    # a kernel that does not know the last fields takes the structure without them
    size = ctypes.sizeof(attributes) if scopes else _RulesetAttributes.handled_access_net.offset
    ruleset = syscall("landlock_create_ruleset", ctypes.byref(attributes), size, 0, hint=hint)
    try:
        for path, rights in rules or ():
            _allow(ruleset, path, rights & handled)
        syscall("landlock_restrict_self", ruleset, 0, hint=hint)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        if rights:
            rule = _PathBeneathAttributes(rights, descriptor)
            syscall("landlock_add_rule", ruleset, _PATH_BENEATH, ctypes.byref(rule), 0, path=path)
    finally:
        os.close(descriptor)
