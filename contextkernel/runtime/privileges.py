"""How a container's first process gives privileges up, and sets what belongs to its namespaces."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux import landlock, xattr
from contextkernel.linux.caps import limit_bounding
from contextkernel.linux.openat2 import open_in_root
from contextkernel.linux.seccomp import default_filter, install_filter, profile_filter
from contextkernel.runtime.image_users import identity_of

_NOT_HERE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def limit_capabilities(names: tuple[str, ...], required: tuple[str, ...], permitted: frozenset[str]) -> None:
    """Shrink the bounding set to ``names``.

    Args:
        names: what may stay.
        required: what was asked for by name.
        permitted: what this engine has itself.

    Raises:
        LaunchFailed: it has not all that is required.
    """
    missing = [name for name in required if name not in permitted]
    if missing:
        raise LaunchFailed(
            "capability not supported by your kernel or not available in the current environment: "
            + ", ".join(missing),
            hint="this engine does not have it itself, so it cannot give it to a container",
        )
    limit_bounding(frozenset(names))


def limit_scope(*, signals: bool, sockets: bool, tracing: bool) -> None:
    """Draw a Landlock line around this process and all it starts; see :class:`operations.LimitScope`.

    Raises:
        SyscallFailed: the kernel has no such Landlock, or refuses.
    """
    if signals or sockets:
        landlock.restrict(landlock.SCOPE_SIGNAL * signals | landlock.SCOPE_ABSTRACT_UNIX_SOCKET * sockets)
    elif tracing:
        landlock.refuse_tracing()


def install_policy(capabilities: frozenset[str], profile: str) -> None:
    """Install the system call filter of a container with this bounding set: the default one, or a profile's (JSON)."""
    if not profile:
        install_filter(default_filter(capabilities))
        return
    found = profile_filter(profile, capabilities)
    if found is not None:
        program, log = found
        install_filter(program, log=log)


def note_user(root: int, user: str) -> None:
    """Note whom a program that stays root was to run as, for whoever reads the container's files later.

    Args:
        root: descriptor of the container's root.
        user: ``user[:group]``, names of the image or ids; empty is root.

    Raises:
        InvalidInput: no such user or group.
    """
    identity = identity_of(user, root=root)
    path = f"/proc/self/fd/{root}"
    with suppress(OSError):  # a file system without such attributes: all that is new is root's there
        if identity.uid or identity.gid:
            os.setxattr(path, xattr.USER, b"%d:%d" % (identity.uid, identity.gid))
        else:
            os.removexattr(path, xattr.USER)


def set_sysctl(root: int, name: str, value: str, *, required: bool) -> None:
    """Write a kernel setting.

    Args:
        root: descriptor of the container's root, whose /proc it goes through.
        name: path below /proc/sys.
        value: as text.
        required: raise where it is missing or refused.

    Raises:
        LaunchFailed: it is required.
    """
    path = f"/proc/sys/{name}"
    try:
        descriptor = open_in_root(root, path, os.O_WRONLY)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except (SyscallFailed, OSError) as problem:
        number = problem.number if isinstance(problem, SyscallFailed) else problem.errno or 0
        if required:
            doing = "open" if isinstance(problem, SyscallFailed) else "write"
            raise LaunchFailed(
                f"{doing} {path}: {os.strerror(number).lower()}", hint=_hint(number, name, value)
            ) from None
        if number not in _NOT_HERE:
            raise


def _hint(number: int, name: str, value: str) -> str:
    setting = name.replace("/", ".")
    if number == errno.ENOENT:
        return f"this kernel has no setting {setting}"
    if number in _REFUSED:
        return f"this host does not let the container's root change {setting}"
    return f"the kernel does not take {value!r} for {setting}"
