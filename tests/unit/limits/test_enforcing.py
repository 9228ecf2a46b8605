"""Which limit is kept by what, on hosts with and without control groups."""

from __future__ import annotations

import pytest

from contextkernel.model.resources import Discarded, Resources
from contextkernel.model.step_mounts import Limit
from contextkernel.runtime.enforcing import GroupFacts, enforcement, nice_of_shares, processors, warning_of

CPUS = frozenset(range(4))
VERSION1 = GroupFacts(
    version=1,
    controllers=frozenset({"memory", "cpu", "cpuset", "pids", "blkio"}),
    files=frozenset(
        {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness", "cpu.shares", "cpu.cfs_quota_us"}
        | {"cpu.cfs_period_us", "cpuset.cpus", "pids.max", "blkio.throttle.read_bps_device"}
    ),
    cpus=CPUS,
)
VERSION2 = GroupFacts(
    version=2,
    controllers=frozenset({"memory", "pids"}),
    files=frozenset({"memory.max", "memory.swap.max", "pids.max"}),
    reason="the controllers cpu, cpuset, io are not enabled",
    remedy="delegate them",
    cpus=CPUS,
)
NOTHING = GroupFacts(reason="this user may not make control groups", remedy="ask for a scope", cpus=CPUS)


def ways(resources: Resources, facts: GroupFacts) -> dict[str, str]:
    return {one.option: one.way for one in enforcement(resources, facts).report}


def test_version_1_keeps_all_of_it() -> None:
    asked = Resources(memory=1 << 26, memory_swap=1 << 27, nano_cpus=10**9, pids_limit=9, cpuset_cpus="0")
    kept = enforcement(asked, VERSION1)
    assert {one.way for one in kept.report} == {"cgroup v1"}
    assert [one.option for one in kept.report] == [
        "--memory",
        "--memory-swap",
        "--cpus",
        "--cpuset-cpus",
        "--pids-limit",
    ]
    assert not any(warning_of(one) for one in kept.report)
    assert (kept.rlimits, kept.pids, kept.nice) == ((), 0, 0)


def test_version_1_without_the_files() -> None:
    assert ways(Resources(blkio_weight=300), VERSION1) == {"--blkio-weight": "none"}
    (one,) = enforcement(Resources(blkio_weight=300), VERSION1).report
    assert "bfq" in one.detail


def test_version_2_with_some_controllers() -> None:
    asked = Resources(memory=1 << 26, memory_swap=1 << 27, memory_swappiness=3, cpu_shares=512, pids_limit=9)
    assert ways(asked, VERSION2) == {
        "--memory": "cgroup v2",
        "--memory-swap": "cgroup v2",
        "--memory-swappiness": "none",
        "--cpu-shares": "nice",
        "--pids-limit": "cgroup v2",
    }


def test_without_groups_processes_are_limited_one_by_one() -> None:
    asked = Resources(memory=1 << 26, memory_swap=1 << 27, pids_limit=9, cpu_shares=512, cpuset_cpus="1-2")
    kept = enforcement(asked, NOTHING)
    assert {one.option: one.way for one in kept.report} == {
        "--memory": "rlimit",
        "--memory-swap": "process",
        "--cpu-shares": "nice",
        "--cpuset-cpus": "affinity",
        "--pids-limit": "rlimit",
    }
    assert kept.rlimits == (Limit("data", 1 << 26, 1 << 26),)
    assert (kept.pids, kept.nice, kept.cpus) == (9, 3, frozenset({1, 2}))
    said = [text for one in kept.report if (text := warning_of(one))]
    assert len(said) == 4
    assert said[0].startswith("--memory 67108864 is kept by a resource limit only: RLIMIT_DATA")
    assert all("this user may not make control groups; to change that: ask for a scope" in text for text in said)


@pytest.mark.parametrize(
    "asked",
    [
        Resources(memory_reservation=1 << 26),
        Resources(memory_swap=3 << 26, memory=1 << 26),
        Resources(cpu_shares=2048),
        Resources(nano_cpus=4 * 10**9),  # as many as there are: nothing to keep them from
        Resources(oom_kill_disable=True),
        Resources(cpuset_mems="0"),
    ],
)
def test_without_groups_some_limits_are_none(asked: Resources) -> None:
    report = enforcement(asked, NOTHING).report
    assert report[-1].way == "none"
    assert "is not enforced: this user may not" in warning_of(report[-1])


def test_limits_that_need_no_group() -> None:
    asked = Resources(ulimits=(Limit("nofile", 10, 20),), shm_size=1 << 20, oom_score_adj=100)
    report = enforcement(asked, NOTHING).report
    assert [(one.option, one.value, one.way) for one in report] == [
        ("--ulimit", "nofile=10:20", "process"),
        ("--shm-size", "1048576", "process"),
        ("--oom-score-adj", "100", "process"),
    ]


def test_what_was_discarded_is_reported() -> None:
    asked = Resources(discarded=(Discarded("--blkio-weight", "300", "no bfq"),))
    (one,) = enforcement(asked, VERSION1).report
    assert (one.option, one.value, one.way, one.detail) == ("--blkio-weight", "300", "none", "no bfq")


@pytest.mark.parametrize(
    ("asked", "seed", "expected"),
    [
        (Resources(), 0, frozenset()),
        (Resources(nano_cpus=1_500_000_000), 0, {0, 1}),
        (Resources(nano_cpus=1_500_000_000), 3, {3, 0}),
        (Resources(nano_cpus=4_000_000_000), 0, frozenset()),
        (Resources(cpu_quota=50_000), 2, {2}),
        (Resources(cpu_quota=-1), 0, frozenset()),
        (Resources(cpuset_cpus="2-3"), 0, {2, 3}),
        (Resources(cpuset_cpus="2-3", nano_cpus=10**9), 1, {3}),
        (Resources(cpuset_cpus="0-3"), 0, frozenset()),
        (Resources(cpuset_cpus="9"), 0, frozenset()),
    ],
)
def test_processors(asked: Resources, seed: int, expected: frozenset[int]) -> None:
    assert processors(asked, CPUS, seed) == expected


def test_shares_as_nice_levels() -> None:
    assert [nice_of_shares(shares) for shares in (2048, 1024, 819, 512, 15, 2)] == [0, 0, 1, 3, 19, 19]
