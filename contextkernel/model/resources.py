"""How much of the host a container may use, and what of it this host enforces."""

from __future__ import annotations

from typing import Literal

import msgspec

from contextkernel.model.step_mounts import Limit

#: names of ``--ulimit`` (docker/go-units, ulimit.go)
ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip

Way = Literal["cgroup v1", "cgroup v2", "rlimit", "affinity", "nice", "process", "none"]


class DeviceRate(msgspec.Struct, frozen=True):
    """A block device of the host (path of its node) and a number: bytes or operations a second, or a weight."""

    path: str
    rate: int


class Discarded(msgspec.Struct, frozen=True):
    """A limit that was asked for when the container was created, and that this host cannot keep at all.

    Attributes:
        option: as on the command line, ``--blkio-weight``.
        value: as asked.
        reason, remedy: why not, and what would help.
    """

    option: str
    value: str
    reason: str
    remedy: str = ""


class Enforced(msgspec.Struct, frozen=True, kw_only=True):
    """How one limit that was asked for is kept.

    Attributes:
        option: as on the command line, ``--memory``.
        value: as asked, in the unit of docker's API (bytes, microseconds, a count).
        way: what keeps it; ``none``: nothing does.
        detail: what that way means for the program, or why there is none; empty for a control group.
        remedy: what would make it a real limit; empty where it is one.
    """

    option: str
    value: str
    way: Way
    detail: str = ""
    remedy: str = ""

    @property
    def complete(self) -> bool:
        """Whether it holds for the container as a whole, as docker's would."""
        return self.way in ("cgroup v1", "cgroup v2", "process")


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one container; what can be changed by ``update`` is in here too. Zero means: none was asked for.

    Attributes:
        memory: bytes.
        memory_swap: bytes of memory and swap together, -1 for no limit on swap.
        memory_reservation: bytes that are left to it when the host runs short.
        memory_swappiness: 0 to 100, -1 for the host's.
        oom_kill_disable: wait instead of being killed when the memory limit is reached.
        nano_cpus: processors times 10^9.
        cpu_shares: weight against other containers, 1024 is the usual.
        cpu_period, cpu_quota: microseconds; the quota of processor time in each period.
        cpu_rt_period, cpu_rt_runtime: microseconds, for real-time tasks.
        cpuset_cpus, cpuset_mems: lists such as ``0-3,5``.
        pids_limit: number of processes and threads; -1 is none.
        blkio_weight: 10 to 1000.
        blkio_weight_device, device_read_bps, device_write_bps, device_read_iops, device_write_iops: per block device.
        ulimits: resource limits of its processes.
        shm_size: bytes of /dev/shm, 0 for the usual 64 MiB.
        oom_score_adj: -1000 to 1000, how likely the host's kernel picks its processes when memory is short.
        discarded: what was asked for besides, and cannot be had on this host.
    """

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0
    blkio_weight_device: tuple[DeviceRate, ...] = ()
    device_read_bps: tuple[DeviceRate, ...] = ()
    device_write_bps: tuple[DeviceRate, ...] = ()
    device_read_iops: tuple[DeviceRate, ...] = ()
    device_write_iops: tuple[DeviceRate, ...] = ()
    ulimits: tuple[Limit, ...] = ()
    shm_size: int = 0
    oom_score_adj: int = 0
    discarded: tuple[Discarded, ...] = ()
