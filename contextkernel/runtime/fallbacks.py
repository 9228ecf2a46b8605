"""What keeps a container apart on this host, and what stands in for what the host refuses; in words. Pure.

One table for ``inspect`` and ``run --plan``; what is said once, as a warning, is what others must be able to rely on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.linux.landlock import FILES_SINCE
from contextkernel.runtime.plan_security import (
    filtered,
    fresh_sysfs,
    isolated_by_filter,
    own_proc,
    plan_namespaces,
    protects_proc,
    scopes,
    unconfined,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contextkernel.model.container import ContainerSpec, LaunchRequest
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.runtime.plan_security import Namespaces

#: what stands in for another root directory where there are no namespaces
TRACED = "shown by a tracer (proot)"
_ROOTS = {"pivot": "pivot_root", "move": "moved mount and chroot", "chroot": "chroot"}


def isolation(request: LaunchRequest, facts: HostFacts, chosen: Namespaces | None = None) -> dict[str, str]:
    """What each part of a container's surroundings is: its own, the host's, another container's.

    Args:
        request: as it is started.
        facts: what this host allows.
        chosen: the namespaces it is cloned with; default: those of the plan.

    Returns:
        Words, by the names that ``inspect`` shows.
    """
    if facts.isolation == "none":
        return _traced(request, facts)
    chosen = chosen or plan_namespaces(request, facts)
    joined = {join.kind for join in request.joins}
    own = chosen.network or bool(facts.network_file)
    network = "host, closed by a system call filter" if isolated_by_filter(request, facts) else "own" if own else "host"
    return {
        "User": "own" if facts.user_namespace else "host",
        "Pid": "container" if "pid" in joined and not facts.shares_pids else _whose(own=chosen.pid),
        "Proc": _proc(request, facts),
        "Sys": "fresh" if fresh_sysfs(request, facts) else "host, read-only",
        "Network": network,
        "Uts": _whose(own=chosen.uts),
        "Ipc": "container" if "ipc" in joined else _whose(own=chosen.ipc),
        "Cgroup": _whose(own=chosen.cgroup or facts.private_group),
        "Root": _ROOTS[facts.root],
        "SystemCalls": "filtered" if filtered(request, facts) else "not filtered",
        "Landlock": _landlock(request, facts),
    }


def _traced(request: LaunchRequest, facts: HostFacts) -> dict[str, str]:
    """What a container without namespaces has."""
    closed = isolated_by_filter(request, facts)
    kept = "files" if facts.landlock >= FILES_SINCE else ""
    if facts.scopes and not unconfined(request) and request.security.landlock:
        kept = ", ".join(filter(None, (kept, "" if request.security.pid == "host" else "signals", "abstract sockets")))
    return {
        **dict.fromkeys(("User", "Pid", "Proc", "Sys", "Network", "Uts", "Ipc", "Cgroup"), "host"),
        **({"Network": "host, closed by a system call filter"} if closed else {}),
        "Root": TRACED,
        "SystemCalls": "filtered" if filtered(request, facts) else "not filtered",
        "Landlock": kept,
    }


def _whose(*, own: bool) -> str:
    return "own" if own else "host"


def _proc(request: LaunchRequest, facts: HostFacts) -> str:
    if own_proc(request, facts):
        return "fresh"
    return "host, read-only" if protects_proc(request, facts) else "host"


def _landlock(request: LaunchRequest, facts: HostFacts) -> str:
    signals, sockets = scopes(request, facts)
    kept = [name for name, closed in (("signals", signals), ("abstract sockets", sockets)) if closed]
    return ", ".join(kept)


def fallbacks(request: LaunchRequest, facts: HostFacts) -> tuple[str, ...]:
    """What stands in for what, in the order of :func:`isolation`, each with the host's reason.

    Args:
        request: as it is started; what it asks for itself is no fallback.
        facts: what this host allows.
    """
    return tuple(f"{text} ({reason})" if reason else text for text, reason in _fallbacks(request, facts))


def _fallbacks(request: LaunchRequest, facts: HostFacts) -> Iterator[tuple[str, str]]:
    security, why = request.security, facts.refusals
    if facts.isolation == "none":
        reason = why.get("user_namespace") or why.get("mount_namespace", "")
        yield "no namespaces: a tracer (proot) shows the container its files, all else is the host's", reason
        yield from _traced_fallbacks(request, facts)
        return
    if security.pid == "":
        if not facts.pid:
            kept = ", which it can neither signal nor look into" if scopes(request, facts)[0] else ""
            yield f"no pid namespace: the container shares the host's processes{kept}", why.get("pid_namespace", "")
        elif facts.proc == "bind" and facts.scopes:
            text = "no new /proc: the container shares the host's processes and sees its /proc, read-only"
            yield text, why.get("fresh_proc", "")
        elif facts.proc == "bind":
            text = "no new /proc: the host's, read-only, whose process numbers are not the container's (ps, pidof)"
            yield text, why.get("fresh_proc", "")
    if isolated_by_filter(request, facts):
        text = "no network namespace: --network none leaves no sockets but unix ones, and no loopback"
        yield text, why.get("network_namespace", "")
    elif not facts.network and request.attach is not None and request.attach.mode == "bridge":
        yield "no network namespace: the container has the host's network", why.get("network_namespace", "")
    if not facts.uts and security.uts != "host":
        yield "no uts namespace: the host name is the host's", why.get("uts_namespace", "")
    if not facts.ipc and security.ipc != "host":
        yield "no ipc namespace: System V shared memory and queues are the host's", why.get("ipc_namespace", "")
    if not facts.cgroup_namespace and security.cgroupns != "host":
        yield "no cgroup namespace: paths of control groups are the host's", why.get("cgroup_namespace", "")
    if facts.root != "pivot":
        text = "the host's root stays mounted below the container's"
        if facts.root == "chroot":
            text = "the root is changed by chroot only, and CAP_SYS_CHROOT is out of reach"
        yield f"no pivot_root: {text}", why.get("pivot_root", "")
    if not facts.tmpfs:
        text = "no tmpfs: directories beside the container's files instead, without a limit of their own"
        yield text, why.get("tmpfs", "")
    if not facts.devpts:
        yield "no devpts: terminals (-t) cannot be had", why.get("devpts", "")
    if not facts.mqueue:
        yield "no mqueue: /dev/mqueue is missing", why.get("mqueue", "")
    if not facts.seccomp and not unconfined(request) and security.seccomp != "unconfined":
        yield "no seccomp: system calls are not filtered", why.get("seccomp", "")


def expected(spec: ContainerSpec, facts: HostFacts) -> tuple[dict[str, str], tuple[str, ...]]:
    """:func:`isolation` and :func:`fallbacks` of a container that has not been started yet.

    Args:
        spec: as it was created.
        facts: what this host allows.
    """
    from contextkernel.model.container import LaunchRequest

    shared = spec.network == "host" or (spec.network != "none" and not facts.network)
    request = LaunchRequest(
        id=spec.id,
        argv=spec.argv,
        env=(),
        hostname=spec.hostname,
        network="host" if shared else "none",
        lowers=(),
        upper="",
        work="",
        security=spec.security,
    )
    return isolation(request, facts), fallbacks(request, facts)


def unheard(spec: ContainerSpec, facts: HostFacts) -> Iterator[str]:
    """Warnings about what was asked for a container and is not had in full on this host.

    Args:
        spec: as it is created.
        facts: what this host allows.
    """
    asked = spec.hostname not in ("", spec.id[:12], os.uname().nodename) and not spec.network.startswith("container:")
    if asked and not facts.uts and spec.security.uts != "host":
        text = f"the host name is the host's, only HOSTNAME is {spec.hostname}"
        yield f"{text}{_because(facts, 'uts_namespace')}"
    if spec.network == "none" and not facts.network:
        text = "--network none is kept by a system call filter: no sockets but unix ones, and no loopback"
        yield f"{text}{_because(facts, 'network_namespace')}"
    if spec.network == "default" and not facts.network and (spec.networking.ports or spec.networking.publish_all):
        text = "published ports are discarded: the container has the host's network"
        yield f"{text}{_because(facts, 'network_namespace')}"


def _because(facts: HostFacts, name: str) -> str:
    reason = facts.refusals.get(name)
    return f": {reason}" if reason else ""


def _traced_fallbacks(request: LaunchRequest, facts: HostFacts) -> Iterator[tuple[str, str]]:
    if facts.landlock < FILES_SINCE:
        yield "no Landlock for files: a program that goes around proot can do all that you can", ""
    if not facts.scopes:
        yield "no Landlock scopes: the program can send signals to all your processes", ""
    if isolated_by_filter(request, facts):
        yield "no network namespace: --network none leaves no sockets but unix ones, and no loopback", ""
    elif request.attach is not None and request.attach.mode == "bridge":
        yield "no network namespace: the container has the host's network, and its ports are the host's", ""


def lowered(facts: HostFacts) -> tuple[str, ...]:
    """Warnings for whoever starts containers here: what elsewhere holds without being asked for, and here does not.

    Args:
        facts: what this host allows.
    """
    found: list[tuple[str, str]] = []
    if facts.isolation == "none":
        return ()  # said by whoever starts programs there
    if facts.shares_pids and not facts.scopes:
        found.append(("containers share the host's processes, and can signal those of the same user", "pid_namespace"))
    if facts.root == "chroot":
        found.append(("the root of containers is changed by chroot alone", "pivot_root"))
    if not facts.seccomp:
        found.append(("containers run without a system call filter", "seccomp"))
    return tuple(f"{text}{_because(facts, name)}" for text, name in found)
