"""Containers without namespaces: proot shows them their files, Landlock keeps them to these (docs/security.md)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from contextkernel.errors import CommandNotExecutable, CommandNotFound
from contextkernel.linux import landlock
from contextkernel.model.container import Bind, ExecRequest, Terminal, Tmpfs
from contextkernel.model.networking import Networking, PortBinding
from contextkernel.model.networks import NetworkLaunch
from contextkernel.model.step_mounts import CacheBind, SecretFile

confined = pytest.mark.skipif(landlock.abi() < landlock.TRUNCATE_SINCE, reason="needs Landlock (Linux 6.2)")
scoped = pytest.mark.skipif(not landlock.scopes_possible(), reason="needs Landlock scopes (Linux 6.12)")


def test_it_sees_its_own_files_as_root_and_leaves_nothing(traced):
    request = traced.request(
        "sh", "-c", "id -u; echo x >/new; cat /etc/passwd /etc/hostname; ls -d /dev/null /proc/self"
    )
    done = traced.execute(request)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "0",
        "root:x:0:0:root:/root:/bin/sh",
        "bob:x:1000:1001:Bob:/home/bob:/bin/sh",
        "box",
        "/dev/null",
        "/proc/self",
    ]
    assert sorted(os.listdir(request.upper)) == ["bin", "etc", "new"]
    assert sorted(os.listdir(Path(request.upper) / "etc")) == ["group", "passwd"]
    assert sorted(os.listdir(os.path.dirname(request.upper))) == ["tree", "upper", "work"]


def test_the_environment_is_the_containers(traced):
    env = ("PATH=/bin", "LD_LIBRARY_PATH=/none", "PWD=/elsewhere", "odd-name=1")
    added = ("HOME=/root", "APT_CONFIG=/dev/.apt.conf")
    assert sorted(traced.run("/bin/busybox", "env", env=env).out.splitlines()) == sorted((*env, *added))


@pytest.mark.parametrize(
    ("script", "code"), [("exit 3", 3), ("kill -SEGV $$", 139), ("sleep 600 & exit 4", 4), ("(true &) ; true", 0)]
)
def test_the_exit_code_is_the_first_programs(traced, script, code):
    assert traced.run("sh", "-c", script).code == code


def test_no_process_is_left_behind(traced):
    mark = f"600.{os.getpid()}"
    assert traced.run("sh", "-c", f"setsid sleep {mark} & (sleep {mark} &) ; exit 0").code == 0
    found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _content(path)]
    assert found == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_programs_that_cannot_be_run_are_said_as_docker_does(traced):
    with pytest.raises(CommandNotFound, match=r'exec: "none": executable file not found in \$PATH'):
        traced.run("none")
    with pytest.raises(CommandNotExecutable, match=r'exec: "/etc/passwd": permission denied'):
        traced.run("/etc/passwd")


def test_a_user_and_changes_of_user_are_shown(traced):
    script = "id -u; id -g; echo $HOME"
    assert traced.sh(script, user="bob").split() == ["1000", "1001", "/home/bob"]
    assert traced.sh(script, user="7:8").split() == ["7", "8", "/"]
    assert traced.sh("su bob -c 'id -u'; touch /f; chown 1:1 /f; echo done").split() == ["1000", "done"]


def test_binds_tmpfs_caches_and_secrets(traced, tmp_path, eventually):
    before = _rooms()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_text("from the host\n")
    (tmp_path / "cache" / "in").mkdir(parents=True)
    request = traced.request(
        *("sh", "-c", "cat /a/data/f /run/secret; echo 1 >/a/data/new; echo 2 >/cache/new; echo 3 >/t/x; ls /t"),
        binds=(Bind(str(tmp_path / "data"), "/a/data"),),
        tmpfs=(Tmpfs("/t"),),
        mounts=(
            CacheBind(source=str(tmp_path / "cache"), target="/cache", path="/in"),
            SecretFile(target="/run/secret", content=b"hush\n"),
        ),
        sandbox=True,
    )
    done = traced.execute(request)
    assert (done.code, done.out) == (0, "from the host\nhush\nx\n"), done.err
    assert (tmp_path / "data" / "new").read_text() == "1\n"
    assert (tmp_path / "cache" / "in" / "new").read_text() == "2\n"
    assert sorted(os.listdir(request.upper)) == ["bin", "dev", "etc", "proc", "sys"]  # what BuildKit leaves
    eventually(
        lambda: _rooms() <= before, "the end of its directories in memory, and of those that others had meanwhile"
    )


def _rooms() -> set[Path]:
    return set(Path("/dev/shm").glob("contextkernel-*"))


@confined
def test_read_only_means_so(traced, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_text("x")
    bind = Bind(str(tmp_path / "data"), "/data", read_only=True)
    for script in ("echo y >/data/f", "echo y >>/data/f", "rm /data/f", "touch /data/g", "mv /data/f /data/g"):
        assert traced.run("sh", "-c", script, binds=(bind,)).code != 0, script
    assert (tmp_path / "data" / "f").read_text() == "x"
    assert (
        traced.run("sh", "-c", "cat /data/f; ! touch /x && touch /dev/shm/x", binds=(bind,), read_only=True).code == 0
    )


def test_signals_stop_and_kill_reach_the_program(traced):
    script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done"
    read, write = os.pipe()
    process = traced.runtime.launch(traced.request("sh", "-c", script, state=True), stdout=write)
    os.close(write)
    with os.fdopen(read) as output:
        assert output.readline() == "up\n"
    process.signal(15)
    assert process.wait() == 5
    process.close()
    process = traced.runtime.launch(traced.request("sleep", "600", state=True))
    process.signal(9)
    assert process.wait() == 137
    process.close()


def test_further_programs_see_the_same(traced, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_text("shared\n")
    bind = Bind(str(tmp_path / "data"), "/data")
    request = traced.request("sleep", "600", state=True, binds=(bind,), tmpfs=(Tmpfs("/t"),))
    process = traced.runtime.launch(request)
    read, write = os.pipe()
    wanted = ExecRequest(
        argv=("sh", "-c", "id -u; pwd; cat /data/f; echo one >/t/x; exit 6"),
        env=("PATH=/bin",),
        user="bob",
        working_dir="/data",
    )
    further = traced.runtime.execute(request.state_dir, wanted, stdout=write)
    os.close(write)
    with os.fdopen(read) as output:
        assert output.read().split() == ["1000", "/data", "shared"]
    assert further.wait() == 6
    further.close()
    assert len(process.processes()) == 1  # without proot, and what it starts first
    with pytest.raises(CommandNotFound):
        traced.runtime.execute(request.state_dir, ExecRequest(argv=("none",), env=("PATH=/bin",)))
    process.signal(9)
    process.wait()
    process.close()


def test_a_terminal(traced):
    request = traced.request("sh", "-c", "test -t 0 && stat -c %F /dev/console; stty size", terminal=Terminal(7, 70))
    done = traced.execute(request)
    assert done.out.replace("\r", "").splitlines()[0] == "character special file", done.out


def test_without_network_there_is_not_even_a_socket(traced):
    done = traced.run("ifconfig", network="none")
    assert done.code != 0
    assert "not supported" in done.err


def test_dockers_policy_of_system_calls_holds(traced):
    """The kernel keeps it, not the tracer: a user namespace, which this host gives to anybody, is refused."""
    done = traced.run("sh", "-c", "grep ^Seccomp: /proc/self/status; busybox unshare -U busybox true")
    assert done.out.split() == ["Seccomp:", "2"]
    assert done.code != 0
    assert "Operation not permitted" in done.err


# What holds of a program that goes around the tracer (docs/security.md, "Without namespaces"): a process prepares
# itself as a container's first one does, and then uses paths of the host instead of executing proot.

_AROUND = """
import json, os, signal, socket, sys
from contextkernel.linux.caps import set_capabilities, set_no_new_privs
from contextkernel.runtime.operations import traced as op
from contextkernel.runtime.traced_tree import TracedTree

