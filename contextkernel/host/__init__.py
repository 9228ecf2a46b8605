"""What this machine allows a container engine to do, found out by trying it (DESIGN: facts first, then a plan).

Nothing is tried in the calling process: it has threads. One fresh process tries everything and is thrown away; what it
found is kept in ``host.json`` in the store's root for as long as nothing changes that it depends on.
"""

from __future__ import annotations

import os
import sys
import time

from contextkernel.errors import HostUnsupported, InvalidInput
from contextkernel.host.catalogue import NAMES
from contextkernel.host.conclusions import with_room
from contextkernel.host.findings import Inspection
from contextkernel.host.meaning import notices, refusal
from contextkernel.host.remedies import hint
from contextkernel.host.trying import WITHOUT_VARIABLE, without
from contextkernel.model.backing import BACKINGS, VARIABLE, Backing
from contextkernel.model.ids import IdMap
from contextkernel.model.results import HostReport

__all__ = [
    "Inspection",
    "backing",
    "hint",
    "idmap",
    "inspect",
    "inspect_host",
    "notices",
    "refusal",
    "require_linux",
    "tier",
    "with_room",
]


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
        InvalidInput: ``$CONTEXTKERNEL_WITHOUT`` names no fact.
    """
    from contextkernel.host import cache

    require_linux()
    _check_without()
    place = cache.place(root)
    key = cache.key(place)
    if not refresh:
        known = cache.read(place, key)
        if known is not None:
            return known
    from contextkernel.host.attempt import attempt
    from contextkernel.host.explain import explain

    start = time.perf_counter()
    findings = attempt(place)
    spent = (time.perf_counter() - start) * 1000
    report = explain(findings, spent)
    idmap = findings.idmap
    if report.tier in ("ptrace", "analysis"):
        # a user namespace in which nothing can be mounted is of no use; and who may not set owners is no root
        idmap = IdMap(own=not findings.surroundings.chown)
    found = Inspection(report=report, idmap=idmap)
    if findings.complete:
        # the probe made the root if it was missing: that changes the key
        cache.write(place, cache.key(place), found)
    return found


def _check_without() -> None:
    unknown = [name for name in without() if name not in NAMES]
    if unknown:
        raise InvalidInput(
            f"{WITHOUT_VARIABLE} has {unknown[0]!r}", hint="it takes names of facts, as contextkernel doctor shows them"
        )


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
        Empty also for ``ptrace`` and ``analysis``, where no user namespace can be made; if the user is not root, it
        says that whatever the engine writes belongs to the user (``own``).

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


def backing(report: HostReport) -> Backing:
    """What file systems of containers and build steps are made with.

    ``$CONTEXTKERNEL_BACKING`` asks for less than the host allows, to try it or to get around a kernel's bug.

    Args:
        report: of the host; a fact ``overlay`` that was not tried is taken to work.

    Raises:
        InvalidInput: the variable names nothing that exists, or what this host does not have.
    """
    refused = any(fact.name == "overlay" and fact.verdict == "refused" for fact in report.facts)
    # what needs no user namespace to be refused: these tiers mount nothing at all
    best: Backing = "copy" if refused or report.tier in ("ptrace", "analysis") else "overlay"
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return best
    if wanted not in BACKINGS:
        raise InvalidInput(f"{VARIABLE} is {wanted!r}", hint=f"set it to one of: {', '.join(BACKINGS)}; or unset it")
    if wanted == "overlay" and best != "overlay":
        raise InvalidInput(
            f"{VARIABLE} is 'overlay', which does not work here for {report.tier}",
            hint="unset it: files are copied then; contextkernel doctor has the reason",
        )
    return "copy" if wanted == "copy" else "overlay"
