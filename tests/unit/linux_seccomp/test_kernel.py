"""The real kernel under our filters; each in a fresh process, since a filter cannot be taken off."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

import pytest

from contextkernel.linux.caps import DEFAULT_CAPABILITIES, from_mask, read_capabilities, read_status

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="needs Linux on x86-64 or ARM"
)

_START = """
import ctypes, errno, json, os, socket, sys
from contextkernel.linux import caps, seccomp
from contextkernel.linux import seccomp_policy as policies
from contextkernel.linux.syscall_table import syscall_numbers
libc = ctypes.CDLL(None, use_errno=True); libc.syscall.restype = ctypes.c_long
numbers = syscall_numbers(os.uname().machine)
def call(name, *arguments):
    words = (ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    result = libc.syscall(ctypes.c_long(numbers[name]), *words)
    return 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()]
caps.set_no_new_privs()
"""


def in_fresh_process(code: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", _START + code], capture_output=True, text=True, env=environment, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_default_filter_refuses_what_docker_refuses() -> None:
    found = in_fresh_process("""
seccomp.install_filter(seccomp.default_filter(caps.DEFAULT_CAPABILITIES))
stack = ctypes.create_string_buffer(16)
print(json.dumps({
    "unshare": call("unshare", 0x10000000), "mount": call("mount", b"x", b"/", b"tmpfs", 0, None),
    "keyctl": call("keyctl", 0, -3, 1), "bpf": call("bpf", 0, 0, 0), "setns": call("setns", 0, 0),
    "personality": call("personality", 0x0040000), "personality_ask": call("personality", 0xFFFFFFFF),
    "clone_user": call("clone", 0x10000000 | 17, 0, 0, 0, 0), "clone3": call("clone3", stack, 0),
    "unknown": call("getpid") and libc.syscall(ctypes.c_long(2000)) and errno.errorcode[ctypes.get_errno()],
    "vsock": call("socket", 40, 1, 0), "vsock_high": call("socket", (1 << 32) | 40, 1, 0),
    "unix": call("socket", 1, 1, 0),
    "mode": caps.read_status()["Seccomp"],
}))
""")
    assert found == {
        **dict.fromkeys(
            ("unshare", "mount", "keyctl", "bpf", "setns", "personality", "clone_user", "vsock", "vsock_high"), "EPERM"
        ),
        **dict.fromkeys(("clone3", "unknown"), "ENOSYS"),
        **dict.fromkeys(("personality_ask", "unix"), "ok"),
        "mode": "2",
    }


def test_ordinary_programs_run_under_both_filters() -> None:
    found = in_fresh_process("""
seccomp.install_filter(seccomp.default_filter(caps.DEFAULT_CAPABILITIES))
seccomp.install_filter(seccomp.fixed_filter(policies.FAKE_IDS_POLICY))
import subprocess, threading
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
shell = subprocess.run(["/bin/sh", "-c", "ls / | sort | head -3 >/dev/null; echo $((6*7))"],
                       capture_output=True, text=True)
python = subprocess.run([sys.executable, "-c", "import tempfile; print(len(tempfile.TemporaryDirectory().name) > 3)"],
                        capture_output=True, text=True)
print(json.dumps([shell.stdout, shell.returncode, python.stdout, python.stderr]))
""")
    assert found == ["42\n", 0, "True\n", ""]


def test_fake_ids_filter_answers_with_success_and_does_nothing() -> None:
    found = in_fresh_process("""
import tempfile
folder = tempfile.mkdtemp()
os.chdir(folder)
open("f", "w").close()
before, me = os.stat("f"), (os.getuid(), os.getgid())
seccomp.install_filter(seccomp.fixed_filter(policies.FAKE_IDS_POLICY))
os.chown("f", 33, 33); os.lchown("f", 33, 33); os.setgroups([1, 2]); os.setresuid(33, 33, 33); os.setgid(33)
os.mknod("device", 0o020644, os.makedev(1, 3)); os.mknod("block", 0o060644, 5)
os.mkfifo("fifo"); os.mknod("plain", 0o100644)
after = os.stat("f")
names = sorted(os.listdir("."))
for name in names: os.unlink(name)
os.rmdir(folder)
print(json.dumps([after.st_uid == before.st_uid, (os.getuid(), os.getgid()) == me, names]))
""")
    assert found == [True, True, ["f", "fifo", "plain"]]


def test_calls_are_handed_to_whoever_listens_and_its_answer_is_the_result() -> None:
    found = in_fresh_process("""
