"""The part of a launch plan that keeps a container apart: namespaces, masks, capabilities, filters, user. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import InvalidInput, LaunchFailed
from contextkernel.linux.caps import CAPABILITIES as ALL_CAPABILITIES
from contextkernel.runtime import operations as op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contextkernel.model.container import LaunchRequest
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.runtime.operations import Operation

#: in docker's order (moby, daemon/pkg/oci/caps/defaults.go); the same for ``run`` and for a build's RUN
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

#: moby, daemon/pkg/oci/defaults.go
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Namespaces(msgspec.Struct, frozen=True, kw_only=True):
    """The namespaces a container gets of its own; the user namespace is the engine's and shared by its containers."""

    mount: bool = True
    uts: bool = True
    ipc: bool = True
    cgroup: bool = True
    pid: bool = True
    network: bool = False


def unconfined(request: LaunchRequest) -> bool:
    """Whether it gets all there is: ``--privileged``, or a build step with ``--security=insecure``."""
    return request.insecure or request.security.privileged


def nodev(request: LaunchRequest, facts: HostFacts) -> bool:
    """Whether device nodes that the program makes cannot be opened; rules for them need a fence that enforces them."""
    return not unconfined(request) and not (request.security.device_rules and facts.device_cgroup)


def plan_namespaces(request: LaunchRequest, facts: HostFacts) -> Namespaces:
    """Which namespaces ``request`` gets on this host; one that is joined or the host's is none of its own."""
    security = request.security
    if facts.isolation == "none":
        return Namespaces(mount=False, uts=False, ipc=False, cgroup=False, pid=False, network=False)
    return Namespaces(
        uts=facts.uts and security.uts != "host",
        ipc=facts.ipc and not _shared(security.ipc),
        cgroup=facts.cgroup_namespace and security.cgroupns != "host",
        pid=not facts.shares_pids and not _shared(security.pid),
        network=facts.network and request.network == "none",
    )


def isolated_by_filter(request: LaunchRequest, facts: HostFacts) -> bool:
    """Whether ``--network none`` is kept by a system call filter: it is the host's network, without a way to use it."""
    return request.network == "none" and not facts.network and not facts.network_file


def _shared(mode: str) -> bool:
    return mode == "host" or mode.startswith("container:")


def own_proc(request: LaunchRequest, facts: HostFacts) -> bool:
    """Whether /proc is mounted anew: of the host's processes only the host's root may."""
    shared = facts.shares_pids or request.security.pid == "host"
    return facts.proc == "fresh" and not (shared and facts.user_namespace)


def proc(request: LaunchRequest, facts: HostFacts) -> Operation:
    """The container's /proc. A new one of the host's pid namespace shows only what the program may trace anyhow."""
    if not own_proc(request, facts):
        return op.BindProc()
    hidden = facts.shares_pids and not _shared(request.security.pid) and not unconfined(request)
    return op.MountProc(options="hidepid=ptraceable" if hidden else "")


def protects_proc(request: LaunchRequest, facts: HostFacts) -> bool:
    """Whether /proc is the host's without having been asked for, and so is read-only."""
    return not own_proc(request, facts) and request.security.pid != "host" and not unconfined(request)


