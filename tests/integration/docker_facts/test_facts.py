"""Inside a default container: what docker gives and what we give, fact by fact.

``recorded.txt`` is what ``facts.sh`` printed in a container of docker 28.5.2 (runc 1.1.5, cgroup v1, rootful). With
``CONTEXTKERNEL_DOCKER`` set to a docker command line the script is run there too, and compared with the record.
"""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from judge.base import write_base

from contextkernel.engine import Engine
from contextkernel.model.results import RunResult
from contextkernel.runtime.plan_security import MASKED_PATHS

HERE = Path(__file__).parent
STANDARD = ("null", "zero", "full", "random", "urandom", "tty")

#: fact: what ours is instead (None: there is none), and why
ANYWHERE: dict[str, tuple[str | None, str]] = {
    "mount /": ("rw,nodev,relatime", "stands in for the device control group: no node that is made can be opened"),
    "mount /dev": ("rw,nosuid,nodev", "the same; the devices in it are mounts of their own"),
    **{
        f"mount /etc/{name}": ("rw,nosuid,nodev", "a file in memory, not on the host's disk")
        for name in ("hosts", "hostname", "resolv.conf")
    },
}
ROOTFUL: dict[str, tuple[str | None, str]] = {
    f"mount /dev/{name}": ("rw,nosuid", "a node of the container's own, mounted over itself so that it can be opened")
    for name in STANDARD
}
ROOTLESS: dict[str, tuple[str | None, str]] = {
    "allowed mknod /n c 1 3": ("no", "no user namespace may make devices"),
    "sysctl net/ipv4/ping_group_range": ("65534 65534", "the kernel takes only mapped groups for it"),
    **{
        f"mount /dev/{name}": ("ro,relatime", "the host's node, which the container cannot change") for name in STANDARD
    },
}


def parsed(text: str) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("facts") / "base.tar"
    write_base(path)
    return path


@pytest.fixture(scope="module")
def engine(base: Path) -> Iterator[Engine]:
    with Engine(base.parent / "store") as made:
        if made.host_report().tier not in ("rootful", "rootless"):
            pytest.skip("this host has no namespaces, or a single id")
        made.import_image(str(base), "base")
        yield made


@pytest.fixture(scope="module")
def ours(engine: Engine) -> dict[str, str]:
    network = "none"  # a network of its own, wherever the tests run
    done = engine.run("base", ["sh"], remove=True, stdin=(HERE / "facts.sh").read_bytes(), network=network)
    assert isinstance(done, RunResult)
    assert done.exit_code == 0, done.stderr
    return parsed(done.stdout.decode())


def comparable(facts: dict[str, str]) -> dict[str, str]:
    """Without what depends on the kernel (which paths there are to mask) or on whoever starts it (limits)."""
    return {
        name: value
        for name, value in facts.items()
        if not name.startswith(("limit ", "mask ", "writable /proc/irq", "writable /sys"))
    }


def test_the_facts_are_dockers(engine: Engine, ours: dict[str, str]) -> None:
    rootful = engine.host_report().tier == "rootful"
    expected = comparable(parsed((HERE / "recorded.txt").read_text()))
    for name, (value, reason) in {**ANYWHERE, **(ROOTFUL if rootful else ROOTLESS)}.items():
        assert reason
        assert value is not None
        expected[name] = value
    found = comparable(ours)
    if not rootful:
        for name in STANDARD:  # owned by the host's root, who is nobody inside
            expected[f"dev /dev/{name}"] = expected[f"dev /dev/{name}"].replace("0:0", "65534:65534")
    assert {name: found.get(name) for name in {*expected, *found} if found.get(name) != expected.get(name)} == {}


def test_what_docker_masks_is_masked(ours: dict[str, str]) -> None:
    masked = {name.removeprefix("mask "): value for name, value in ours.items() if name.startswith("mask ")}
    assert set(masked) == {path for path in MASKED_PATHS if os.path.exists(path)}
    assert set(masked.values()) <= {"0"}  # an empty folder, or a file with nothing in it
    recorded = {name for name in parsed((HERE / "recorded.txt").read_text()) if name.startswith("mask ")}
    assert recorded <= {f"mask {path}" for path in MASKED_PATHS}


def test_nothing_of_the_kernels_is_writable(ours: dict[str, str]) -> None:
    assert {value for name, value in ours.items() if name.startswith("writable ")} == {"no"}


def test_limits_are_those_of_whoever_starts_it(ours: dict[str, str]) -> None:
    names = {
        "open files": resource.RLIMIT_NOFILE,
        "core file size": resource.RLIMIT_CORE,
        "processes": resource.RLIMIT_NPROC,
    }
    for name, number in names.items():
        wanted = " ".join(
            "unlimited" if value == resource.RLIM_INFINITY else str(value) for value in resource.getrlimit(number)
        )
        assert ours[f"limit Max {name}"] == wanted


@pytest.mark.may_skip
@pytest.mark.skipif("CONTEXTKERNEL_DOCKER" not in os.environ, reason="CONTEXTKERNEL_DOCKER names no docker")
def test_the_record_is_what_docker_says(base: Path) -> None:
    docker = shlex.split(os.environ["CONTEXTKERNEL_DOCKER"])
    subprocess.run([*docker, "import", str(base), "ck-facts"], check=True, capture_output=True)
    with (HERE / "facts.sh").open("rb") as script:
        done = subprocess.run(
            [*docker, "run", "--rm", "-i", "ck-facts", "sh"], stdin=script, check=True, capture_output=True, text=True
        )
    assert comparable(parsed(done.stdout)) == comparable(parsed((HERE / "recorded.txt").read_text()))
