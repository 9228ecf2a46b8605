"""Keyword arguments of ``run`` and ``create`` about limits, and what they come to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.model.resources import ULIMITS, DeviceRate, Resources
from contextkernel.model.step_mounts import Limit

_MIN_MEMORY = 6 << 20  # moby, daemon/daemon_unix.go, linuxMinMemory
_SHARES = (2, 1 << 18)
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class ResourceKeywords(TypedDict, total=False):
    """Names follow docker-py; sizes are bytes, or text such as ``"512m"``.

    Devices are :class:`DeviceRate` values or docker-py's mappings (``{"Path": ..., "Rate": ...}``, for weights
    ``"Weight"``); ulimits are mappings with ``Name``, ``Soft`` and ``Hard``, such as ``docker.types.Ulimit``.
    """

    mem_limit: int | str
    memswap_limit: int | str
    mem_reservation: int | str
    mem_swappiness: int
    oom_kill_disable: bool
    nano_cpus: int
    cpu_shares: int
    cpu_period: int
    cpu_quota: int
    cpu_rt_period: int
    cpu_rt_runtime: int
    cpuset_cpus: str
    cpuset_mems: str
    pids_limit: int
    blkio_weight: int
    blkio_weight_device: Sequence[DeviceRate | Mapping[str, Any]]
    device_read_bps: Sequence[DeviceRate | Mapping[str, Any]]
    device_write_bps: Sequence[DeviceRate | Mapping[str, Any]]
    device_read_iops: Sequence[DeviceRate | Mapping[str, Any]]
    device_write_iops: Sequence[DeviceRate | Mapping[str, Any]]
    ulimits: Sequence[Mapping[str, Any]]
    shm_size: int | str
    oom_score_adj: int


_CONVERSIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "mem_limit": ("memory", lambda value: _size("mem_limit", value)),
    "memswap_limit": ("memory_swap", lambda value: _size("memswap_limit", value)),
    "mem_reservation": ("memory_reservation", lambda value: _size("mem_reservation", value)),
    "mem_swappiness": ("memory_swappiness", int),
    "shm_size": ("shm_size", lambda value: _size("shm_size", value)),
    "pids_limit": ("pids_limit", lambda value: value if value > 0 else -1 if value else 0),
    "ulimits": ("ulimits", lambda value: tuple(_ulimit(one) for one in value)),
    **{
        name: (name, lambda value: tuple(_rate(one) for one in value))
        for name in (
            "blkio_weight_device",
            "device_read_bps",
            "device_write_bps",
            "device_read_iops",
            "device_write_iops",
        )
    },
}


def resources_from(keywords: ResourceKeywords) -> Resources:
    """What the keywords ask for, checked as docker does.

    Raises:
        InvalidInput: a value that cannot be, or two that contradict each other.
    """
    asked = changes_from(keywords)
    if asked.memory_swap > 0 and not asked.memory:
        raise InvalidInput(
            "memory-swap is memory and swap together: it needs a memory limit", hint="add --memory, at most as much"
        )
    check(asked)
    if asked.memory and not asked.memory_swap:
        asked = msgspec.structs.replace(asked, memory_swap=2 * asked.memory)
    return asked


def changes_from(keywords: ResourceKeywords) -> Resources:
    """The keywords as values, unchecked; what is not among them is zero.

    Raises:
        InvalidInput: a value that is of the wrong kind.
    """
    fields: dict[str, Any] = {}
    known = ResourceKeywords.__annotations__
    for name, value in keywords.items():
        if name in known and value is not None:
            field, convert = _CONVERSIONS.get(name, (name, lambda value: value))
            fields[field] = convert(value)
    return Resources(**fields)


def changed(before: Resources, changes: Resources) -> Resources:
    """``before`` with what is not zero in ``changes``; docker's rules for ``update``.

    Rules: moby, daemon/container/container_unix.go, ``UpdateContainer``.

    Raises:
        InvalidInput: a value that cannot be, or two that contradict each other.
    """
    for new, old, names in (
        (changes.nano_cpus, before.cpu_period, ("nano CPUs", "CPU period")),
        (changes.nano_cpus, before.cpu_quota, ("nano CPUs", "CPU quota")),
        (changes.cpu_period, before.nano_cpus, ("CPU period", "nano CPUs")),
        (changes.cpu_quota, before.nano_cpus, ("CPU quota", "nano CPUs")),
    ):
        if new > 0 and old > 0:
            raise InvalidInput(f"conflicting options: {names[0]} cannot be updated as {names[1]} has already been set")
    check(changes)
    if changes.memory and not changes.memory_swap and changes.memory > before.memory_swap:
        raise InvalidInput(
            "memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            hint="add --memory-swap, -1 for any amount of swap",
        )
    usual = Resources()
    fields = {
        name: value
        for name in usual.__struct_fields__
        if (value := getattr(changes, name)) != getattr(usual, name) and name != "discarded"
    }
    return msgspec.structs.replace(before, **fields)


def check(asked: Resources) -> None:
    """Docker's checks of what does not depend on what else the kernel has (moby, daemon/daemon_unix.go).

    Raises:
        InvalidInput: a value that cannot be, or two that contradict each other.
    """
    if asked.memory and asked.memory < _MIN_MEMORY:
        raise InvalidInput(f"minimum memory limit allowed is 6MB, got {asked.memory} bytes")
    if asked.memory and 0 < asked.memory_swap < asked.memory:
        raise InvalidInput(
            "minimum memoryswap limit should be larger than memory limit: it is memory and swap together"
        )
    if not -1 <= asked.memory_swappiness <= 100:
        raise InvalidInput(f"invalid value: {asked.memory_swappiness}, valid memory swappiness range is 0-100")
    if 0 < asked.memory_reservation < _MIN_MEMORY:
        raise InvalidInput(f"minimum memory reservation allowed is 6MB, got {asked.memory_reservation} bytes")
    if asked.memory and asked.memory < asked.memory_reservation:
        raise InvalidInput("minimum memory limit can not be less than memory reservation limit")
    if asked.blkio_weight and not 10 <= asked.blkio_weight <= 1000:
        raise InvalidInput(f"range of blkio weight is from 10 to 1000, got {asked.blkio_weight}")
    if not -1000 <= asked.oom_score_adj <= 1000:
        raise InvalidInput(f"invalid value {asked.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    _check_processors(asked)


def _check_processors(asked: Resources) -> None:
    there = os.cpu_count() or 1
    if asked.nano_cpus and asked.cpu_period > 0:
        raise InvalidInput("conflicting options: nano CPUs and CPU period cannot both be set")
    if asked.nano_cpus and asked.cpu_quota > 0:
        raise InvalidInput("conflicting options: nano CPUs and CPU quota cannot both be set")
    if not 0 <= asked.nano_cpus <= there * 10**9 or 0 < asked.nano_cpus < 10**7:
        raise InvalidInput(
            f"range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available",
            hint=f"{asked.nano_cpus / 10**9:g} were asked for",
        )
    if asked.cpu_shares and not _SHARES[0] <= asked.cpu_shares <= _SHARES[1]:
        raise InvalidInput(f"invalid CPU shares ({asked.cpu_shares}): {_SHARES[0]} to {_SHARES[1]}")
    if asked.cpu_period and not 1000 <= asked.cpu_period <= 1_000_000:
        raise InvalidInput("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < asked.cpu_quota < 1000:
        raise InvalidInput("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if asked.cpu_rt_period and asked.cpu_rt_runtime > asked.cpu_rt_period:
        raise InvalidInput("cpu real-time runtime cannot be higher than cpu real-time period")
    for name, text, path in (
        ("cpus", asked.cpuset_cpus, "/sys/devices/system/cpu/online"),
        ("mems", asked.cpuset_mems, "/sys/devices/system/node/online"),
    ):
        _check_list(name, text, path)


def _check_list(name: str, text: str, path: str) -> None:
    from contextkernel.runtime.cgroup_settings import list_cpus, parse_cpus

    if not text:
        return
    try:
        wanted = parse_cpus(text)
    except ValueError:
        raise InvalidInput(
            f"invalid value {text} for cpuset {name}: invalid format: {text}", hint="a list such as 0-3 or 0,1"
        ) from None
    try:
        with open(path, encoding="ascii") as file:
            there = parse_cpus(file.read())
    except (OSError, ValueError):
        return  # the kernel will say
    if not wanted <= there:
        what = "CPUs" if name == "cpus" else "memory nodes"
        raise InvalidInput(f"requested {what} are not available - requested {text}, available: {list_cpus(there)}")


def _size(name: str, value: int | str) -> int:
    if isinstance(value, int):
        return value
    text = value.strip().lower()
    if text == "-1":
        return -1
    number, unit = text.removesuffix("b") if len(text) > 1 and text[-2:-1] in _UNITS else text, ""
    if number[-1:] in _UNITS:
        number, unit = number[:-1], number[-1]
    try:
        return int(float(number) * _UNITS[unit or "b"])
    except (ValueError, OverflowError):
        raise InvalidInput(f"invalid size {value!r} for {name}", hint="a number of bytes, or such as 512m") from None


def _rate(one: DeviceRate | Mapping[str, Any]) -> DeviceRate:
    if isinstance(one, DeviceRate):
        found = one
    else:
        try:
            found = DeviceRate(str(one["Path"]), int(one.get("Rate", one.get("Weight"))))
        except (KeyError, TypeError, ValueError):
            raise InvalidInput(f"invalid device {one!r}", hint="a mapping with Path and Rate, or Weight") from None
    try:
        device_number(found.path)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise InvalidInput(f"cannot limit the device {found.path}: {reason}") from None
    return found


def device_number(path: str) -> str:
    """``major:minor`` of a device.

    Raises:
        OSError: there is none.
    """
    number = os.stat(path).st_rdev
    return f"{os.major(number)}:{os.minor(number)}"


def _ulimit(one: Mapping[str, Any]) -> Limit:
    try:
        fields = {str(key).lower(): value for key, value in one.items()}
        name = str(fields["name"])
        soft = int(fields["soft"] if fields.get("soft") is not None else fields["hard"])
        hard = int(fields["hard"] if fields.get("hard") is not None else fields["soft"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InvalidInput(f"invalid ulimit {one!r}", hint="a mapping with Name, Soft and Hard") from None
    if name not in ULIMITS:
        raise InvalidInput(f"invalid ulimit type: {name}", hint=f"one of {', '.join(ULIMITS)}")
    if hard != -1 and (soft == -1 or soft > hard):
        raise InvalidInput(f"ulimit {name}: the soft limit {soft} is above the hard limit {hard}")
    return Limit(name, soft, hard)