place, scopes = sys.argv[1], sys.argv[2] == "scopes"

def outcome(function, *words):
    try:
        function(*words)
    except OSError as problem:
        return problem.strerror
    return "done"

outside = os.getppid()
os.mkfifo(place + "/report")
reader = os.open(place + "/report", os.O_RDONLY | os.O_NONBLOCK)
tree = TracedTree(op.UseTree(place + "/tree", room=place + "/room", report=place + "/report"))
tree.show(op.ShowPath("/proc", "/proc", access="read"))
tree.show(op.ShowPath("/dev/pts", "/pts", access="list"))
tree.show(op.ShowPath(place + "/volume", "/volume"))
tree.show(op.ShowPath(place + "/readable", "/readable", access="read"))
set_no_new_privs()
set_capabilities(frozenset(), frozenset())
tree.confine(op.Confine(files=True, signals=scopes, sockets=scopes))
"""


def around(code: str, place: Path, *, scopes: bool = False) -> dict[str, str]:
    for name in ("tree", "room", "volume", "readable", "home"):
        (place / name).mkdir()
        (place / name / "file").write_text("x")
    code += "\nprint(json.dumps(found))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = [sys.executable, "-c", _AROUND + code, str(place), "scopes" if scopes else "-"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@confined
def test_attack_on_files_outside(tmp_path):
    found = around(
        """
