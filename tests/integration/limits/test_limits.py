"""Limits that bite: by control groups where there are any, else by what each process may."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contextkernel.errors import LaunchFailed

if TYPE_CHECKING:
    from conftest import Here

MIB = 1 << 20


def test_a_hog_of_memory_does_not_get_it(here: Here) -> None:
    done = here.run("tail /dev/zero", name="hog", mem_limit="24m", memswap_limit="24m")
    document = here.document("hog")
    if "memory" in here.base.places:
        assert done.exit_code == 137
        assert document["State"]["OOMKilled"] is True
        assert here.kept("hog")["--memory"].startswith("cgroup v")
        events = here.engine.events(since="1h", until="0s", filters={"container": [document["Id"]]})
        actions = [event.action for event in events]
        assert "oom" in actions
    else:
        assert done.exit_code not in (0, 137)
        assert here.kept("hog")["--memory"] == "rlimit (per process)"
    assert here.groups(document["Id"]) == []


def test_a_fork_bomb_stays_small(here: Here) -> None:
    done = here.run("i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done", pids_limit=20)
    assert done.exit_code != 0
    assert "fork" in str(done.stderr)


def test_pids_are_counted(here: Here) -> None:
    identity = here.start("pids", pids_limit=20)
    if "pids" not in here.base.places:
        assert here.kept("pids") == {"--pids-limit": "rlimit (per process)"}
        return
    assert here.file(identity, "pids", "pids.max") == "20"


def test_a_hog_of_processors_is_throttled(here: Here) -> None:
    if "cpu" not in here.base.places:
        return  # nothing to count where nothing throttles; test_what_stands_in looks at the rest
    identity = here.start("busy", "while :; do :; done", nano_cpus=10**8)

    def throttled() -> int:
        text = here.file(identity, "cpu", "cpu.stat")
        return int(dict(line.split() for line in text.splitlines())["nr_throttled"])

    here.until(lambda: throttled() > 2)
    here.engine.remove_container("busy", force=True)
    assert here.groups(identity) == []


def test_inside_the_limits_can_be_seen(here: Here) -> None:
    total = int(here.said("awk '/MemTotal/ {print $2}' /proc/meminfo", mem_limit="64m"))
    if "memory" in here.base.places:
        assert total == 64 * 1024
    else:
        assert total > 64 * 1024
    script = "nproc; grep -c ^processor /proc/cpuinfo; grep -c ^cpu[0-9] /proc/stat; cat /sys/devices/system/cpu/online"
    assert here.said(script, nano_cpus=10**9).split() == ["1", "1", "1", "0"]
    last = (os.cpu_count() or 1) - 1
    assert here.said("nproc; grep Cpus_allowed_list /proc/self/status", cpuset_cpus=str(last)).split() == [
        "1", "Cpus_allowed_list:", str(last),
    ]  # fmt: skip


def test_without_limits_nothing_is_generated(here: Here) -> None:
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    assert int(here.said("awk '/MemTotal/ {print $2}' /proc/meminfo")) == host
    assert "meminfo" not in here.said("cat /proc/mounts")


def test_what_is_shown_of_memory_is_kept_fresh(here: Here) -> None:
    if "memory" not in here.base.places:
        return
    script = (
        "free() { awk '/MemFree/ {print $2}' /proc/meminfo; }; before=$(free);"
        " dd if=/dev/zero of=/dev/shm/x bs=1M count=32 2>/dev/null;"
        " while [ $((before - $(free))) -lt 30000 ]; do sleep 0.1; done; echo seen"
    )
    assert here.said(script, mem_limit="96m") == "seen\n"


def test_limits_of_each_process(here: Here) -> None:
    script = "ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1 | awk '{print $2}'; cat /proc/self/oom_score_adj"
    ulimits = [{"Name": "nofile", "Soft": 50, "Hard": 60}]
    assert here.said(script, ulimits=ulimits, shm_size="8m", oom_score_adj=300).split() == ["50", "60", "8192", "300"]


def test_nothing_of_docker_s_shm_is_executable(here: Here) -> None:
    script = "grep ' /dev/shm ' /proc/mounts"
    assert "noexec" in here.said(script, shm_size="8m")


def test_a_limit_that_cannot_be_set_is_an_error(here: Here) -> None:
    if "cpu" not in here.base.places or here.base.version != 1:
        return
    with pytest.raises(LaunchFailed, match="--cpu-rt-runtime 950000 is refused by the kernel"):
        here.run("true", cpu_rt_runtime=950_000)


def test_every_container_has_a_group_where_one_can_be_made(here: Here) -> None:
    identity = here.start("plain")
    groups = here.groups(identity)
    assert bool(groups) == bool(here.base.places)
    document = here.document("plain")
    for group in groups:
        with open(f"{group}/cgroup.procs") as file:
            assert str(document["State"]["Pid"]) in file.read().split()
    here.engine.remove_container("plain", force=True)
    assert here.groups(identity) == []


def test_warnings_say_what_is_not_kept(here: Here) -> None:
    heard: list[str] = []
    here.engine.on_warning = heard.append
    try:
        here.run("true", pids_limit=400)
    finally:
        here.engine.on_warning = None
    if "pids" in here.base.places:
        assert heard == []
    else:
        (text,) = heard
        assert text.startswith("--pids-limit 400 is kept by a resource limit only: RLIMIT_NPROC")
        assert here.base.reason in text


def test_want_of_memory_is_told_while_the_container_goes_on(here: Here) -> None:
    if "memory" not in here.base.places:
        return
    identity = here.start("survivor", "tail /dev/zero; sleep 1000", mem_limit="24m", memswap_limit="24m")
    here.until(lambda: here.document("survivor")["State"]["OOMKilled"])
    assert here.document("survivor")["State"]["Status"] == "running"

    def told() -> int:
        events = here.engine.events(since="1h", until="0s", filters={"container": [identity]})
        return [event.action for event in events].count("oom")

    here.until(told)  # after the record, which is another file
    here.engine.remove_container("survivor", force=True)
    assert told() == 1


def test_a_full_file_system_in_memory_is_the_programs_problem(here: Here) -> None:
    done = here.run("dd if=/dev/zero of=/dev/shm/big bs=1M count=16; echo then $?", remove=True, shm_size="4m")
    assert done.exit_code == 0
    assert b"then 1" in done.stdout
    assert b"No space left on device" in done.stderr


def test_a_file_may_not_grow_beyond_its_limit(here: Here) -> None:
    ulimits = [{"Name": "fsize", "Soft": MIB, "Hard": MIB}]
    done = here.run("dd if=/dev/zero of=/tmp/big bs=64k count=64; wc -c < /tmp/big", remove=True, ulimits=ulimits)
    assert done.stdout.strip() == str(MIB).encode()


def test_a_log_without_bound_stays_within_its_own(here: Here) -> None:
    bounds = {"Type": "json-file", "Config": {"max-size": "64k", "max-file": "2"}}
    identity = here.start("chatty", "yes 0123456789 | head -n 100000; sleep 1000", log_config=bounds)
    directory = Path(here.engine.root, "containers", identity)

    def logged() -> list[int]:
        sizes = []
        for path in directory.glob("log.json*"):
            with contextlib.suppress(FileNotFoundError):  # it was turned over meanwhile
                sizes.append(path.stat().st_size)
        return sizes

    here.until(lambda: b"9" in b"".join(line for _, line in here.engine.logs("chatty", tail=1)) and len(logged()) == 2)
    assert sum(logged()) < 3 * 65536
    here.engine.remove_container("chatty", force=True)