from contextkernel.linux import seccomp_notify
listener = seccomp_notify.install_listener(seccomp.fixed_filter(policies.RECORDED_IDS_POLICY))
heard = []
if os.fork() == 0:
    out = [call("fchownat", -100, b"/nothing", *ids, 0) for ids in ((5, 6), (7, -1))] + [call("setuid", 7)]
    os._exit(0 if out == ["ok", "EDQUOT", "ok"] else 1)
for number in (0, errno.EDQUOT):
    caller = seccomp_notify.receive(listener)
    name = seccomp.recorded_calls()[caller.audit, caller.number].name
    heard.append([name, *(one & 0xFFFFFFFF for one in caller.arguments[2:4])])
    assert seccomp_notify.is_valid(listener, caller)
    seccomp_notify.answer(listener, caller, number)
assert not seccomp_notify.is_valid(listener, caller)
seccomp_notify.answer(listener, caller, 0)  # it has gone on: no error
os.close(listener)
print(json.dumps([heard, os.wait()[1], call("fchownat", -100, b"/nothing", 5, 6, 0)]))
""")
    assert found == [[["fchownat", 5, 6], ["fchownat", 7, 0xFFFFFFFF]], 0, "ENOSYS"]


def test_where_somebody_listens_already_the_filter_answers_by_itself() -> None:
    found = in_fresh_process("""
from contextkernel.linux import seccomp_notify
from contextkernel.runtime import answering, messages
ours, theirs = socket.socketpair()
answering.install_fake_ids(theirs.fileno(), noted=True)
answering.install_fake_ids(theirs.fileno(), noted=True)
theirs.close()
decoder = messages.Decoder(messages.FromChild, "test", "child")
told = [decoder.receive(ours) for _ in range(2)]
for _, descriptors in told:
    for one in descriptors:
        os.close(one)
print(json.dumps([[message.problem, len(descriptors)] for message, descriptors in told]
                 + [call("fchownat", -100, b"/nothing", 5, 6, 0)]))
""")
    assert found[0] == ["", 2]
    assert "EBUSY" in found[1][0] or "busy" in found[1][0]
    assert found[1][1] == 0
    assert found[2] == "ok"


def test_strictest_filter_wins() -> None:
    found = in_fresh_process("""
seccomp.install_filter(seccomp.fixed_filter(policies.FAKE_IDS_POLICY))
seccomp.install_filter(seccomp.default_filter(frozenset()))
print(json.dumps([call("mount", b"x", b"/", b"tmpfs", 0, None),
                  call("chown", b"/", 1, 1) if "chown" in numbers else "ok"]))
""")
    assert found == ["EPERM", "ok"]


def test_refused_program_is_a_typed_error_with_a_hint() -> None:
    found = in_fresh_process("""
from contextkernel.errors import SyscallFailed
try:
    seccomp.install_filter(b"\\0" * 8)
except SyscallFailed as problem:
    print(json.dumps([problem.call, problem.number, bool(problem.hint)]))
""")
    assert found == ["seccomp", 22, True]


def test_no_new_privs_stays() -> None:
    assert in_fresh_process("print(json.dumps([caps.no_new_privs(), caps.read_status()['NoNewPrivs']]))") == [True, "1"]


def test_reading_capabilities_agrees_with_proc() -> None:
    status = read_status()
    sets = read_capabilities()
    assert sets.effective == from_mask(int(status["CapEff"], 16))
    assert sets.effective <= sets.permitted


@pytest.mark.root
@pytest.mark.parametrize("uid", [0, 1234])
def test_container_child_has_exactly_dockers_capabilities(uid: int) -> None:
    found = in_fresh_process(f"""
uid = {uid}
caps.limit_bounding(caps.DEFAULT_CAPABILITIES)
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
caps.apply_capabilities(caps.for_user(caps.DEFAULT_CAPABILITIES, uid))
seccomp.install_filter(seccomp.default_filter(caps.DEFAULT_CAPABILITIES))
import subprocess
print(json.dumps(subprocess.run(["grep", "^Cap", "/proc/self/status"], capture_output=True, text=True).stdout.split()))
""")
    sets = dict(zip(found[::2], found[1::2], strict=True))
    own = "00000000a80425fb" if uid == 0 else "0000000000000000"  # what docker run shows
    assert sets == {
        "CapInh:": "0000000000000000",
        "CapPrm:": own,
        "CapEff:": own,
        "CapBnd:": "00000000a80425fb",
        "CapAmb:": "0000000000000000",
    }
    assert from_mask(0xA80425FB) == DEFAULT_CAPABILITIES
