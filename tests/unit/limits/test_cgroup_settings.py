"""Limits as files of control groups, both versions."""

from __future__ import annotations

import pytest

from contextkernel.model.resources import DeviceRate, Resources
from contextkernel.runtime.cgroup_settings import list_cpus, parse_cpus, settings, weight_of_shares

EVERYTHING = Resources(
    memory=64 << 20,
    memory_swap=96 << 20,
    memory_reservation=32 << 20,
    memory_swappiness=10,
    oom_kill_disable=True,
    nano_cpus=1_500_000_000,
    cpu_shares=512,
    cpu_rt_period=1_000_000,
    cpu_rt_runtime=950_000,
    cpuset_cpus="0-1",
    cpuset_mems="0",
    pids_limit=50,
    blkio_weight=300,
    blkio_weight_device=(DeviceRate("/dev/sda", 200),),
    device_read_bps=(DeviceRate("/dev/sda", 1 << 20),),
    device_write_iops=(DeviceRate("/dev/sda", 100), DeviceRate("/dev/sdb", 200)),
)
NUMBERS = {"/dev/sda": "8:0", "/dev/sdb": "8:16"}


def written(resources: Resources, version: int) -> list[tuple[str, str]]:
    return [(one.files[0], one.value) for one in settings(resources, version, NUMBERS.__getitem__) if one.files]


def test_version_1() -> None:
    assert written(EVERYTHING, 1) == [
        ("memory.limit_in_bytes", "67108864"),
        ("memory.memsw.limit_in_bytes", "100663296"),
        ("memory.soft_limit_in_bytes", "33554432"),
        ("memory.swappiness", "10"),
        ("memory.oom_control", "1"),
        ("cpu.shares", "512"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "150000"),
        ("cpu.rt_period_us", "1000000"),
        ("cpu.rt_runtime_us", "950000"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "50"),
        ("blkio.weight", "300"),
        ("blkio.weight_device", "8:0 200"),
        ("blkio.throttle.read_bps_device", "8:0 1048576"),
        ("blkio.throttle.write_iops_device", "8:0 100"),
        ("blkio.throttle.write_iops_device", "8:16 200"),
    ]


def test_version_2() -> None:
    assert written(EVERYTHING, 2) == [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),  # version 1 counts memory and swap, version 2 swap alone
        ("memory.low", "33554432"),
        ("cpu.weight", "59"),
        ("cpu.max", "150000 100000"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "50"),
        ("io.weight", "default 2930"),
        ("io.bfq.weight", "8:0 200"),
        ("io.max", "8:0 rbps=1048576"),
        ("io.max", "8:0 wiops=100"),
        ("io.max", "8:16 wiops=200"),
    ]


def test_version_2_knows_what_it_lacks() -> None:
    lacking = [one.option for one in settings(EVERYTHING, 2, NUMBERS.__getitem__) if not one.files]
    assert lacking == ["--memory-swappiness", "--oom-kill-disable", "--cpu-rt-period", "--cpu-rt-runtime"]


@pytest.mark.parametrize(
    ("resources", "version", "expected"),
    [
        (Resources(memory_swap=-1), 1, [("memory.memsw.limit_in_bytes", "-1")]),
        (Resources(memory_swap=-1), 2, [("memory.swap.max", "max")]),
        (Resources(pids_limit=-1), 1, [("pids.max", "max")]),
        (Resources(cpu_quota=-1), 2, [("cpu.max", "max 100000")]),
        (Resources(cpu_quota=50_000, cpu_period=200_000), 2, [("cpu.max", "50000 200000")]),
        (Resources(cpu_quota=50_000), 1, [("cpu.cfs_quota_us", "50000")]),
        (Resources(), 1, []),
        (Resources(), 2, []),
    ],
)
def test_no_limit_and_parts(resources: Resources, version: int, expected: list[tuple[str, str]]) -> None:
    assert written(resources, version) == expected


def test_shares_become_weights_at_the_three_fixed_points() -> None:
    assert [weight_of_shares(shares) for shares in (0, 2, 1024, 1 << 18, 1 << 20)] == [1, 1, 100, 10_000, 10_000]
    weights = [weight_of_shares(shares) for shares in range(2, 5000, 7)]
    assert weights == sorted(weights)


def test_lists_of_processors() -> None:
    assert parse_cpus("0-2,5") == {0, 1, 2, 5}
    assert parse_cpus("3") == {3}
    assert parse_cpus("") == frozenset()
    assert list_cpus(frozenset({0, 1, 2, 5, 7, 8})) == "0-2,5,7-8"
    assert parse_cpus(list_cpus(frozenset({4, 9, 10}))) == {4, 9, 10}


@pytest.mark.parametrize("text", ["x", "3-1", "1-", "-1", "0-2-4"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cpus(text)