home = place + "/home"
found = {
    "read": outcome(open, home + "/file"),
    "write": outcome(open, home + "/file", "r+"),
    "make": outcome(open, home + "/new", "w"),
    "list": outcome(os.listdir, home),
    "remove": outcome(os.unlink, home + "/file"),
    "move away": outcome(os.rename, home + "/file", place + "/tree/taken"),
    "link in": outcome(os.link, home + "/file", place + "/tree/taken"),
    "execute": outcome(os.execv, "/usr/bin/env", ["env"]),
    "execute its own": outcome(os.execv, place + "/tree/file", ["file"]),
    "passwords": outcome(open, "/etc/passwd"),
    "other terminals": outcome(open, "/dev/ptmx"),
    "room": outcome(open, place + "/room/file"),
    "change what is read-only": outcome(open, place + "/readable/file", "a"),
}
""",
        tmp_path,
    )
    assert set(found.values()) == {"Permission denied", "Invalid cross-device link"}, found
    assert (tmp_path / "home/file").read_text() == "x"
    assert os.listdir(tmp_path / "home") == ["file"]


@confined
def test_its_own_files_are_open(tmp_path):
    found = around(
        """
found = {
    "tree": outcome(open, place + "/tree/new", "w"), "volume": outcome(open, place + "/volume/file", "a"),
    "move": outcome(os.rename, place + "/tree/new", place + "/volume/new"),
    "read-only": outcome(open, place + "/readable/file"), "itself": outcome(open, "/proc/self/status"),
}
""",
        tmp_path,
    )
    assert set(found.values()) == {"done"}, found


@confined
def test_attack_on_the_memory_environment_and_files_of_other_processes(tmp_path):
    found = around(
        """
found = {name: outcome(open, f"/proc/{outside}/{name}") for name in ("mem", "environ", "maps")}
found["root"] = outcome(os.listdir, f"/proc/{outside}/root/")
found["descriptors"] = outcome(os.listdir, f"/proc/{outside}/fdinfo")
found["memory score"] = outcome(open, f"/proc/{outside}/oom_score_adj", "w")
""",
        tmp_path,
    )
    assert set(found.values()) == {"Permission denied"}, found


@scoped
def test_attack_by_signals_and_abstract_sockets(tmp_path):
    name = f"ck-traced-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        found = around(
            f"""
client = socket.socket(socket.AF_UNIX)
found = {{"kill": outcome(os.kill, outside, 0), "connect": outcome(client.connect, chr(0) + "{name}")}}
""",
            tmp_path,
            scopes=True,
        )
    assert found == {"kill": "Operation not permitted", "connect": "Operation not permitted"}


@confined
def test_what_does_not_hold(tmp_path):
    """Said in docs/security.md: whoever goes around the tracer sees names, and changes modes and times of files."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        found = around(
            """
client = socket.socket(socket.AF_UNIX)
found = {
    "see": outcome(os.stat, place + "/home/file"), "mode": outcome(os.chmod, place + "/home/file", 0o600),
    "times": outcome(os.utime, place + "/home/file"),
    "a socket with a name": outcome(client.connect, place + "/socket"),
    "names of processes": outcome(open, f"/proc/{outside}/cmdline"),
}
""",
            tmp_path,
        )
    assert set(found.values()) == {"done"}, found


def test_ports_are_relayed_to_the_hosts_where_they_differ(traced, eventually):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        inside = free.getsockname()[1]
    ports = (PortBinding(container_port=inside), PortBinding(container_port=7, host_port=7, host_port_end=7))
    request = traced.request(
        *("/bin/busybox", "nc", "-l", "-p", str(inside), "-e", "/bin/busybox", "echo", "hello"),
        state=True,
        networking=Networking(ports=ports),
        attach=NetworkLaunch(mode="bridge", root=str(traced.home), may_fall_back=True),
    )
    process = traced.runtime.launch(request)
    shown = traced.runtime.state(request.state_dir).network
    assert (shown.mode, bool(shown.reason)) == ("host", True)
    assert {(one.container_port, one.host_port) for one in shown.ports if one.container_port == 7} == {(7, 7)}
    outside = next(one.host_port for one in shown.ports if one.container_port == inside and ":" not in one.host_ip)
    assert outside != inside

    def answer() -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", outside), timeout=30) as client:
                return client.recv(100)
        except ConnectionResetError:
            return b""  # the program does not listen yet

    assert eventually(answer, "an answer") == b"hello\n"
    assert process.wait() == 0
    process.close()

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", outside)).close()
        except OSError:
            return True
        return False

    eventually(refused, "the end of the relay")
