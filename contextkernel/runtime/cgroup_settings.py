"""What limits are in a control group's files: names and values, for both versions of control groups. Pure.

Rules: runc (opencontainers/cgroups, ``fs`` and ``fs2``), kernel Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contextkernel.model.resources import DeviceRate, Resources

#: microseconds: the period that ``--cpus`` is a share of (moby, daemon/oci_linux.go)
PERIOD = 100_000
DeviceNumber = Callable[[str], str]


class Setting(NamedTuple):
    """One value for one file.

    Attributes:
        option: the option that it comes from.
        controller: whose file it is (``memory``).
        files: its names, in order of preference: the first that is there is used.
        value: what is written.
    """

    option: str
    controller: str
    files: tuple[str, ...]
    value: str


def settings(resources: Resources, version: int, device: DeviceNumber) -> tuple[Setting, ...]:
    """The files that hold ``resources``, in an order in which they may be written to a new group.

    Args:
        resources: what is wanted.
        version: 1 or 2.
        device: ``major:minor`` of the block device at a path.
    """
    return tuple(_version1(resources, device) if version == 1 else _version2(resources, device))


def quota_and_period(resources: Resources) -> tuple[int, int]:
    """Microseconds of processor time, and out of how many; 0 where nothing was asked for."""
    if resources.nano_cpus:
        return resources.nano_cpus * PERIOD // 10**9, PERIOD
    return resources.cpu_quota, resources.cpu_period


def weight_of_shares(shares: int) -> int:
    """``cpu.weight`` (1 to 10000) of version 2 for version 1's shares: 2, 1024 and 262144 become 1, 100 and 10000.

    Rule: opencontainers/cgroups ``ConvertCPUSharesToCgroupV2Value``: a parabola through these three in the exponents.
    """
    if shares <= 2:
        return 1
    if shares >= 1 << 18:
        return 10_000
    exponent = math.log2(shares)
    return math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))


def _version1(asked: Resources, device: DeviceNumber) -> Iterator[Setting]:
    if asked.memory:
        yield Setting("--memory", "memory", ("memory.limit_in_bytes",), str(asked.memory))
    if asked.memory_swap:
        yield Setting("--memory-swap", "memory", ("memory.memsw.limit_in_bytes",), str(asked.memory_swap))
    if asked.memory_reservation:
        files = ("memory.soft_limit_in_bytes",)
        yield Setting("--memory-reservation", "memory", files, str(asked.memory_reservation))
    if asked.memory_swappiness >= 0:
        yield Setting("--memory-swappiness", "memory", ("memory.swappiness",), str(asked.memory_swappiness))
    if asked.oom_kill_disable:
        yield Setting("--oom-kill-disable", "memory", ("memory.oom_control",), "1")
    if asked.cpu_shares:
        yield Setting("--cpu-shares", "cpu", ("cpu.shares",), str(asked.cpu_shares))
    quota, period = quota_and_period(asked)
    if period:
        yield Setting("--cpus" if asked.nano_cpus else "--cpu-period", "cpu", ("cpu.cfs_period_us",), str(period))
    if quota:
        yield Setting("--cpus" if asked.nano_cpus else "--cpu-quota", "cpu", ("cpu.cfs_quota_us",), str(quota))
    if asked.cpu_rt_period:
        yield Setting("--cpu-rt-period", "cpu", ("cpu.rt_period_us",), str(asked.cpu_rt_period))
    if asked.cpu_rt_runtime:
        yield Setting("--cpu-rt-runtime", "cpu", ("cpu.rt_runtime_us",), str(asked.cpu_rt_runtime))
    yield from _cpuset(asked)
    yield from _pids(asked)
    if asked.blkio_weight:
        yield Setting("--blkio-weight", "blkio", ("blkio.weight", "blkio.bfq.weight"), str(asked.blkio_weight))
    weights = ("blkio.weight_device", "blkio.bfq.weight_device")
    yield from _devices("--blkio-weight-device", asked.blkio_weight_device, weights, "", device)
    for option, rates in _throttles(asked):
        throttle = f"blkio.throttle.{option.removeprefix('--device-').replace('-', '_')}_device"
        yield from _devices(option, rates, (throttle,), "", device)


def _version2(asked: Resources, device: DeviceNumber) -> Iterator[Setting]:
    if asked.memory:
        yield Setting("--memory", "memory", ("memory.max",), str(asked.memory))
    if asked.memory_swap:
        # version 2 counts swap alone
        swap = "max" if asked.memory_swap < 0 else str(max(0, asked.memory_swap - asked.memory))
        yield Setting("--memory-swap", "memory", ("memory.swap.max",), swap)
    if asked.memory_reservation:
        yield Setting("--memory-reservation", "memory", ("memory.low",), str(asked.memory_reservation))
    if asked.memory_swappiness >= 0:
        yield Setting("--memory-swappiness", "memory", (), str(asked.memory_swappiness))
    if asked.oom_kill_disable:
        yield Setting("--oom-kill-disable", "memory", (), "1")
    if asked.cpu_shares:
        yield Setting("--cpu-shares", "cpu", ("cpu.weight",), str(weight_of_shares(asked.cpu_shares)))
    quota, period = quota_and_period(asked)
    if quota or period:
        option = "--cpus" if asked.nano_cpus else "--cpu-quota" if quota else "--cpu-period"
        value = f"{quota if quota > 0 else 'max'} {period or PERIOD}"
        yield Setting(option, "cpu", ("cpu.max",), value)
    for option, number in (("--cpu-rt-period", asked.cpu_rt_period), ("--cpu-rt-runtime", asked.cpu_rt_runtime)):
        if number:
            yield Setting(option, "cpu", (), str(number))
    yield from _cpuset(asked)
    yield from _pids(asked)
    if asked.blkio_weight:
        # 10..1000 to 1..10000 in a straight line; bfq counts as version 1 does
        weight = 1 + (asked.blkio_weight - 10) * 9999 // 990
        yield Setting("--blkio-weight", "io", ("io.weight",), f"default {weight}")
    yield from _devices("--blkio-weight-device", asked.blkio_weight_device, ("io.bfq.weight",), "", device)
    for option, rates in _throttles(asked):
        way, unit = option.removeprefix("--device-").split("-")
        yield from _devices(option, rates, ("io.max",), f"{way[0]}{unit}=", device)


def _cpuset(asked: Resources) -> Iterator[Setting]:
    if asked.cpuset_cpus:
        yield Setting("--cpuset-cpus", "cpuset", ("cpuset.cpus",), asked.cpuset_cpus)
    if asked.cpuset_mems:
        yield Setting("--cpuset-mems", "cpuset", ("cpuset.mems",), asked.cpuset_mems)


def _pids(asked: Resources) -> Iterator[Setting]:
    if asked.pids_limit:
        value = str(asked.pids_limit) if asked.pids_limit > 0 else "max"
        yield Setting("--pids-limit", "pids", ("pids.max",), value)


def _throttles(asked: Resources) -> tuple[tuple[str, tuple[DeviceRate, ...]], ...]:
    return (
        ("--device-read-bps", asked.device_read_bps),
        ("--device-write-bps", asked.device_write_bps),
        ("--device-read-iops", asked.device_read_iops),
        ("--device-write-iops", asked.device_write_iops),
    )


def _devices(
    option: str, rates: tuple[DeviceRate, ...], files: tuple[str, ...], prefix: str, device: DeviceNumber
) -> Iterator[Setting]:
    controller = "blkio" if files[0].startswith("blkio") else "io"
    for one in rates:
        yield Setting(option, controller, files, f"{device(one.path)} {prefix}{one.rate}")


def parse_cpus(text: str) -> frozenset[int]:
    """``0-3,5`` as numbers (cpuset(7), list format).

    Raises:
        ValueError: not that form.
    """
    found: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        low = int(first)
        high = int(last) if dash else low
        if high < low or low < 0:
            raise ValueError(text)
        found.update(range(low, high + 1))
    return frozenset(found)


def list_cpus(numbers: frozenset[int]) -> str:
    """Numbers as ``0-3,5``, the other way round."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
