"""Whether control groups of one's own can be made (cgroups(7)): by making one and removing it again."""

from __future__ import annotations

import os

from contextkernel.host.trying import Limited, Refused
from contextkernel.linux.cgroup import Group, own_groups

#: the controllers that limits on memory, processors and processes need
WANTED = ("memory", "cpu", "pids")


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _own(version: int) -> list[Group]:
    groups = own_groups(_read("/proc/self/cgroup"), _read("/proc/self/mountinfo"))
    found = [group for group in groups if bool(group.controllers) == (version == 1)]
    if not found:
        raise Refused(f"no cgroup hierarchy of version {version} is mounted")
    return found


def _make_and_remove(directory: str) -> None:
    path = os.path.join(directory, f"contextkernel-probe-{os.getpid()}")
    os.mkdir(path)
    os.rmdir(path)


def try_cgroup_v1() -> str:
    """Make a group in the hierarchy of every wanted controller.

    Raises:
        Refused: there is no version 1 hierarchy with a wanted controller.
        Limited: it works for some of them.
        OSError: it works for none; why not for the first.
    """
    works, fails = [], []
    for controller in WANTED:
        group = next((group for group in _own(1) if controller in group.controllers), None)
        if group is None:
            continue
        try:
            _make_and_remove(group.directory)
            works.append(controller)
        except OSError as problem:
            fails.append(problem)
    if not works and fails:
        raise fails[0]
    return _judge(works)


def try_cgroup_v2() -> str:
    """Make a group below one's own in the unified hierarchy.

    Raises:
        Refused: there is none, or it has no wanted controller.
        Limited: some of the wanted controllers are missing.
        OSError: it may not be written.
    """
    directory = _own(2)[0].directory
    _make_and_remove(directory)
    present = _read(os.path.join(directory, "cgroup.controllers")).split()
    return _judge([controller for controller in WANTED if controller in present])


def _judge(works: list[str]) -> str:
    if not works:
        raise Refused(f"none of the controllers {', '.join(WANTED)} is there")
    if len(works) < len(WANTED):
        raise Limited(f"only {', '.join(works)}")
    return ", ".join(works)
