"""Control groups on made-up trees: where they go, what is written, what is said where there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contextkernel.errors import LaunchFailed
from contextkernel.model.resources import Resources
from contextkernel.runtime.cgroup_base import Base, find_base, make_group, sweep
from contextkernel.runtime.cgroup_settings import settings
from contextkernel.runtime.cgroups import Group


def unified(top: Path, enabled: str = "cpu memory pids", controllers: str = "cpu memory pids") -> Path:
    """A made-up unified hierarchy: /jobs/mine is this process's group."""
    for directory in (top, top / "jobs", top / "jobs" / "mine", top / "jobs" / "contextkernel"):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.procs").write_text("")
        (directory / "cgroup.controllers").write_text(controllers)
        (directory / "cgroup.subtree_control").write_text("")
    # what a kernel does when a controller is switched on cannot be had here: they are on
    (top / "jobs" / "cgroup.subtree_control").write_text(enabled)
    (top / "jobs" / "contextkernel" / "cgroup.subtree_control").write_text(enabled)
    return top


def look(top: Path, own: str) -> Base:
    return find_base(f"0::{own}\n", f"29 23 0:26 / {top} rw - cgroup2 cgroup2 rw\n")


def test_version_2_goes_up_to_where_controllers_are(tmp_path: Path) -> None:
    base = look(unified(tmp_path), "/jobs/mine")
    assert base.version == 2
    assert base.places == dict.fromkeys(("memory", "cpu", "pids"), str(tmp_path / "jobs" / "contextkernel"))
    assert "cpuset, io are not enabled" in base.reason
    assert "Delegate=yes" in base.remedy


def test_version_2_without_delegation(tmp_path: Path) -> None:
    base = look(unified(tmp_path, enabled=""), "/jobs/mine")
    assert (base.version, base.places) == (0, {})
    assert base.reason == "this process's control group, and no group above it, can hand controllers on"
    assert "systemd-run --user --scope -p Delegate=yes" in base.remedy


@pytest.mark.rootless
def test_version_2_of_somebody_else(tmp_path: Path) -> None:
    top = unified(tmp_path)
    for directory in (top, top / "jobs", top / "jobs" / "mine"):
        directory.chmod(0o555)
    try:
        base = look(top, "/jobs/mine")
        assert base.version == 0
        assert base.reason == "this user may not make control groups"
    finally:
        for directory in (top, top / "jobs", top / "jobs" / "mine"):
            directory.chmod(0o755)


def test_version_1_has_a_directory_for_each_hierarchy(tmp_path: Path) -> None:
    mounts, groups = [], []
    for place, names in enumerate(("cpu,cpuacct", "memory", "name=systemd", "freezer")):
        directory = tmp_path / names
        directory.mkdir()
        (directory / "mine").mkdir()
        mounts.append(f"3{place} 24 0:3{place} / {directory} rw - cgroup cgroup rw,{names}\n")
        groups.append(f"{place + 1}:{names}:/mine\n")
    base = find_base("".join(groups), "".join(mounts))
    assert base.version == 1
    assert base.places == {
        "cpu": f"{tmp_path}/cpu,cpuacct/mine/contextkernel",
        "cpuacct": f"{tmp_path}/cpu,cpuacct/mine/contextkernel",
        "memory": f"{tmp_path}/memory/mine/contextkernel",
        "freezer": f"{tmp_path}/freezer/mine/contextkernel",
    }
    group = make_group(base, "abc")
    assert len(group.directories) == 3
    assert all(os.path.isdir(directory) for directory in group.directories)
    assert group.remove()
    assert not any(os.path.exists(directory) for directory in group.directories)


def test_nothing_mounted() -> None:
    base = find_base("0::/\n", "24 18 0:22 / /sys ro - sysfs sysfs ro\n")
    assert (base.version, base.reason) == (0, "no control groups are mounted here")


def test_a_parent_that_was_removed_is_made_again(tmp_path: Path) -> None:
    base = Base(1, {"pids": str(tmp_path / "contextkernel")})
    group = make_group(base, "abc")
    assert os.path.isdir(tmp_path / "contextkernel" / "abc")
    assert group.remove()


def test_limits_are_written_where_there_is_a_file(tmp_path: Path) -> None:
    for name in ("memory.max", "memory.swap.max", "pids.max"):
        (tmp_path / name).write_text("")
    group = Group(2, dict.fromkeys(("memory", "pids", "cpu"), str(tmp_path)))
    group.apply(settings(Resources(memory=10, memory_swap=15, pids_limit=7, nano_cpus=10**9), 2, str))
    assert {name: (tmp_path / name).read_text() for name in os.listdir(tmp_path)} == {
        "memory.max": "10",
        "memory.swap.max": "5",
        "pids.max": "7",
    }


def test_version_2_is_frozen_and_killed_by_one_file(tmp_path: Path) -> None:
    (tmp_path / "cgroup.freeze").write_text("0")
    (tmp_path / "cgroup.kill").write_text("")
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    group = Group(2, {"memory": str(tmp_path)})
    assert group.can_freeze
    group.freeze(frozen=True)
    assert (tmp_path / "cgroup.freeze").read_text() == "1"
    group.kill()
    assert (tmp_path / "cgroup.kill").read_text() == "1"


def test_freezing_that_does_not_come_about_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contextkernel.runtime.cgroups._KILL_PATIENCE", 0.0)
    (tmp_path / "cgroup.freeze").write_text("0")
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with pytest.raises(LaunchFailed, match="could not be stopped"):
        Group(2, {"memory": str(tmp_path)}).freeze(frozen=True)
    assert (tmp_path / "cgroup.freeze").read_text() == "0"


@pytest.mark.parametrize(("version", "name"), [(1, "memory.oom_control"), (2, "memory.events")])
def test_kills_for_want_of_memory(tmp_path: Path, version: int, name: str) -> None:
    group = Group(version, {"memory": str(tmp_path)})
    assert group.oom_kills() == 0
    (tmp_path / name).write_text("low 0\noom 5\noom_kill_disable 0\noom_kill 2\n")
    assert group.oom_kills() == 2


def test_a_group_that_is_gone_has_nothing(tmp_path: Path) -> None:
    group = Group(1, {"memory": str(tmp_path / "gone")})
    assert group.processes() == ()
    assert group.text("memory", "memory.stat") == ""
    assert group.text("pids", "pids.current") == ""
    assert group.remove()


def test_abandoned_groups_are_swept(tmp_path: Path) -> None:
    parents = [tmp_path / name for name in ("memory", "pids")]
    old, used, young, foreign = "a" * 64, "b" * 64, "c" * 64, "somebody"
    for parent in parents:
        for name in (old, used, young, foreign):
            (parent / name).mkdir(parents=True)
        (parent / used / "cgroup.procs").write_text("17\n")
        for name in (old, used, foreign):
            os.utime(parent / name, (1, 1))
    sweep(Base(1, {parent.name: str(parent) for parent in parents}))
    assert all(sorted(os.listdir(parent)) == sorted([used, young, foreign]) for parent in parents)
