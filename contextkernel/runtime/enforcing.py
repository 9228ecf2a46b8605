"""Which limit is kept by what: a control group where there is one, else the nearest thing that an ordinary process has.

Pure; :mod:`contextkernel.runtime.resource_group` carries it out in the container's monitor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from contextkernel.model.resources import Discarded, Enforced, Resources, Way
from contextkernel.model.step_mounts import Limit
from contextkernel.runtime.cgroup_settings import PERIOD, parse_cpus, quota_and_period, settings

if TYPE_CHECKING:
    from contextkernel.runtime.cgroup_settings import Setting

_NICEST = 19
_USUAL_SHARES = 1024
_GROUP: dict[int, Way] = {1: "cgroup v1", 2: "cgroup v2"}
_VERSION2_LACKS = {
    "--memory-swappiness": "control groups of version 2 have no swappiness",
    "--oom-kill-disable": "control groups of version 2 always kill when memory is used up",
    "--cpu-rt-period": "control groups of version 2 do not limit real-time tasks",
    "--cpu-rt-runtime": "control groups of version 2 do not limit real-time tasks",
}


class GroupFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What control groups this host lets the engine make.

    Attributes:
        version: 0 where none can be made.
        controllers: those that containers get.
        files: names of the files that a group has.
        reason, remedy: why controllers are missing.
        cpus: processors that this process may use.
    """

    version: int = 0
    controllers: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    reason: str = ""
    remedy: str = ""
    cpus: frozenset[int] = frozenset()


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """How the limits of one container are kept on one host.

    Attributes:
        report: every limit that was asked for, in the order of docker's options.
        rlimits: resource limits for every process, besides those that were asked for.
        pids: number of processes that RLIMIT_NPROC stands in for; 0 for none.
        cpus: processors that processes start on; empty for all.
        nice: how much lower their priority is.
    """

    report: tuple[Enforced, ...] = ()
    rlimits: tuple[Limit, ...] = ()
    pids: int = 0
    cpus: frozenset[int] = frozenset()
    nice: int = 0


def enforcement(resources: Resources, facts: GroupFacts, seed: int = 0) -> Enforcement:
    """How ``resources`` are kept on a host with ``facts``.

    Args:
        resources: what was asked for.
        facts: of the host.
        seed: any number; containers with different ones use different processors where they may not use all.
    """
    report: dict[str, Enforced] = {}
    rlimits: list[Limit] = []
    pids = nice = 0
    for setting in settings(resources, facts.version or 1, lambda path: path):
        known = report.get(setting.option)
        if _in_group(setting, facts):
            if known is None:
                report[setting.option] = Enforced(
                    option=setting.option, value=asked_value(resources, setting.option), way=_GROUP[facts.version]
                )
            continue
        report[setting.option] = _instead(setting.option, resources, facts)
        match setting.option:
            case "--memory" if report[setting.option].way == "rlimit":
                rlimits.append(Limit("data", resources.memory, resources.memory))
            case "--pids-limit" if report[setting.option].way == "rlimit":
                pids = resources.pids_limit
            case "--cpu-shares" if report[setting.option].way == "nice":
                nice = nice_of_shares(resources.cpu_shares)
    return Enforcement(
        report=(*report.values(), *_own(resources), *_discarded(resources)),
        rlimits=tuple(rlimits),
        pids=pids,
        cpus=processors(resources, facts.cpus, seed),
        nice=nice,
    )


def processors(resources: Resources, usable: frozenset[int], seed: int = 0) -> frozenset[int]:
    """The processors that a container starts on: ``--cpuset-cpus``, and no more than ``--cpus`` rounded up.

    ``nproc`` and thread pools inside count these. Where less than all are enough, which ones depends on ``seed``.

    Returns:
        Empty for no restriction.
    """
    allowed = parse_cpus(resources.cpuset_cpus) & usable if resources.cpuset_cpus else usable
    quota, period = quota_and_period(resources)
    wanted = math.ceil(quota / (period or PERIOD)) if quota > 0 else len(allowed)
    if not allowed or (wanted >= len(allowed) and allowed == usable):
        return frozenset()
    ordered = sorted(allowed)
    return frozenset(ordered[(seed + place) % len(ordered)] for place in range(min(wanted, len(ordered))))


def nice_of_shares(shares: int) -> int:
    """The nice level whose weight is nearest to ``shares`` of 1024: each level is worth a factor of 1.25 (sched(7))."""
    if shares >= _USUAL_SHARES:
        return 0
    return min(_NICEST, round(math.log(_USUAL_SHARES / max(shares, 2)) / math.log(1.25)))


def warning_of(one: Enforced) -> str:
    """What is said on standard error of a limit that does not hold as docker's would; empty if it does."""
    if one.complete:
        return ""
    how = {"none": "is not enforced", "rlimit": "is kept by a resource limit only"}.get(
        one.way, f"is kept by {one.way}"
    )
    remedy = f"; to change that: {one.remedy}" if one.remedy else ""
    return f"{one.option} {one.value} {how}: {one.detail}{remedy}"


