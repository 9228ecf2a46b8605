"""The part of a launch plan that keeps a container apart: namespaces, masks, capabilities, filters, user. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

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
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
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


def plan_namespaces(request: LaunchRequest, facts: HostFacts) -> Namespaces:
    """Which namespaces ``request`` gets on this host."""
    return Namespaces(pid=facts.proc == "fresh", network=request.network == "none")


def masked_paths(request: LaunchRequest, facts: HostFacts) -> tuple[str, ...]:
    """Docker's masked paths on this host; the host's cgroup tree too, where it shows through a bound /sys."""
    if request.insecure:
        return ()
    hidden = ("/sys/fs/cgroup",) if facts.cgroup == "none" and not fresh_sysfs(request, facts) else ()
    return (*MASKED_PATHS, *facts.throttle_paths, *hidden)


def readonly_paths(request: LaunchRequest) -> tuple[str, ...]:
    """Docker's read-only paths."""
    return () if request.insecure else READONLY_PATHS


def fresh_sysfs(request: LaunchRequest, facts: HostFacts) -> bool:
    """Whether /sys is mounted anew: the kernel asks for a network namespace that belongs to the same user namespace."""
    return facts.sysfs == "fresh" and (not facts.user_namespace or request.network == "none")


def identity(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    """Capabilities, filters and user, in the order in which the kernel allows them."""
    capabilities = ALL_CAPABILITIES if request.insecure else CAPABILITIES
    yield op.LimitCapabilities(capabilities)
    if not request.insecure:
        yield op.InstallSeccomp(CAPABILITIES)
    if request.fake_ids:
        # this filter makes capset and setuid do nothing, so nothing may need them any more: the program stays root,
        # and exec gives root what the bounding set holds
        yield op.SetUser(request.user, change=False, groups=False)
        yield op.InstallFakeIds()
    elif request.insecure:
        yield op.SetUser(request.user, groups=facts.setgroups, keep=True)
        yield op.GrantCapabilities(capabilities)
    else:
        yield op.SetUser(request.user, groups=facts.setgroups)
        yield op.DropCapabilities(capabilities)
