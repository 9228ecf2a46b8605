"""What ``inspect`` says of limits: docker's fields, and ours about how each limit is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextkernel.model.resources import DeviceRate, Enforced, Resources

_SHM = 64 << 20


def host_config(resources: Resources) -> dict[str, Any]:
    """Its part of ``HostConfig`` (Engine API, ``Resources``)."""
    return {
        "OomScoreAdj": resources.oom_score_adj,
        "ShmSize": resources.shm_size or _SHM,
        "CpuShares": resources.cpu_shares,
        "Memory": resources.memory,
        "NanoCpus": resources.nano_cpus,
        "CgroupParent": "",
        "BlkioWeight": resources.blkio_weight,
        "BlkioWeightDevice": _rates(resources.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": _rates(resources.device_read_bps),
        "BlkioDeviceWriteBps": _rates(resources.device_write_bps),
        "BlkioDeviceReadIOps": _rates(resources.device_read_iops),
        "BlkioDeviceWriteIOps": _rates(resources.device_write_iops),
        "CpuPeriod": resources.cpu_period,
        "CpuQuota": resources.cpu_quota,
        "CpuRealtimePeriod": resources.cpu_rt_period,
        "CpuRealtimeRuntime": resources.cpu_rt_runtime,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "MemoryReservation": resources.memory_reservation,
        "MemorySwap": resources.memory_swap,
        "MemorySwappiness": None if resources.memory_swappiness < 0 else resources.memory_swappiness,
        "OomKillDisable": resources.oom_kill_disable,
        "PidsLimit": resources.pids_limit if resources.pids_limit > 0 else None,
        "Ulimits": [{"Name": one.name, "Hard": one.hard, "Soft": one.soft} for one in resources.ulimits],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def limits(report: Iterable[Enforced]) -> list[dict[str, Any]]:
    """``ContextKernel.Limits``: each limit that was asked for, and what keeps it.

    Args:
        report: how they are kept.
    """
    return [
        {
            "Option": one.option,
            "Value": one.value,
            "EnforcedBy": WAYS[one.way],
            "Complete": one.complete,
            "Detail": one.detail,
            "Remedy": one.remedy,
        }
        for one in report
    ]


WAYS = {
    "cgroup v1": "cgroup v1",
    "cgroup v2": "cgroup v2",
    "rlimit": "rlimit (per process)",
    "affinity": "processor affinity",
    "nice": "nice level",
    "process": "process",
    "none": "not enforced",
}


def _rates(rates: tuple[DeviceRate, ...], name: str = "Rate") -> list[dict[str, Any]]:
    return [{"Path": one.path, name: one.rate} for one in rates]