#: what docker drops with a warning where the kernel has no file for it (moby, daemon/daemon_unix.go), and its words
_DROPPED = {
    "--memory-swappiness": (
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted."
        " Memory swappiness discarded."
    ),
    "--memory-reservation": (
        "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted."
        " Limitation discarded."
    ),
    "--oom-kill-disable": "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
    "--blkio-weight": ("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."),
    "--blkio-weight-device": (
        "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded."
    ),
}
_NO_SWAP = (
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
)
_UNBOUNDED = (
    "OOM killer is disabled for the container, but no memory limit is set, "
    "this can result in the system running out of resources."
)


def adapted(asked: Resources, facts: GroupFacts) -> tuple[Resources, tuple[str, ...]]:
    """What a container is created with: without the limits that docker would drop on such a host.

    Returns:
        The limits, with what was dropped in ``discarded``; and what is to be said, docker's words where it has any.
    """
    fields: dict[str, object] = {}
    discarded: list[Discarded] = []
    said: list[str] = []
    for one in enforcement(asked, facts).report:
        text = warning_of(one)
        if one.way == "none" and one.option in _DROPPED:
            name = one.option.removeprefix("--").replace("-", "_")
            fields[name] = getattr(Resources(), name)
            discarded.append(Discarded(one.option, one.value, one.detail, one.remedy))
            text = _DROPPED[one.option] + (f" ({text})" if facts.reason else "")
        if one.option == "--memory-swap" and one.way == "none" and "memory" in facts.controllers:
            fields["memory_swap"] = -1  # docker's
            text = _NO_SWAP
        if text:
            said.append(text)
    if asked.oom_kill_disable and not asked.memory and "oom_kill_disable" not in fields:
        said.append(_UNBOUNDED)
    kept = msgspec.structs.replace(asked, **fields, discarded=(*asked.discarded, *discarded))
    return kept, tuple(said)


def _in_group(setting: Setting, facts: GroupFacts) -> bool:
    return setting.controller in facts.controllers and bool(set(setting.files) & facts.files)


def _instead(option: str, resources: Resources, facts: GroupFacts) -> Enforced:
    """What stands in for a control group that cannot be had."""
    value = asked_value(resources, option)
    reason, remedy = _why(option, facts)
    if option in _VERSION2_LACKS and facts.version == 2:
        return Enforced(option=option, value=value, way="none", detail=_VERSION2_LACKS[option])

    def by(way: Way, detail: str) -> Enforced:
        return Enforced(option=option, value=value, way=way, detail=f"{detail}; {reason}", remedy=remedy)

    match option:
        case "--memory":
            return by("rlimit", "RLIMIT_DATA bounds the data of each process by itself, not of all together")
        case "--pids-limit" if resources.pids_limit > 0:
            return by(
                "rlimit",
                "RLIMIT_NPROC counts this user's processes in all containers: those there were, and this many more",
            )
        case "--pids-limit":
            return Enforced(option=option, value=value, way="process")
        case "--cpuset-cpus":
            return by("affinity", "a program may move itself to other processors")
        case "--cpus" | "--cpu-quota" if processors(resources, facts.cpus):
            return by("affinity", "rounded up to whole processors, and a program may move itself to others")
        case "--cpu-shares" if resources.cpu_shares < _USUAL_SHARES:
            return by("nice", f"nice level {nice_of_shares(resources.cpu_shares)} for each process")
        case "--memory-swap" if "memory" in facts.controllers:
            return Enforced(option=option, value=value, way="none", detail="the kernel does not count swap here")
        case "--memory-swap" if resources.memory_swap in (-1, 2 * resources.memory):  # what comes with --memory
            return Enforced(option=option, value=value, way="process")
    return Enforced(option=option, value=value, way="none", detail=reason, remedy=remedy)


def _why(option: str, facts: GroupFacts) -> tuple[str, str]:
    if facts.reason:
        return facts.reason, facts.remedy
    if facts.version and option.startswith("--blkio-weight"):
        return "no block device here is scheduled by bfq, the only one that knows weights", ""
    return "the kernel has no control group for it", ""


def _own(resources: Resources) -> Iterator[Enforced]:
    """Limits that need no control group."""
    for limit in resources.ulimits:
        value = f"{limit.name}={limit.soft}:{limit.hard}"
        yield Enforced(option="--ulimit", value=value, way="process", detail="a limit of each process, as with docker")
    if resources.shm_size:
        yield Enforced(option="--shm-size", value=str(resources.shm_size), way="process")
    if resources.oom_score_adj:
        yield Enforced(option="--oom-score-adj", value=str(resources.oom_score_adj), way="process")


def _discarded(resources: Resources) -> Iterator[Enforced]:
    for one in resources.discarded:
        yield Enforced(option=one.option, value=one.value, way="none", detail=one.reason, remedy=one.remedy)


def asked_value(resources: Resources, option: str) -> str:
    """What was asked for with an option, as text."""
    if option == "--cpus":
        return f"{resources.nano_cpus / 10**9:g}"
    value = getattr(resources, option.removeprefix("--").replace("-", "_"))
    if isinstance(value, tuple):
        return ",".join(f"{one.path}:{one.rate}" for one in value)
    return "" if value is True else str(value)
