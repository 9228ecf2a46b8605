"""Options about limits: docker's grammar and docker's words."""

from __future__ import annotations

import pytest

from contextkernel.commands.declaration import GRAMMAR
from contextkernel.commands.run_resources import keywords
from contextkernel.commands.values_resources import nano_cpus_of, size_of
from contextkernel.errors import UsageProblem
from contextkernel.model.resources import DeviceRate


def given(*words: str) -> dict[str, object]:
    return dict(keywords(GRAMMAR.parse(("run", *words, "image"), "docker")))


def test_all_of_them() -> None:
    assert given(
        "-m", "64m", "--memory-swap", "-1", "--memory-reservation", "32m", "--memory-swappiness", "10",
        "--oom-kill-disable", "--oom-score-adj", "100", "--cpus", "1.5", "-c", "512", "--cpuset-cpus", "0",
        "--cpuset-mems", "0", "--cpu-period", "1000", "--cpu-quota", "-1", "--cpu-rt-period", "5",
        "--cpu-rt-runtime", "4", "--pids-limit", "-1", "--blkio-weight", "20", "--blkio-weight-device", "/dev/a:10",
        "--device-read-bps", "/dev/a:1mb", "--device-write-bps", "/dev/a:2", "--device-read-iops", "/dev/a:3",
        "--device-write-iops", "/dev/b:4", "--shm-size", "1g", "--ulimit", "nofile=5:6", "--ulimit", "core=-1",
        "--kernel-memory", "10m",
    ) == {
        "mem_limit": 64 << 20,
        "memswap_limit": -1,
        "mem_reservation": 32 << 20,
        "mem_swappiness": 10,
        "oom_kill_disable": True,
        "oom_score_adj": 100,
        "nano_cpus": 1_500_000_000,
        "cpu_shares": 512,
        "cpuset_cpus": "0",
        "cpuset_mems": "0",
        "cpu_period": 1000,
        "cpu_quota": -1,
        "cpu_rt_period": 5,
        "cpu_rt_runtime": 4,
        "pids_limit": -1,
        "blkio_weight": 20,
        "blkio_weight_device": (DeviceRate("/dev/a", 10),),
        "device_read_bps": (DeviceRate("/dev/a", 1 << 20),),
        "device_write_bps": (DeviceRate("/dev/a", 2),),
        "device_read_iops": (DeviceRate("/dev/a", 3),),
        "device_write_iops": (DeviceRate("/dev/b", 4),),
        "shm_size": 1 << 30,
        "ulimits": [{"Name": "core", "Soft": -1, "Hard": -1}, {"Name": "nofile", "Soft": 5, "Hard": 6}],
    }  # fmt: skip
    assert given() == {}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["-m", "abc"], 'invalid argument "abc" for "-m, --memory" flag: invalid size: \'abc\''),
        (["-m", "-1"], "invalid size: '-1'"),
        (["-m", "1x"], "invalid suffix: 'x'"),
        (["--cpus", "x"], 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'),
        (["--cpus", "0.0000000001"], "value is too precise"),
        (["--blkio-weight", "70000"], "value out of range"),
        (["--blkio-weight", "x"], "invalid syntax"),
        (["--blkio-weight-device", "/dev/a"], "bad format: /dev/a"),
        (["--blkio-weight-device", "/dev/a:5"], "invalid weight for device: /dev/a:5"),
        (["--device-read-bps", "a:1mb"], "bad format for device path: a:1mb"),
        (["--device-read-bps", "/dev/a:1x"], "Unit is optional and can be kb, mb, or gb"),
        (["--device-read-iops", "/dev/a:1k"], "The correct format is <device-path>:<number>. Number must be"),
        (["--ulimit", "nofile"], "invalid ulimit argument: nofile"),
        (["--ulimit", "bogus=5"], 'invalid argument "bogus=5" for "--ulimit" flag: invalid ulimit type: bogus'),
        (["--ulimit", "nofile=x"], 'parsing "x": invalid syntax'),
        (["--ulimit", "nofile=1:2:3"], "too many limit value arguments - 1:2:3"),
        (["--ulimit", "nofile=5:4"], "ulimit soft limit must be less than or equal to hard limit: 5 > 4"),
        (["--ulimit", "nofile=-1:4"], "soft: -1 (unlimited), hard: 4"),
        (["--shm-size", "-1"], "invalid size: '-1'"),
    ],
)
def test_dockers_words(words: list[str], problem: str) -> None:
    with pytest.raises(UsageProblem) as raised:
        given(*words)
    assert problem in raised.value.problem
    assert raised.value.exit_code == 125


@pytest.mark.parametrize(
    ("text", "size"),
    [("20", 20), ("20b", 20), ("1k", 1024), ("1KB", 1024), ("1kib", 1024), ("1.5g", 3 << 29), ("64 m", 64 << 20)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


def test_processors_may_be_fractions() -> None:
    assert nano_cpus_of("3/2") == nano_cpus_of("1.5") == 1_500_000_000
