"""mount(2), the newer mount calls, and overlay's option string."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence

from contextkernel.errors import SyscallFailed
from contextkernel.linux.libc import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, check, libc, syscall
from contextkernel.linux.openat2 import RESOLVE_NO_SYMLINKS, openat2

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24

MNT_DETACH = 2

_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_EMPTY_PATHS = 0x04 | 0x40  # MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08

#: mount(2) takes one page of options, its closing zero included
_OPTION_BYTES = os.sysconf("SC_PAGE_SIZE") - 1


def mount(source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Mount a file system, bind or change a mount (mount(2)).

    Args:
        source: device, directory or any name; meaning depends on ``flags`` and ``fstype``.
        target: where.
        fstype: kind of file system.
        flags: ``MS_...``.
        data: the file system's own options, comma separated.

    Raises:
        SyscallFailed: the kernel refused.
    """
    encode = _encode_optional
    result = libc.mount(encode(source), os.fsencode(target), encode(fstype), ctypes.c_ulong(flags), encode(data))
    check(result, f"mount {fstype}" if fstype else "mount", target)


def _encode_optional(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def umount(target: str, flags: int = 0) -> None:
    """Detach a mount (umount2(2)).

    Raises:
        SyscallFailed: the kernel refused.
    """
    check(libc.umount2(os.fsencode(target), flags), "umount", target)


def bind(source: str, target: str, *, recursive: bool = True) -> None:
    """Make ``source`` visible at ``target`` too, with what is mounted below it if ``recursive``.

    Raises:
        SyscallFailed: the kernel refused.
    """
    mount(source, target, None, MS_BIND | (MS_REC if recursive else 0))


def make_private(path: str = "/") -> None:
    """Let no mount below ``path`` be seen by, or come from, another mount namespace.

    Raises:
        SyscallFailed: the kernel refused.
    """
    mount(None, path, None, MS_REC | MS_PRIVATE)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount_setattr(
    path: str,
    *,
    directory: int = AT_FDCWD,
    set_attributes: int = 0,
    clear: int = 0,
    propagation: int = 0,
    recursive: bool = False,
) -> None:
    """Change the flags of the mount at ``path`` (mount_setattr(2), Linux 5.12); others stay, also locked ones.

    Args:
        path: a mount point; empty for the mount that ``directory`` itself is.
        directory: descriptor that a relative ``path`` counts from.
        set_attributes, clear: ``MOUNT_ATTR_...``.
        propagation: ``MS_PRIVATE``, ``MS_SLAVE`` or ``MS_SHARED``; 0 leaves it.
        recursive: change everything mounted below too.

    Raises:
        SyscallFailed: the kernel refused.
    """
    attr = _MountAttr(attr_set=set_attributes, attr_clr=clear, propagation=propagation)
    flags = (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    size = ctypes.sizeof(attr)
    syscall("mount_setattr", directory, os.fsencode(path), flags, ctypes.byref(attr), size, path=path)


def clone_tree(source: str, *, recursive: bool = True) -> int:
    """A copy of the mount of ``source`` that is mounted nowhere, as a descriptor for :func:`attach`.

    Args:
        source: a path; links in it are followed.
        recursive: with what is mounted below it.

    Raises:
        SyscallFailed: the kernel refused.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return syscall("open_tree", AT_FDCWD, os.fsencode(source), flags, path=source)


def bind_at(source: str, point: int, attributes: int = 0, clear: int = 0) -> None:
    """Make ``source``, with what is mounted below it, visible at an open mount point too, with these flags.

    The flags are set before anybody can see the mount, and its place is not looked up a second time: nobody who may
    change names there can have the flags end up elsewhere (open_tree(2), move_mount(2), Linux 5.12).

    Args:
        source: a path; links in it are followed.
        point: descriptor (``O_PATH``) of a directory, or of a file if ``source`` is none.
        attributes, clear: ``MOUNT_ATTR_...`` to set and to take away, for everything below too.

    Raises:
        SyscallFailed: the kernel refused.
    """
    tree = clone_tree(source)
    try:
        if attributes or clear:
            mount_setattr("", directory=tree, set_attributes=attributes, clear=clear, recursive=True)
        attach(tree, point, source)
    finally:
        os.close(tree)


def copy_mount(path: str) -> int:
    """A copy of the mount at ``path`` that is mounted nowhere, as a descriptor; it may be attached elsewhere.

    Args:
        path: absolute, in this process's mount namespace; links in it are not followed.

    Raises:
        SyscallFailed: there is none, or the kernel refused.
    """
    point = openat2(AT_FDCWD, path, os.O_PATH | os.O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS)
    try:
        return syscall("open_tree", point, b"", _OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH, path=path)
    finally:
        os.close(point)


def attach(tree: int, point: int, source: str | None = None) -> None:
    """Mount what :func:`clone_tree` or :func:`copy_mount` gave at an open mount point (move_mount(2)).

    Args:
        tree: the copy.
        point: descriptor (``O_PATH``) of what it is mounted on.
        source: what it is a copy of, for the error.

    Raises:
        SyscallFailed: the kernel refused.
    """
    syscall("move_mount", tree, b"", point, b"", _MOVE_MOUNT_EMPTY_PATHS, path=source)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root``, a mount point, the root of this mount namespace (pivot_root(2)).

    Raises:
        SyscallFailed: the kernel refused.
    """
    syscall("pivot_root", os.fsencode(new_root), os.fsencode(put_old), path=new_root)


def overlay_escape(path: str) -> str:
    """Quote what separates overlay's options and lower directories."""
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def overlay(
    target: str,
    *,
    lowers: Sequence[str],
    upper: str = "",
    work: str = "",
    userxattr: bool = False,
    volatile: bool = False,
    flags: int = 0,
) -> None:
    """Mount an overlay (kernel: Documentation/filesystems/overlayfs.rst).

    Directory renames are not redirected, and no index or metadata-only copies are made, so that the upper directory
    stays a plain description of what changed. Lower directories are given relative to their common parent, and as
    open descriptors where even that exceeds the page that mount(2) takes.

    Args:
        target: where; an absolute path.
        lowers: absolute paths of the layers, **base first**; at least one.
        upper: receives the changes; empty for a read-only view.
        work: empty directory on the file system of ``upper``.
        userxattr: keep overlay's marks in ``user.overlay.*``; required in a user namespace.
        volatile: skip all syncs: a machine that goes down loses the changes (a killed process does not).
        flags: ``MS_...``.

    Raises:
        SyscallFailed: the kernel refused.
    """
    tail = ""
    if upper:
        tail += f",upperdir={overlay_escape(upper)},workdir={overlay_escape(work)}"
    tail += ",redirect_dir=nofollow,index=off,metacopy=off"
    if userxattr:
        tail += ",userxattr"
    if volatile:
        tail += ",volatile"
    top_first = list(reversed(lowers))
    parent = os.path.commonpath([os.path.dirname(lower) for lower in top_first])
    names = [overlay_escape(os.path.relpath(lower, parent)) for lower in top_first]
    options = f"lowerdir={':'.join(names)}{tail}"
    back = os.open(".", os.O_PATH | os.O_CLOEXEC)
    opened: list[int] = []
    try:
        if len(os.fsencode(options)) <= _OPTION_BYTES:
            os.chdir(parent)
        else:
            opened = [os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for lower in top_first]
            options = f"lowerdir={':'.join(map(str, opened))}{tail}"
            os.chdir("/proc/self/fd")
        mount("overlay", target, "overlay", flags, options)
    except OSError as problem:
        raise SyscallFailed("open", problem.errno or 0, problem.filename) from problem
    except SyscallFailed as failure:
        raise SyscallFailed("mount overlay", failure.number, target, _overlay_hint(failure.number, upper)) from None
    finally:
        os.fchdir(back)
        for descriptor in (back, *opened):
            os.close(descriptor)


def _overlay_hint(number: int, upper: str) -> str | None:
    if number == errno.EINVAL and upper:
        return "the file system of the upper directory may not carry an overlay (another overlay, NFS); move the store"
    if number in (errno.EPERM, errno.ENODEV):
        return "overlay in a user namespace needs Linux 5.11 or newer with the overlay module loaded"
    return None
