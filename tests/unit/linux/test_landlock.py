"""Landlock scopes on the real kernel; each in a fresh process, since a domain cannot be left."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from contextkernel.linux import landlock

_START = """
import json, os, signal, socket, sys
from contextkernel.errors import SyscallFailed
from contextkernel.linux import landlock
from contextkernel.linux.caps import set_no_new_privs
from contextkernel.linux.libc import syscall

def outcome(function, *arguments):
    try:
        function(*arguments)
    except OSError as problem:
        return problem.strerror
    return "done"

outside = os.getppid()
set_no_new_privs()
"""

scopes = pytest.mark.skipif(not landlock.scopes_possible(), reason="this kernel has no Landlock scopes (Linux 6.12)")


def in_fresh_process(code: str, *arguments: str) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", _START + code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@scopes
def test_signals_stay_inside() -> None:
    found = in_fresh_process("""
before = outcome(os.kill, outside, 0)
landlock.restrict(landlock.SCOPE_SIGNAL)
child = os.fork()
if not child:
    signal.pause()
pidfd = os.pidfd_open(outside)
print(json.dumps({
    "before": before, "outside": outcome(os.kill, outside, 0),
    "pidfd": outcome(signal.pidfd_send_signal, pidfd, 0), "own child": outcome(os.kill, child, signal.SIGKILL),
    "memory": outcome(open, f"/proc/{outside}/mem"), "files": outcome(os.listdir, f"/proc/{outside}/fdinfo"),
    "root": outcome(os.listdir, f"/proc/{outside}/root/"),
}))
os.waitpid(child, 0)
""")
    refused, traced = "Operation not permitted", "Permission denied"
    assert found == {
        "before": "done",
        "outside": refused,
        "pidfd": refused,
        "own child": "done",
        "memory": traced,
        "files": traced,
        "root": traced,
    }


@scopes
def test_signals_of_an_owner_that_was_set_stay_inside() -> None:
    found = in_fresh_process("""
import fcntl
landlock.restrict(landlock.SCOPE_SIGNAL)
ours, theirs = socket.socketpair()
fcntl.fcntl(ours, fcntl.F_SETOWN, outside)
fcntl.fcntl(ours, 10, signal.SIGKILL)  # F_SETSIG
fcntl.fcntl(ours, fcntl.F_SETFL, fcntl.fcntl(ours, fcntl.F_GETFL) | os.O_ASYNC)
theirs.send(b"x")
print(json.dumps({"sent": "yes"}))
""")
    assert found == {"sent": "yes"}  # and this process, the parent, lives


@scopes
def test_abstract_sockets_outside_are_out_of_reach() -> None:
    import socket

    name = f"\0ck-landlock-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        found = in_fresh_process(
            """
def reach(name):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(name)
name = chr(0) + sys.argv[1]
before = outcome(reach, name)
landlock.restrict(landlock.SCOPE_ABSTRACT_UNIX_SOCKET)
own = socket.socket(socket.AF_UNIX)
own.bind(name + "-inside")
own.listen()
print(json.dumps({"before": before, "outside": outcome(reach, name), "inside": outcome(reach, name + "-inside")}))
""",
            name[1:],
        )
    assert found == {"before": "done", "outside": "Operation not permitted", "inside": "done"}


@pytest.mark.skipif(
    landlock.abi() < landlock.TRUNCATE_SINCE, reason="this kernel cannot keep files read-only (Linux 6.2)"
)
def test_files_are_open_below_what_is_named_and_nowhere_else(tmp_path) -> None:
    for name in ("read", "write", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "alone").write_text("x")
    found = in_fresh_process(
        """
place = sys.argv[1]
landlock.restrict(0, [
    (place + "/read", landlock.READ), (place + "/write", landlock.WRITE), (place + "/alone", landlock.READ),
    (place + "/none", landlock.WRITE),
])
def write(path):
    with open(path, "a") as file:
        file.write("y")
print(json.dumps({
    "read": outcome(open, place + "/read/file"), "list": outcome(os.listdir, place + "/read"),
    "change what is read": outcome(write, place + "/read/file"),
    "empty what is read": outcome(os.truncate, place + "/read/file", 0),
    "remove what is read": outcome(os.unlink, place + "/read/file"),
    "write": outcome(write, place + "/write/file"), "make": outcome(os.mkdir, place + "/write/new"),
    "move": outcome(os.rename, place + "/write/file", place + "/write/new/file"),
    "execute": outcome(os.execv, "/bin/true", ["true"]),
    "other": outcome(open, place + "/other/file"), "list other": outcome(os.listdir, place + "/other"),
    "move out": outcome(os.rename, place + "/write/new/file", place + "/other/file"),
    "a file alone": outcome(open, place + "/alone"), "change it": outcome(write, place + "/alone"),
    "see": outcome(os.stat, place + "/other/file"),
}))
""",
        str(tmp_path),
    )
    refused = "Permission denied"
    assert found == {
        "read": "done",
        "list": "done",
        "change what is read": refused,
        "empty what is read": refused,
        "remove what is read": refused,
        "write": "done",
        "make": "done",
        "move": "done",
        "execute": refused,
        "other": refused,
        "list other": refused,
        "move out": refused,
        "a file alone": "done",
        "change it": refused,
        "see": "done",
    }
    assert (tmp_path / "read/file").read_text() == "x"


def test_rights_are_asked_of_the_kernel_as_far_as_it_knows_them() -> None:
    assert landlock.handled_rights(1) == (1 << 13) - 1
    assert landlock.handled_rights(2) == (1 << 14) - 1
    assert landlock.handled_rights(4) == (1 << 15) - 1
    assert landlock.handled_rights(7) == (1 << 16) - 1
    assert not landlock.WRITE & landlock.EXECUTE


def test_no_landlock_is_said_and_has_no_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    from contextkernel.errors import SyscallFailed

    def refused(call: str, *_: object, **__: object) -> int:
        raise SyscallFailed(call, 38)

    monkeypatch.setattr(landlock, "syscall", refused)
    assert landlock.abi() == 0
    assert not landlock.scopes_possible()
    with pytest.raises(SyscallFailed):
        landlock.restrict(landlock.SCOPE_SIGNAL)
