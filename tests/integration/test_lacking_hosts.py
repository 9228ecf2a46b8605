"""Real hosts that lack one thing each: a user namespace's settings, a system call filter, a masked /proc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from judge.base import write_base

from contextkernel.linux.landlock import scopes_possible

PROGRAM = Path(__file__).parent / "lacking_host.py"
_ALLOWED = "unshare --user --map-root-user true"
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        sys.platform != "linux" or subprocess.run(_ALLOWED.split(), check=False, capture_output=True).returncode != 0,
        reason="this host allows no user namespaces",
    ),
]


@pytest.fixture
def on_host(tmp_path: Path, user: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs the program on a host of some kind, as an ordinary user; what it found."""
    root = os.geteuid() == 0
    # not below pytest's own folders, which are root's alone
    folder = Path(tempfile.mkdtemp(prefix="ck-lacking-")) if root else tmp_path
    write_base(folder / "base.tar")
    as_user = ["runuser", "-u", user, "--"] if root else []
    if root:
        shutil.chown(folder, user)
    runs: list[str] = []

    def run(kind: str, script: str = "true", **settings: str) -> dict[str, Any]:
        runs.append(kind)
        words = ["unshare", "--user", "--map-root-user", sys.executable, str(PROGRAM)]
        done = subprocess.run(
            [*as_user, *words, f"{folder}/store{len(runs)}", f"{folder}/base.tar", kind, script],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder), **settings},
            cwd=PROGRAM.parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    yield run
    if root:
        shutil.rmtree(folder)


def outputs(found: dict[str, Any]) -> tuple[str, str]:
    """What the container with a network, and the one without, have said; both have worked, and so has the build."""
    assert found["tier"] == "rootless-single"
    assert "built" in found["build"]
    texts = []
    for network in ("default", "none"):
        code, out, err = found["runs"][network]
        assert (code, err) == (0, ""), found
        texts.append(out)
    return texts[0], texts[1]


def test_a_host_that_lacks_nothing(on_host: Callable[..., dict[str, Any]]) -> None:
    found = on_host("nothing", "hostname")
    assert outputs(found) == ("mine\n", "mine\n")
    assert (found["fallbacks"], found["planned"], found["warnings"]) == ([], [], [])
    assert {"Pid": "own", "Uts": "own", "Ipc": "own", "Root": "pivot_root"}.items() <= found["isolation"].items()


def test_no_pid_namespaces(on_host: Callable[..., dict[str, Any]]) -> None:
    found = on_host(
        "pid",
        "test $$ -gt 1; ls -d /proc/self; (echo x >/proc/self/comm) 2>/dev/null || echo protected",
    )
    assert outputs(found)[0] == "/proc/self\nprotected\n"
    assert (found["facts"]["pid_namespace"], found["facts"]["fresh_proc"]) == ("refused", "refused")
    assert found["reasons"]["pid_namespace"].endswith("user.max_pid_namespaces is 0")
    assert found["remedies"]["pid_namespace"] == "sudo sysctl -w user.max_pid_namespaces=15000"
    assert (found["isolation"]["Pid"], found["isolation"]["Proc"]) == ("host", "host, read-only")
    (said,) = found["fallbacks"]
    assert said.startswith("no pid namespace: the container shares the host's processes")
    assert said.endswith("user.max_pid_namespaces is 0)")
    assert any(line.startswith("no pid namespace: RUN sees the processes of this machine") for line in found["build"])
    assert bool(found["warnings"]) is not scopes_possible()
    assert "ProtectProc" in found["operations"]


def test_no_network_namespaces(on_host: Callable[..., dict[str, Any]]) -> None:
    found = on_host("net", "wget -q -O- http://127.0.0.1:9/ 2>&1 || true")
    shared, closed = outputs(found)
    assert "refused" in shared
    assert "Address family not supported" in closed
    assert found["isolation"]["Network"] == "host, closed by a system call filter"
    (warning,) = found["warnings"]
    assert warning.startswith("--network none is kept by a system call filter")
    assert "this host allows no network namespace" in found["refused"]
    assert found["refused"].endswith("user.max_net_namespaces is 0")
    assert found["planned"][0].startswith("no network namespace: the container has the host's network")


