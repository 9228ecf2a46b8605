"""What this machine allows a container engine to do, found out by trying it (DESIGN: facts first, then a plan).

Nothing is tried in the calling process: it has threads. One fresh process tries everything and is thrown away; what it
found is kept in ``host.json`` in the store's root for as long as nothing changes that it depends on.
"""

from __future__ import annotations

import os
import sys

from contextkernel.errors import HostUnsupported
from contextkernel.host.findings import Inspection
from contextkernel.model.ids import IdMap
from contextkernel.model.results import HostReport

__all__ = ["Inspection", "idmap", "inspect", "inspect_host", "require_linux", "tier"]


def require_linux() -> None:
    """Check that containers can exist here at all.

    Raises:
        HostUnsupported: this is not Linux; the hint says what to use instead.
    """
    platform: str = sys.platform
    if platform == "linux":
        return
    instead = "a JupyterHub on Linux, or a Binder (https://mybinder.org)"
    if platform == "win32":
        instead = f"WSL 2 (`wsl --install`, then install contextkernel inside it), {instead}"
    elif platform == "darwin":
        instead = f"a Linux virtual machine (`limactl start`, then install contextkernel inside it), {instead}"
    here = {"darwin": "macOS", "win32": "Windows"}.get(platform, platform)
    raise HostUnsupported(f"containers need Linux, this is {here}", hint=f"use {instead}")


def inspect(root: str | os.PathLike[str] | None = None, *, refresh: bool = False) -> Inspection:
    """Everything known about this host: report, id map, and whether it was found out just now.

    Args:
        root: the store's directory, made if missing: overlay works on some file systems only, and this is where it
            is tried. Default: the default store.
        refresh: try again even if nothing seems to have changed.

    Raises:
        HostUnsupported: not Linux.
    """
    from contextkernel.host import cache

    require_linux()
    place = cache.place(root)
    key = cache.key(place)
    if not refresh:
        known = cache.read(place, key)
        if known is not None:
            return known
    from contextkernel.host.attempt import attempt
    from contextkernel.host.explain import explain

    findings = attempt(place)
    found = Inspection(report=explain(findings), idmap=findings.idmap)
    if findings.complete:
        # the probe made the root if it was missing: that changes the key
        cache.write(place, cache.key(place), found)
    return found


def inspect_host(root: str | os.PathLike[str] | None = None, *, refresh: bool = False) -> HostReport:
    """The facts about this host, its tier, and what would improve it.

    Args:
        root: the store's directory (see :func:`inspect`).
        refresh: try again even if nothing seems to have changed.

    Raises:
        HostUnsupported: not Linux.
    """
    return inspect(root, refresh=refresh).report


def idmap(root: str | os.PathLike[str] | None = None) -> IdMap:
    """The id map that containers get here.

    Returns:
        Empty for ``rootful``, one id for ``rootless-single``, one's own id and the subordinate range for ``rootless``.
        Empty also for ``ptrace`` and ``analysis``, where no user namespace can be made: no container starts there, and
        whatever the engine writes belongs to the user.

    Raises:
        HostUnsupported: not Linux.
    """
    return inspect(root).idmap


def tier(root: str | os.PathLike[str] | None = None) -> str:
    """``rootful``, ``rootless``, ``rootless-single``, ``ptrace`` or ``analysis``.

    Raises:
        HostUnsupported: not Linux.
    """
    return inspect(root).report.tier
