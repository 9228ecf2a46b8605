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
    return Namespaces(
        uts=security.uts != "host",
        ipc=not _shared(security.ipc),
        cgroup=security.cgroupns != "host",
        pid=facts.proc == "fresh" and not _shared(security.pid),
        network=request.network == "none",
    )


def _shared(mode: str) -> bool:
    return mode == "host" or mode.startswith("container:")


def own_proc(request: LaunchRequest, facts: HostFacts) -> bool:
    """Whether /proc is mounted anew: of the host's processes only the host's root may."""
    return facts.proc == "fresh" and not (request.security.pid == "host" and facts.user_namespace)


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


def sysctls(request: LaunchRequest) -> Iterator[Operation]:
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
        elif request.security.ipc == "host":
            raise InvalidInput(
                f'sysctl "{name}" is not allowed in the hosts ipc namespace', hint="leave out --ipc host"
            )
        yield op.SetSysctl(name.replace(".", "/"), value, required=True)


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
    hidden = ("/sys/fs/cgroup",) if facts.cgroup == "none" and not fresh_sysfs(request, facts) else ()
    return (*MASKED_PATHS, *facts.throttle_paths, *hidden) if request.security.masks else hidden


def readonly_paths(request: LaunchRequest) -> tuple[str, ...]:
    """Docker's read-only paths."""
    return READONLY_PATHS if request.security.masks and not unconfined(request) else ()


def fresh_sysfs(request: LaunchRequest, facts: HostFacts) -> bool:
    """Whether /sys is mounted anew: the kernel asks for a network namespace that belongs to the same user namespace."""
    return facts.sysfs == "fresh" and (not facts.user_namespace or request.network == "none")


def container_capabilities(request: LaunchRequest) -> tuple[str, ...]:
    """The bounding set: docker's default as changed by what was asked for (moby, daemon/pkg/oci/caps)."""
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
    return facts.proc == "bind" and not _shared(request.security.pid), request.network == "host"


def identity(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    """Capabilities, filters and user, in the order in which the kernel allows them.

    The system call filter comes as late as possible: what the engine itself still has to do should not depend on a
    profile. Installing it, and the scope, takes a privilege that goes right after.
    """
    security, capabilities = request.security, container_capabilities(request)
    yield op.LimitCapabilities(capabilities, tuple(name for name in security.cap_add if name != "ALL"))
    yield op.SetUser(
        request.user,
        change=not request.fake_ids,
        groups=facts.setgroups and not request.fake_ids,
        more_groups=security.groups,
        keep=not request.fake_ids,
    )
    limits = scopes(request, facts)
    if any(limits):
        yield op.LimitScope(*limits)
    if security.no_new_privileges:
        yield op.NoNewPrivileges()
    if filtered(request):
        yield op.InstallSeccomp(capabilities, security.seccomp if security.seccomp != "builtin" else "")
    if request.fake_ids:
        # this filter makes capset and setuid do nothing, so nothing may need them any more: the program stays root,
        # and exec gives root what the bounding set holds
        yield op.InstallFakeIds()
    elif request.insecure:
        yield op.GrantCapabilities(capabilities)
    else:
        yield op.DropCapabilities(capabilities)


def filtered(request: LaunchRequest) -> bool:
    """Whether it has a system call filter; ``--privileged`` has one only if it is asked for."""
    if request.insecure or request.security.seccomp == "unconfined":
        return False
    return not request.security.privileged or bool(request.security.seccomp)