def test_no_uts_ipc_and_cgroup_namespaces(on_host: Callable[..., dict[str, Any]]) -> None:
    found = on_host("uts+ipc+cgroup", "hostname; echo $HOSTNAME; test -e /dev/mqueue; echo $?; echo x >/dev/shm/x")
    assert outputs(found)[1].split() == [os.uname().nodename, "mine", "1"]
    assert {found["isolation"][name] for name in ("Uts", "Ipc", "Cgroup")} == {"host"}
    assert [text.partition(":")[0] for text in found["fallbacks"]] == [
        "no uts namespace",
        "no ipc namespace",
        "no cgroup namespace",
    ]
    assert len(found["warnings"]) == 2  # of each container that was given a host name
    for name in ("uts", "ipc", "cgroup"):
        assert found["reasons"][f"{name}_namespace"].endswith(f"user.max_{name}_namespaces is 0")


@pytest.mark.parametrize(("kind", "root"), [("pivot", "moved mount and chroot"), ("pivot+move", "chroot")])
def test_a_filter_that_refuses_to_change_the_root(on_host: Callable[..., dict[str, Any]], kind: str, root: str) -> None:
    found = on_host(kind, "ls -a /.. | grep -c etc; cat /built; chroot / true 2>/dev/null; echo $?")
    assert outputs(found)[0] == "1\nbuilt\n" + ("1\n" if root == "chroot" else "0\n")
    assert found["facts"]["pivot_root"] == "refused"
    assert found["facts"]["move_root"] == ("refused" if root == "chroot" else "works")
    assert found["isolation"]["Root"] == root
    assert found["fallbacks"][0].startswith("no pivot_root: ")
    assert bool(found["warnings"]) is (root == "chroot")


def test_a_filter_that_refuses_chroot(on_host: Callable[..., dict[str, Any]]) -> None:
    """Whoever notes owners needs it; without, changes of owner say that they worked, and are lost."""
    found = on_host("chroot", "touch /made; chown 3:4 /made; echo $?")
    assert outputs(found) == ("0\n", "0\n")
    assert found["facts"]["chroot"] == "refused"
    assert any("chown" in line for line in found["build"])


def test_a_masked_proc(on_host: Callable[..., dict[str, Any]]) -> None:
    """As in most containers; where Landlock keeps signals in, sharing the processes is the better way."""
    found = on_host("proc", "readlink /proc/self/ns/pid; echo through >/dev/stdout; echo >/proc/self/comm || true")
    assert found["facts"]["fresh_proc"] == "refused"
    assert "masked" in found["reasons"]["fresh_proc"]
    assert found["isolation"]["Proc"] == "host, read-only"
    assert found["isolation"]["Pid"] == ("host" if scopes_possible() else "own")
    alone = on_host("proc", "readlink /proc/self/ns/pid; echo through >/dev/stdout", CONTEXTKERNEL_WITHOUT="landlock")
    namespace, through = outputs(alone)[0].split()
    assert namespace != os.readlink("/proc/self/ns/pid")
    assert through == "through"
    assert alone["isolation"]["Pid"] == "own"
    assert alone["fallbacks"][0].startswith("no new /proc: the host's, read-only, whose process numbers are not")


def test_file_systems_that_cannot_be_mounted(on_host: Callable[..., dict[str, Any]]) -> None:
    found = on_host(
        "nothing",
        "echo x >/dev/shm/x; echo y >/dev/null; cut -d' ' -f2,3 /proc/self/mounts |"
        " grep -E -c '^/dev.* (tmpfs|devpts|mqueue)'; true",
        CONTEXTKERNEL_WITHOUT="tmpfs devpts mqueue",
    )
    assert outputs(found)[0] == "0\n"
    assert [text.partition(":")[0] for text in found["fallbacks"]] == ["no tmpfs", "no devpts", "no mqueue"]
