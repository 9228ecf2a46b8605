"""A container's limits in the words of the OCI runtime specification (config-linux.md, "Control groups"). Pure."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.runtime.cgroup_settings import quota_and_period

if TYPE_CHECKING:
    from contextkernel.model.resources import DeviceRate, Resources


class Memory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``memory``; bytes."""

    limit: int = 0
    reservation: int = 0
    swap: int = 0
    swappiness: int | None = None
    disable_oom_killer: bool = msgspec.field(default=False, name="disableOOMKiller")


class Cpu(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``cpu``; times in microseconds."""

    shares: int = 0
    quota: int = 0
    period: int = 0
    realtime_runtime: int = 0
    realtime_period: int = 0
    cpus: str = ""
    mems: str = ""


class Pids(msgspec.Struct, frozen=True, kw_only=True):
    """``pids``; -1 is any number."""

    limit: int


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """One of ``blockIO.weightDevice``."""

    major: int
    minor: int
    weight: int


class Throttle(msgspec.Struct, frozen=True, kw_only=True):
    """One of ``blockIO.throttle...Device``."""

    major: int
    minor: int
    rate: int


class BlockIO(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``blockIO``."""

    weight: int = 0
    weight_device: tuple[Weight, ...] = msgspec.field(default=(), name="weightDevice")
    read_bps: tuple[Throttle, ...] = msgspec.field(default=(), name="throttleReadBpsDevice")
    write_bps: tuple[Throttle, ...] = msgspec.field(default=(), name="throttleWriteBpsDevice")
    read_iops: tuple[Throttle, ...] = msgspec.field(default=(), name="throttleReadIOPSDevice")
    write_iops: tuple[Throttle, ...] = msgspec.field(default=(), name="throttleWriteIOPSDevice")


def memory_of(asked: Resources) -> Memory | None:
    """The part about memory; ``None`` for no limit."""
    found = Memory(
        limit=asked.memory,
        reservation=asked.memory_reservation,
        swap=asked.memory_swap,
        swappiness=asked.memory_swappiness if asked.memory_swappiness >= 0 else None,
        disable_oom_killer=asked.oom_kill_disable,
    )
    return found if found != Memory() else None


def cpu_of(asked: Resources) -> Cpu | None:
    """The part about processors; ``None`` for no limit."""
    quota, period = quota_and_period(asked)
    found = Cpu(
        shares=asked.cpu_shares,
        quota=quota,
        period=period,
        realtime_runtime=asked.cpu_rt_runtime,
        realtime_period=asked.cpu_rt_period,
        cpus=asked.cpuset_cpus,
        mems=asked.cpuset_mems,
    )
    return found if found != Cpu() else None


def pids_of(asked: Resources) -> Pids | None:
    """The part about processes; ``None`` for no limit."""
    return Pids(limit=asked.pids_limit) if asked.pids_limit else None


def block_io_of(asked: Resources) -> BlockIO | None:
    """The part about block devices, those that exist; ``None`` for no limit."""
    found = BlockIO(
        weight=asked.blkio_weight,
        weight_device=tuple(
            Weight(major=major, minor=minor, weight=rate) for major, minor, rate in _numbers(asked.blkio_weight_device)
        ),
        read_bps=_throttles(asked.device_read_bps),
        write_bps=_throttles(asked.device_write_bps),
        read_iops=_throttles(asked.device_read_iops),
        write_iops=_throttles(asked.device_write_iops),
    )
    return found if found != BlockIO() else None


def _throttles(rates: tuple[DeviceRate, ...]) -> tuple[Throttle, ...]:
    return tuple(Throttle(major=major, minor=minor, rate=rate) for major, minor, rate in _numbers(rates))


def _numbers(rates: tuple[DeviceRate, ...]) -> list[tuple[int, int, int]]:
    found = []
    for one in rates:
        with suppress(OSError):
            number = os.stat(one.path).st_rdev
            found.append((os.major(number), os.minor(number), one.rate))
    return found
