"""Extended attributes: overlay's marks and what a layer carries."""

from __future__ import annotations

import errno
import os

#: overlay's marks: as root, and in a user namespace
OVERLAY_PREFIXES = ("trusted.overlay.", "user.overlay.")
#: names that overlay, or this engine, puts on files; never part of a layer
OWN_PREFIXES = (*OVERLAY_PREFIXES, "user.contextkernel.")
#: on the root of a container's own files: ``uid:gid`` of the user it was to run as, where a single id is mapped
USER = "user.contextkernel.user"
_ABSENT = (errno.ENODATA, errno.ENOTSUP)


def opaque_name(*, userxattr: bool) -> str:
    """Name of the attribute by which overlay marks a directory that hides all below it."""
    return "user.overlay.opaque" if userxattr else "trusted.overlay.opaque"


def get(path: str | int, name: str) -> bytes | None:
    """Value of an attribute, ``None`` if it is not there; links are not followed."""
    try:
        return os.getxattr(path, name) if isinstance(path, int) else os.getxattr(path, name, follow_symlinks=False)
    except OSError as problem:
        if problem.errno in _ABSENT:
            return None
        raise


def is_opaque(path: str | int) -> bool:
    """Whether overlay's mark says the directory hides all below it, in either spelling."""
    return any(get(path, opaque_name(userxattr=kind)) == b"y" for kind in (True, False))


def content(path: str | int) -> dict[str, bytes]:
    """The attributes that belong to a layer: neither overlay's own nor ``security.selinux``; links not followed."""
    try:
        names = os.listxattr(path) if isinstance(path, int) else os.listxattr(path, follow_symlinks=False)
    except OSError as problem:
        if problem.errno in _ABSENT:
            return {}
        raise
    found = {}
    for name in sorted(names):
        if not name.startswith(OWN_PREFIXES) and name != "security.selinux":
            value = get(path, name)
            if value is not None:
                found[name] = value
    return found
