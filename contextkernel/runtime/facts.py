"""What the launch plan must know of the host, as a value, and the gathering of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import msgspec

from contextkernel.linux.landlock import scopes_possible

if TYPE_CHECKING:
    from contextkernel.model.ids import IdMap
    from contextkernel.model.results import HostReport


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What this host allows a container, as far as the plan depends on it.

    Attributes:
        user_namespace: containers live in a user namespace of the engine's.
        tty_group: gid 5, docker's owner of terminals, is mapped.
        setgroups: supplementary groups may be set.
        proc: ``fresh``: /proc can be mounted in a new pid namespace; ``bind``: only the host's can be shown, and there
            is no pid namespace then.
        sysfs: ``fresh``: /sys can be mounted where the network namespace is new (or no user namespace is used).
        cgroup: ``unified``: the host has cgroup version 2 alone, and a view of it can be mounted.
        devices: what the host has of the standard device nodes.
        more_devices: what it has of those that an insecure build step sees too.
        kcore: there is a /proc/kcore that /dev/core may lead to.
        scopes: Landlock can keep signals and abstract sockets in (Linux 6.12).
        device_cgroup: a control group keeps the container from devices that it was not given.
        throttle_paths: thermal counters in /sys, a side channel that docker masks.
        resolv_conf, hosts: content of the host's files.
        join_group: the init waits until it is in its control group; with ``private_group`` it then gets a cgroup
            namespace that begins there.
        proc_files: ``(path, content)`` of generated files over /proc and /sys.
        nice: how much lower the program's priority is.
        hosts_file: content of the container's /etc/hosts, where its network has written it.
        network_file: path of the network namespace that the container enters; empty: a new one, or the host's.
    """

    user_namespace: bool = False
    tty_group: bool = True
    setgroups: bool = True
    proc: Literal["fresh", "bind"] = "fresh"
    sysfs: Literal["fresh", "bind"] = "fresh"
    cgroup: Literal["unified", "none"] = "none"
    devices: tuple[str, ...] = ("null", "zero", "full", "random", "urandom", "tty")
    more_devices: tuple[str, ...] = ()
    kcore: bool = True
    scopes: bool = False
    device_cgroup: bool = False
    throttle_paths: tuple[str, ...] = ()
    resolv_conf: str = ""
    hosts: str = ""
    join_group: bool = False
    private_group: bool = False
    proc_files: tuple[tuple[str, str], ...] = ()
    nice: int = 0
    hosts_file: str = ""
    network_file: str = ""


#: BuildKit, util/entitlements/security: what is in the sandbox's /dev itself; only without a user namespace
_INSECURE_DEVICES = ("kmsg", "cuse", "fuse", "kvm", "loop-control")
_CPUS = "/sys/devices/system/cpu"


def gather(
    idmap: IdMap, *, proc: Literal["fresh", "bind"] = "fresh", sysfs: Literal["fresh", "bind"] = "fresh"
) -> HostFacts:
    """Look at the host, cheaply; whether mounts are allowed must be tried elsewhere and is handed in.

    Args:
        idmap: the ids containers have.
        proc, sysfs: what mounting them for real was found to give.
    """
    return HostFacts(
        user_namespace=not idmap.identity,
        tty_group=idmap.identity or any(part.container <= 5 < part.container + part.size for part in idmap.gids),
        setgroups=not idmap.single,
        proc=proc,
        sysfs=sysfs,
        cgroup="unified" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "none",
        devices=tuple(name for name in HostFacts().devices if os.path.exists(f"/dev/{name}")),
        more_devices=tuple(name for name in _INSECURE_DEVICES if idmap.identity and os.path.exists(f"/dev/{name}")),
        kcore=os.path.exists("/proc/kcore"),
        scopes=scopes_possible(),
        throttle_paths=_throttle_paths(),
        resolv_conf=_text("/etc/resolv.conf"),
        hosts=_text("/etc/hosts"),
    )


def from_report(idmap: IdMap, report: HostReport) -> HostFacts:
    """The facts for launch plans out of what was found by trying.

    Args:
        idmap: the ids containers have.
        report: facts ``fresh_proc`` and ``fresh_sys``; one that was not tried is taken to work.
    """
    refused = {fact.name for fact in report.facts if fact.verdict == "refused"}
    return gather(
        idmap,
        proc="bind" if "fresh_proc" in refused else "fresh",
        sysfs="bind" if "fresh_sys" in refused else "fresh",
    )


def refresh(facts: HostFacts) -> HostFacts:
    """The same facts with the content of files that change while a launcher lives."""
    return msgspec.structs.replace(facts, resolv_conf=_text("/etc/resolv.conf"), hosts=_text("/etc/hosts"))


def _throttle_paths() -> tuple[str, ...]:
    try:
        names = sorted(os.listdir(_CPUS))
    except OSError:
        return ()
    paths = (f"{_CPUS}/{name}/thermal_throttle" for name in names if name[:3] == "cpu" and name[3:].isdigit())
    return tuple(path for path in paths if os.path.isdir(path))


def _text(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 1 << 20).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