def joins(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    """Namespaces that are there already and that the first process enters itself; into a pid namespace it is born."""
    if facts.network_file:
        yield op.JoinNetwork(facts.network_file)
    for join in request.joins:
        if join.kind == "ipc":
            yield op.JoinIpc(join.pid)


def shared_memory(request: LaunchRequest) -> Iterator[Operation]:
    """The shared memory that goes with the ipc namespace."""
    mode = request.security.ipc
    if mode == "none":
        return
    if mode == "host":
        yield op.BindMount("/dev/shm", "/dev/shm", read_only=False, nodev=True)  # noqa: S108 - asked for
        return
    for join in request.joins:
        if join.kind == "ipc":
            yield op.ShareMount(join.pid, "/dev/shm")  # noqa: S108 - the other container's
            return
    # a size of one's own: BuildKit mounts it as one more tmpfs, on which programs may be executed
    flags = ("nosuid", "nodev") if request.shm_size else ("nosuid", "nodev", "noexec")
    size = request.shm_size or request.resources.shm_size or "65536k"
    yield op.MountTmpfs("/dev/shm", flags, f"mode=1777,size={size}", "shm")  # noqa: S108


def sysctls(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    """Settings that were asked for.

    Raises:
        InvalidInput: the setting would be the host's, because the container has no namespace of its own for it.
    """
    for name, value in request.security.sysctls.items():
        if name.startswith("net."):
            if request.network == "host":
                raise InvalidInput(
                    f'sysctl "{name}" not allowed in host network namespace',
                    hint="give the container a network of its own, e.g. --network none",
                )
            if not facts.network and not facts.network_file:
                raise InvalidInput(f'sysctl "{name}" needs a network namespace', hint=_why(facts, "network_namespace"))
        elif request.security.ipc == "host":
            raise InvalidInput(
                f'sysctl "{name}" is not allowed in the hosts ipc namespace', hint="leave out --ipc host"
            )
        elif not facts.ipc:
            raise InvalidInput(f'sysctl "{name}" needs an ipc namespace', hint=_why(facts, "ipc_namespace"))
        yield op.SetSysctl(name.replace(".", "/"), value, required=True)


def _why(facts: HostFacts, name: str) -> str:
    return f"this host refuses it: {facts.refusals.get(name) or 'see doctor'}"


def devices(request: LaunchRequest) -> Iterator[Operation]:
    """Devices of the host that were asked for.

    Raises:
        LaunchFailed: GPUs, in docker's words for a host without their driver.
    """
    if request.security.gpus:
        raise LaunchFailed(
            'could not select device driver "" with capabilities: [[gpu]]',
            hint="this engine has no GPU drivers: give the device nodes with --device /dev/nvidia0 (or /dev/dri), "
            "and the driver's libraries with -v",
        )
    if request.security.privileged:
        yield op.HostDevices()
    for device in request.security.devices:
        yield op.AddDevice(device.source, device.target)


def masked_paths(request: LaunchRequest, facts: HostFacts) -> tuple[str, ...]:
    """Docker's masked paths on this host; the host's cgroup tree too, where it shows through a bound /sys."""
    if unconfined(request):
        return ()
    viewed = facts.cgroup == "unified" and facts.cgroup_namespace
    hidden = () if viewed or fresh_sysfs(request, facts) else ("/sys/fs/cgroup",)
    return (*MASKED_PATHS, *facts.throttle_paths, *hidden) if request.security.masks else hidden


def readonly_paths(request: LaunchRequest) -> tuple[str, ...]:
    """Docker's read-only paths."""
    return READONLY_PATHS if request.security.masks and not unconfined(request) else ()


def fresh_sysfs(request: LaunchRequest, facts: HostFacts) -> bool:
    """Whether /sys is mounted anew: the kernel asks for a network namespace that belongs to the same user namespace."""
    return facts.sysfs == "fresh" and (not facts.user_namespace or (request.network == "none" and facts.network))


def container_capabilities(request: LaunchRequest, facts: HostFacts) -> tuple[str, ...]:
    """The bounding set: docker's default as changed by what was asked for (moby, daemon/pkg/oci/caps).

    CAP_SYS_CHROOT is out of it where it is a way out: who may change its root can leave one that is nothing but that
    (chroot(2)); and where the host's root lies below the container's, who may unmount as well can enter the mount
    namespace once more, and finds that root (setns(2), which asks for CAP_SYS_CHROOT).

    Raises:
        InvalidInput: it was asked for by name.
    """
    wanted = _wanted_capabilities(request)
    way_out = facts.root == "chroot" or (facts.root == "move" and "CAP_SYS_ADMIN" in wanted)
    if not way_out or unconfined(request):
        return wanted
    if "CAP_SYS_CHROOT" in request.security.cap_add:
        raise InvalidInput(
            "CAP_SYS_CHROOT cannot be given: a program that has it could leave the container",
            hint=_why(facts, "pivot_root"),
        )
    return tuple(name for name in wanted if name != "CAP_SYS_CHROOT")


def _wanted_capabilities(request: LaunchRequest) -> tuple[str, ...]:
    added, dropped = request.security.cap_add, request.security.cap_drop
    if unconfined(request):
        return ALL_CAPABILITIES
    if "ALL" in added:
        return tuple(name for name in ALL_CAPABILITIES if name not in dropped)
    if "ALL" in dropped:
        return added
    return tuple(dict.fromkeys((*(name for name in CAPABILITIES if name not in dropped), *added)))


def scopes(request: LaunchRequest, facts: HostFacts) -> tuple[bool, bool]:
    """What Landlock closes because no namespace does: signals to the host's processes, and its abstract sockets."""
    if unconfined(request) or not request.security.landlock or not facts.scopes:
        return False, False
    return (
        facts.shares_pids and not _shared(request.security.pid),
        request.network == "host" or isolated_by_filter(request, facts),
    )


def _tracing(request: LaunchRequest, facts: HostFacts, capabilities: tuple[str, ...]) -> bool:
    """Whether Landlock is to keep it from looking into others: what scopes do as well, on kernels without them.

    Whoever is kept so cannot mount anything, which goes before.
    """
    if unconfined(request) or not request.security.landlock or not facts.tracing or any(scopes(request, facts)):
        return False
    if _shared(request.security.pid) or "CAP_SYS_ADMIN" in capabilities:
        return False
    return facts.shares_pids or not own_proc(request, facts)


def identity(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    """Capabilities, filters and user, in the order in which the kernel allows them.

    The system call filter comes as late as possible: what the engine itself still has to do should not depend on a
    profile. Installing it, and the scope, takes a privilege that goes right after.
    """
    security, capabilities = request.security, container_capabilities(request, facts)
    yield op.LimitCapabilities(capabilities, tuple(name for name in security.cap_add if name != "ALL"))
    yield op.SetUser(
        request.user,
        change=not request.fake_ids,
        groups=facts.setgroups and not request.fake_ids,
        more_groups=security.groups,
        keep=not request.fake_ids,
    )
    limits, tracing = scopes(request, facts), _tracing(request, facts, capabilities)
    if any(limits) or tracing:
        yield op.LimitScope(*limits, tracing=tracing)
    if security.no_new_privileges:
        yield op.NoNewPrivileges()
    if filtered(request, facts):
        yield op.InstallSeccomp(capabilities, security.seccomp if security.seccomp != "builtin" else "")
    if isolated_by_filter(request, facts):
        if not facts.seccomp:
            raise LaunchFailed(
                "this host can take the network from no container: it has neither network namespaces nor seccomp",
                hint="--network host gives it the host's",
            )
        yield op.RefuseSockets()
    if request.fake_ids:
        # this filter makes capset and setuid do nothing, so nothing may need them any more: the program stays root,
        # and exec gives root what the bounding set holds
        yield op.InstallFakeIds(facts.owners_lost)
    elif request.insecure:
        yield op.GrantCapabilities(capabilities)
    else:
        yield op.DropCapabilities(capabilities)


def filtered(request: LaunchRequest, facts: HostFacts) -> bool:
    """Whether it has a system call filter; ``--privileged`` has one only if it is asked for.

    Without seccomp docker leaves its default policy out, and refuses a profile (moby, daemon/seccomp_linux.go).

    Raises:
        LaunchFailed: a profile was asked for that cannot be installed.
    """
    if request.insecure or request.security.seccomp == "unconfined":
        return False
    if not facts.seccomp:
        if request.security.seccomp not in ("", "builtin"):
            raise LaunchFailed(
                "seccomp is not enabled in your kernel, cannot run a custom seccomp profile",
                hint=_why(facts, "seccomp"),
            )
        return False
    return not request.security.privileged or bool(request.security.seccomp)
