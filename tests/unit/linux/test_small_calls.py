"""Descriptors, trees, process descriptors, attributes, signals, errno."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys

import pytest

from contextkernel.errors import HostUnsupported, SyscallFailed
from contextkernel.linux import libc, pidfd, xattr
from contextkernel.linux.descriptors import own_nonblocking
from contextkernel.linux.tree import remove_tree


def in_child(code: str) -> str:
    """Standard output of a fresh interpreter: for what changes the whole process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_check():
    assert libc.check(3, "call") == 3
    ctypes.set_errno(errno.EACCES)
    with pytest.raises(SyscallFailed) as caught:
        libc.check(-1, "call", "/path", "hint")
    assert caught.value.problem == "call /path: permission denied (errno 13)"
    assert caught.value.hint == "hint"


def test_system_call_numbers(monkeypatch):
    assert libc.number("openat2") == 437
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "h", "6", "v", "x86_64")))
    assert libc.number("pivot_root") == 155
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "h", "6", "v", "aarch64")))
    assert libc.number("pivot_root") == 41
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "h", "6", "v", "vax")))
    with pytest.raises(HostUnsupported, match="'vax'"):
        libc.number("pivot_root")


def test_failed_system_call():
    with pytest.raises(SyscallFailed, match="pidfd_open: invalid argument"):
        libc.syscall("pidfd_open", 0, 0)


def test_close_from_and_all_but():
    code = """
import os
from contextkernel.linux.descriptors import close_all_but, close_from, null_standard_streams
def opened(): return [number for number in sorted(map(int, os.listdir("/proc/self/fd"))) if is_open(number)]
def is_open(number):
    try: return bool(os.fstat(number))
    except OSError: return False
for _ in range(20): os.dup(1)
close_all_but(9)
print(opened())
close_from(3)
print(opened())
out = os.dup(1)
null_standard_streams()
os.write(out, repr([os.readlink(f"/proc/self/fd/{n}") for n in range(3)]).encode())
"""
    assert in_child(code) == "[0, 1, 2, 9]\n[0, 1, 2]\n['/dev/null', '/dev/null', '/dev/null']"


def test_own_nonblocking_leaves_the_other_alone(tmp_path):
    read, write = os.pipe()
    twin = own_nonblocking(os.dup(write))
    assert os.get_blocking(write)
    assert not os.get_blocking(twin)
    os.write(twin, b"x")
    assert os.read(read, 1) == b"x"
    for descriptor in (read, write, twin):
        os.close(descriptor)
    file = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    assert own_nonblocking(file) == file
    os.close(file)


def test_remove_tree(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "f").touch()
    (tree / "link").symlink_to(tmp_path / "outside")
    (tree / "closed").mkdir()
    (tree / "closed" / "f").touch()
    (tree / "closed").chmod(0)
    remove_tree(str(tree))
    remove_tree(str(tree))
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert os.listdir(tmp_path / "outside") == ["kept"]
    remove_tree(str(tmp_path / "outside" / "kept"))
    assert os.listdir(tmp_path / "outside") == []


def test_remove_tree_takes_a_link_and_not_its_target(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    remove_tree(str(tmp_path / "link"))
    assert os.listdir(tmp_path) == ["target"]


def test_process_descriptor():
    with subprocess.Popen(["sleep", "1000"]) as process:
        handle = pidfd.open_pid(process.pid)
        assert handle is not None
        assert pidfd.start_time(process.pid) > 0
        assert pidfd.send(handle, signal.SIGKILL)
        assert process.wait() == -9
        assert not pidfd.send(handle, signal.SIGKILL)
        os.close(handle)
    assert pidfd.open_pid(process.pid) is None
    assert pidfd.start_time(process.pid) == 0


def test_start_time_of_a_process_with_an_odd_name(tmp_path):
    program = tmp_path / "a) (b"
    program.symlink_to(sys.executable)
    code = (
        "import os; from contextkernel.linux.pidfd import start_time as s; print(s(os.getpid()) >= s(os.getppid()) > 0)"
    )
    assert in_child(f"import ctypes; ctypes.CDLL(None).prctl(15, b'x) y (z', 0, 0, 0); {code}") == "True\n"


def test_attributes_of_a_layer(tmp_path):
    file = tmp_path / "f"
    file.touch()
    os.setxattr(file, "user.mine", b"1")
    os.setxattr(file, "user.overlay.opaque", b"y")
    assert xattr.content(str(file)) == {"user.mine": b"1"}
    assert xattr.is_opaque(str(file))
    assert xattr.get(str(file), "user.none") is None
    (tmp_path / "link").symlink_to("f")
    assert xattr.content(str(tmp_path / "link")) == {}
    assert not xattr.is_opaque(str(tmp_path))


def test_signals_are_reset():
    code = """
import signal
from contextkernel.linux.signals import reset_signals
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
reset_signals()
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn", "SigCgt"))])
"""
    zero = "0" * 16
    assert in_child(code) == f"{[zero] * 3}\n"
