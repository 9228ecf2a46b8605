"""What the launch plan must know of the host, as a value, and the gathering of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import msgspec

from contextkernel.linux.landlock import abi, scopes_possible, tracing_possible

if TYPE_CHECKING:
    from contextkernel.model.ids import IdMap
    from contextkernel.model.results import HostReport


RootSwitch = Literal["pivot", "move", "chroot"]


class Tracer(msgspec.Struct, frozen=True):
    """The program that stands in for mounts.

    Attributes:
        path: of proot.
        interpreter: what the kernel starts it with; empty for a static program.
        libraries: what that loads, and reads to find it.
    """

    path: str
    interpreter: str = ""
    libraries: tuple[str, ...] = ()


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What this host allows a container, as far as the plan depends on it.

    Attributes:
        user_namespace: containers live in a user namespace of the engine's.
        tty_group: gid 5, docker's owner of terminals, is mapped.
        setgroups: supplementary groups may be set.
        pid, network, uts, ipc, cgroup_namespace: a namespace of this kind can be made.
        proc: ``fresh``: /proc can be mounted, in a new pid namespace or, where there is none, so that it shows only
            processes that may be traced; ``bind``: only the host's can be shown.
        sysfs: ``fresh``: /sys can be mounted where the network namespace is new (or no user namespace is used).
        root: how another directory becomes the root: ``pivot`` (pivot_root, the old one is let go of), ``move`` (it is
            moved over the old one) or ``chroot``.
        tmpfs, devpts, mqueue: file systems of this kind can be mounted.
        seccomp: system call filters can be installed.
        cgroup: ``unified``: the host has cgroup version 2 alone, and a view of it can be mounted.
        devices: what the host has of the standard device nodes.
        more_devices: what it has of those that an insecure build step sees too.
        kcore: there is a /proc/kcore that /dev/core may lead to.
        scopes: Landlock can keep signals and abstract sockets in (Linux 6.12).
        tracing: Landlock can keep a container from looking into processes outside of it (Linux 5.19).
        device_cgroup: a control group keeps the container from devices that it was not given.
        throttle_paths: thermal counters in /sys, a side channel that docker masks.
        resolv_conf, hosts: content of the host's files.
        join_group: the init waits until it is in its control group; with ``private_group`` it then gets a cgroup
            namespace that begins there.
        proc_files: ``(path, content)`` of generated files over /proc and /sys.
        nice: how much lower the program's priority is.
        hosts_file: content of the container's /etc/hosts, where its network has written it.
        network_file: path of the network namespace that the container enters; empty: a new one, or the host's.
        refusals: why something cannot be had, by the name that it has in the host's report.
        isolation: ``none``: no namespaces can be made, and a tracer shows containers their files.
        tracer: with ``none``: path of proot, and what it needs to be started.
        landlock: with ``none``: version of the kernel's Landlock ABI, 0 for none.
        report: with ``none``: the pipe by which the monitor hears of the program that is started.
        memory_room: with ``none``: a directory in memory, for secrets; empty: there are none.
    """

    user_namespace: bool = False
    tty_group: bool = True
    setgroups: bool = True
    pid: bool = True
    network: bool = True
    uts: bool = True
    ipc: bool = True
    cgroup_namespace: bool = True
    proc: Literal["fresh", "bind"] = "fresh"
    sysfs: Literal["fresh", "bind"] = "fresh"
    root: RootSwitch = "pivot"
    tmpfs: bool = True
    devpts: bool = True
    mqueue: bool = True
    seccomp: bool = True
    cgroup: Literal["unified", "none"] = "none"
    devices: tuple[str, ...] = ("null", "zero", "full", "random", "urandom", "tty")
    more_devices: tuple[str, ...] = ()
    kcore: bool = True
    scopes: bool = False
    tracing: bool = False
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
    refusals: dict[str, str] = {}
    isolation: Literal["namespaces", "none"] = "namespaces"
    tracer: Tracer | None = None
    landlock: int = 0
    report: str = ""
    memory_room: str = ""

    @property
    def owners_lost(self) -> str:
        """Why owners that programs set cannot be noted here, with a single id; empty if they can."""
        return "; ".join(f"{name}: {self.refusals[name]}" for name in _NOTING if name in self.refusals)

    @property
    def shares_pids(self) -> bool:
        """Containers have no pid namespace of their own: it is the host's, or they are better off without.

        Where the host's /proc must be shown, its numbers are those of the host. Programs that look a process up by its
        number (ps, pidof, psutil) then go wrong in a pid namespace, so there is none if Landlock keeps signals in.
        """
        return not self.pid or (self.proc == "bind" and self.scopes)


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
        tracing=tracing_possible(),
        throttle_paths=_throttle_paths(),
        resolv_conf=_text("/etc/resolv.conf"),
        hosts=_text("/etc/hosts"),
    )


#: facts of the host's report that are facts of the plan, by the names that they have here
_SIMPLE = {
    "pid": "pid_namespace",
    "network": "network_namespace",
    "uts": "uts_namespace",
    "ipc": "ipc_namespace",
    "cgroup_namespace": "cgroup_namespace",
    "tmpfs": "tmpfs",
    "devpts": "devpts",
    "mqueue": "mqueue",
    "seccomp": "seccomp",
}
_OTHERS = (
    "fresh_proc",
    "fresh_sys",
    "pivot_root",
    "move_root",
    "chroot",
    "landlock",
    "seccomp_notify",
    "user_namespace",
    "mount_namespace",
)
#: what whoever notes owners needs (:mod:`contextkernel.runtime.recorder`): it goes into the container's root itself
_NOTING = ("seccomp_notify", "chroot")


def from_report(idmap: IdMap, report: HostReport) -> HostFacts:
    """The facts for launch plans out of what was found by trying.

    Args:
        idmap: the ids containers have.
        report: of the host; a fact that was not tried is taken to work.
    """
    names = {*_SIMPLE.values(), *_OTHERS}
    refused = {fact.name: fact.reason for fact in report.facts if fact.verdict == "refused" and fact.name in names}
    root: RootSwitch = "pivot"
    if "pivot_root" in refused:
        root = "chroot" if "move_root" in refused else "move"
    found = gather(
        idmap,
        proc="bind" if "fresh_proc" in refused else "fresh",
        sysfs="bind" if "fresh_sys" in refused else "fresh",
    )
    found = msgspec.structs.replace(
        found,
        root=root,
        refusals=refused,
        scopes=found.scopes and "landlock" not in refused,
        tracing=found.tracing and "landlock" not in refused,
        **{name: fact not in refused for name, fact in _SIMPLE.items()},
    )
    return _traced(found) if report.tier == "ptrace" else found


def _traced(facts: HostFacts) -> HostFacts:
    """Where there are no namespaces there are no mounts either; what stands in for them is none that could fail."""
    from contextkernel.runtime.tracer import find_tracer

    nothing: dict[str, bool] = dict.fromkeys(("pid", "network", "uts", "ipc", "cgroup_namespace"), False)
    mounts: dict[str, bool] = dict.fromkeys(("tmpfs", "devpts", "mqueue"), True)
    return msgspec.structs.replace(
        facts,
        isolation="none",
        tracer=find_tracer(),
        landlock=abi() if "landlock" not in facts.refusals else 0,
        proc="bind",
        sysfs="bind",
        **nothing,
        **mounts,
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
