"""Control groups for an ordinary user whom root has given some; and version 2's files on a real hierarchy."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from contextkernel.linux.cgroup import own_groups
from contextkernel.runtime.cgroup_base import VERSION1
from contextkernel.runtime.cgroups import Group

pytestmark = pytest.mark.root


def own(*, version: int) -> dict[str, str]:
    """Directories of this process's groups, by controller; of version 2 under ``unified``."""
    found = {}
    groups = own_groups(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    for group in groups:
        if not group.controllers and version == 2:
            found["unified"] = group.directory
        for controller in group.controllers:
            if controller in VERSION1 and version == 1:
                found[controller] = group.directory
    return found


@pytest.fixture
def given(user: str) -> Iterator[list[str]]:
    """A group of every hierarchy that belongs to the user."""
    directories = []
    for place in dict.fromkeys(own(version=1).values()):
        directory = f"{place}/ck-delegated-{os.getpid()}"
        os.mkdir(directory)
        directories.append(directory)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if os.path.exists(f"{place}/{name}"):
                Path(directory, name).write_text(Path(place, name).read_text())
        for name in ("", "cgroup.procs", "tasks"):
            shutil.chown(os.path.join(directory, name), user)
    yield directories
    for directory in directories:
        for inner in ("contextkernel", ""):
            with suppress(FileNotFoundError):
                os.rmdir(os.path.join(directory, inner))


@pytest.mark.timeout(600)
def test_the_same_limits_for_a_user_with_groups(run_as_user: Callable[..., str], given: list[str]) -> None:
    if not given:
        return  # version 2 alone: there systemd delegates, and the tests of a user find it
    enter = "; ".join(f"echo 0 > {directory}/cgroup.procs" for directory in given)
    run_as_user("limits/limits", "limits/measurements", settings=("CONTEXTKERNEL_TEST_GROUPS=1",), before=enter)


@pytest.fixture
def real() -> Iterator[Group]:
    """A group of version 2, perhaps without controllers."""
    place = own(version=2).get("unified")
    if place is None:
        pytest.skip("no hierarchy of version 2 is mounted")
    directory = f"{place}/ck-real-{os.getpid()}"
    os.mkdir(directory)
    group = Group(2, {"memory": directory})
    yield group
    group.kill()
    assert group.remove()


@pytest.mark.may_skip
def test_version_2_freezes_and_kills(real: Group) -> None:
    process = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    real.adopt(process.pid)
    assert real.processes() == (process.pid,)
    real.freeze(frozen=True)
    assert "frozen 1" in Path(real.directories[0], "cgroup.events").read_text()
    real.freeze(frozen=False)
    assert "frozen 0" in Path(real.directories[0], "cgroup.events").read_text()
    real.freeze(frozen=True)
    real.kill()  # a frozen one as well
    assert process.wait(timeout=60) == -9


@pytest.fixture
def legacy() -> Iterator[Group]:
    """A group of version 1's freezer."""
    place = own(version=1).get("freezer")
    if place is None:
        pytest.skip("no hierarchy of version 1 has a freezer")
    directory = f"{place}/ck-real-{os.getpid()}"
    os.mkdir(directory)
    group = Group(1, {"freezer": directory})
    yield group
    group.kill()
    assert group.remove()


@pytest.mark.may_skip
def test_version_1_freezes_and_kills(legacy: Group) -> None:
    process = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    legacy.adopt(process.pid)
    legacy.freeze(frozen=True)
    assert Path(legacy.directories[0], "freezer.state").read_text() == "FROZEN\n"
    legacy.kill()
    assert process.wait(timeout=60) == -9
    assert not legacy.processes()
