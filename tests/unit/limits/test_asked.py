"""Keyword arguments about limits, docker's checks, and what update makes of them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from contextkernel.engine.asked.resources import ResourceKeywords, changed, changes_from, resources_from
from contextkernel.errors import InvalidInput
from contextkernel.model.resources import DeviceRate, Resources
from contextkernel.model.step_mounts import Limit

MIB = 1 << 20


def test_nothing_asked() -> None:
    assert resources_from({}) == Resources()


def test_names_are_docker_pys() -> None:
    asked = resources_from(
        {
            "mem_limit": "64m",
            "mem_reservation": "32MB",
            "nano_cpus": 500_000_000,
            "pids_limit": 0,
            "ulimits": [{"Name": "nofile", "Soft": 5, "Hard": 9}, {"name": "core", "hard": 0}],
            "shm_size": "1g",
            "device_read_bps": [{"Path": "/dev/null", "Rate": 4096}],
            "blkio_weight_device": [DeviceRate("/dev/null", 20)],
        }
    )
    assert asked == Resources(
        memory=64 * MIB,
        memory_swap=128 * MIB,  # docker's default: as much swap as memory
        memory_reservation=32 * MIB,
        nano_cpus=500_000_000,
        ulimits=(Limit("nofile", 5, 9), Limit("core", 0, 0)),
        shm_size=1 << 30,
        device_read_bps=(DeviceRate("/dev/null", 4096),),
        blkio_weight_device=(DeviceRate("/dev/null", 20),),
    )


def test_any_number_of_processes() -> None:
    assert resources_from({"pids_limit": -5}).pids_limit == -1


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({"mem_limit": "4m"}, "minimum memory limit allowed is 6MB"),
        ({"mem_limit": "20m", "memswap_limit": "10m"}, "larger than memory limit"),
        ({"memswap_limit": "10m"}, "needs a memory limit"),
        ({"mem_limit": "20m", "mem_reservation": "40m"}, "less than memory reservation"),
        ({"mem_reservation": "5m"}, "minimum memory reservation allowed is 6MB"),
        ({"mem_swappiness": 101}, "valid memory swappiness range is 0-100"),
        ({"mem_limit": "many"}, "invalid size 'many'"),
        ({"nano_cpus": (os.cpu_count() or 1) * 10**9 + 1}, "range of CPUs is from 0.01"),
        ({"nano_cpus": 1000}, "range of CPUs is from 0.01"),
        ({"nano_cpus": 10**9, "cpu_quota": 5000}, "nano CPUs and CPU quota cannot both be set"),
        ({"nano_cpus": 10**9, "cpu_period": 5000}, "nano CPUs and CPU period cannot both be set"),
        ({"cpu_period": 10}, "CPU cfs period can not be less than 1ms"),
        ({"cpu_quota": 500}, "CPU cfs quota can not be less than 1ms"),
        ({"cpu_shares": 1}, r"invalid CPU shares \(1\)"),
        ({"cpu_shares": -1}, "invalid CPU shares"),
        ({"cpu_rt_period": 10, "cpu_rt_runtime": 11}, "cannot be higher than cpu real-time period"),
        ({"cpuset_cpus": "x"}, "invalid value x for cpuset cpus"),
        ({"cpuset_cpus": "0-4000"}, "requested CPUs are not available - requested 0-4000, available: 0"),
        ({"cpuset_mems": "77"}, "requested memory nodes are not available"),
        ({"blkio_weight": 5}, "range of blkio weight is from 10 to 1000"),
        ({"oom_score_adj": 1001}, r"range for oom score adj is \[-1000, 1000\]"),
        ({"ulimits": [{"Name": "bogus", "Soft": 1, "Hard": 1}]}, "invalid ulimit type: bogus"),
        ({"ulimits": [{"Name": "nofile", "Soft": 3, "Hard": 1}]}, "above the hard limit"),
        ({"ulimits": ["nofile=1"]}, "invalid ulimit"),
        ({"device_read_bps": [{"Path": "/dev/nope", "Rate": 1}]}, "no such file or directory"),
        ({"device_read_bps": [{"Path": "/dev/null"}]}, "invalid device"),
    ],
)
def test_dockers_checks(keywords: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        resources_from(keywords)


def update(before: Resources, keywords: ResourceKeywords) -> Resources:
    return changed(before, changes_from(keywords))


def test_update_changes_what_is_given() -> None:
    before = Resources(memory=64 * MIB, memory_swap=128 * MIB, pids_limit=9)
    assert update(before, {"mem_limit": "32m"}) == Resources(memory=32 * MIB, memory_swap=128 * MIB, pids_limit=9)
    assert update(before, {"pids_limit": -1}).pids_limit == -1
    assert update(Resources(), {"memswap_limit": -1}) == Resources(memory_swap=-1)


@pytest.mark.parametrize(
    ("before", "keywords", "problem"),
    [
        (Resources(), {"mem_limit": "128m"}, "smaller than already set memoryswap limit"),
        (Resources(memory=MIB, memory_swap=2 * MIB), {"mem_limit": "6m"}, "already set memoryswap limit"),
        (Resources(nano_cpus=10**9), {"cpu_quota": 20000}, "CPU quota cannot be updated as nano CPUs has already"),
        (Resources(cpu_period=5000), {"nano_cpus": 10**9}, "nano CPUs cannot be updated as CPU period has already"),
        (Resources(), {"mem_limit": "1m"}, "minimum memory limit"),
    ],
)
def test_update_refuses_what_contradicts(before: Resources, keywords: ResourceKeywords, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        update(before, keywords)
