"""What answers changes of owner is outside of the container, does nothing outside of it, and cannot be made to hang."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from contextkernel.model.container import Bind
from contextkernel.store.worker_records import Records

#: raw system calls: results are errno names, ``ok`` for success
CALLS = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True); libc.syscall.restype = ctypes.c_long
X86 = os.uname().machine == "x86_64"
NUMBERS = {"fchown": 93, "fchownat": 260, "mknodat": 259} if X86 else {"fchown": 55, "fchownat": 54, "mknodat": 33}
CWD, EMPTY, NOFOLLOW = -100, 0x1000, 0x100
def call(name, *words):
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    done = libc.syscall(ctypes.c_long(NUMBERS[name]), *words)
    return "ok" if done == 0 else errno.errorcode[ctypes.get_errno()]
"""


@pytest.fixture
def inside(python, box, monkeypatch):
    """Runs code with :data:`CALLS` where one id is mapped, and gives its output and its upper directory."""
    made: list[str] = []
    plain = box.request

    def remember(*argv, **changes):
        request = plain(*argv, **changes)
        made.append(request.upper)
        return request

    monkeypatch.setattr(box, "request", remember)

    def run(code: str, **changes: object) -> tuple[list[str], Path]:
        done = python(CALLS + code, fake_ids=True, **changes)
        assert done.code == 0, done
        return done.out.split(), Path(made[-1])

    return run


def noted(upper: Path) -> dict[str, tuple[int | None, int | None]]:
    """All that is noted in an upper directory."""
    return {path: tuple(owner) for path, owner in Records(str(upper.parent)).all(str(upper)) if any(owner)}


def test_errors_of_raw_calls(inside):
    out, upper = inside("""
open("/f", "w").close()
print(call("fchownat", CWD, None, 1, 1, 0), call("fchownat", CWD, 1, 1, 1, 0), call("fchownat", CWD, -1, 1, 1, 0))
print(call("fchownat", CWD, b"", 1, 1, 0), call("fchownat", 99, b"f", 1, 1, 0), call("fchown", 99, 1, 1))
print(call("fchownat", CWD, b"x" * 5000, 1, 1, 0), call("fchownat", CWD, b"y" * 300, 1, 1, 0))
print(call("fchownat", CWD, b"/f", 1, 1, 0x8000), call("fchown", -1, 1, 1), call("fchownat", 99, b"/f", 7, -1, 0))
print(call("mknodat", CWD, b"/", 0o20644, 259), call("mknodat", CWD, b"/f", 0o20644, 259))
print(call("mknodat", CWD, b"/new/", 0o20644, 259), call("mknodat", CWD, b"", 0o20644, 259))
page = ctypes.create_string_buffer(8192)
print(call("fchownat", os.open("/f", os.O_RDONLY), b"x", 1, 1, 0))
""")
    assert out == [
        *("EFAULT", "EFAULT", "EFAULT"),
        *("ENOENT", "EBADF", "EBADF"),
        *("ENAMETOOLONG", "ENAMETOOLONG"),
        *("EINVAL", "EBADF", "ok"),
        *("EEXIST", "EEXIST"),
        *("ENOENT", "ENOENT"),
        "ENOTDIR",
    ]
    assert noted(upper) == {"f": (7, None)}


def test_names_mean_what_they_mean_to_the_caller(inside):
    """By descriptor, relative, by links, with another root directory, of files that have no name any more."""
    out, upper = inside("""
os.makedirs("/a/b"); open("/a/b/f", "w").close(); open("/a/g", "w").close(); os.symlink("/a/g", "/a/b/abs")
os.symlink("../g", "/a/b/rel"); os.makedirs("/jail/a"); open("/jail/a/g", "w").close()
os.symlink("/a/g", "/jail/abs"); os.symlink("../../../../a/g", "/jail/up")
b = os.open("/a/b", os.O_PATH)
print(call("fchownat", b, b"f", 1, 1, 0), call("fchownat", b, b"", 2, 2, EMPTY))
os.chdir("/a/b")
print(call("fchownat", CWD, b"rel", 3, -1, 0), call("fchownat", CWD, b"abs", -1, 4, 0))
print(call("fchownat", CWD, b"abs", 5, 5, NOFOLLOW), call("fchownat", CWD, b"../../../../../a", 6, 6, 0))
gone = os.open("gone", os.O_CREAT | os.O_RDWR); os.unlink("gone")
print(call("fchown", gone, 9, 9), call("fchownat", gone, b"", 9, 9, EMPTY))
os.chroot("/jail")
print(call("fchownat", CWD, b"/abs", 11, 11, 0), call("fchownat", CWD, b"f", 12, 12, 0))
os.chdir("/")
print(call("fchownat", CWD, b"up", 13, -1, 0), call("fchownat", CWD, b"../../jail", 1, 1, 0))
""")
    assert out == ["ok"] * 11 + ["ENOENT"]
    assert noted(upper) == {
        "a/b/f": (12, 12),
        "a/b": (2, 2),
        "a/g": (3, 4),
        "a/b/abs": (5, 5),
        "a": (6, 6),
        "jail/a/g": (13, 11),
    }


def test_attack_ways_out_of_the_container(inside, tmp_path):
    """Nothing of the host is touched, whatever leads there: files of the host that are seen, links, /proc, ``..``."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o777)
    theirs.chmod(0o777)
    canary = theirs / "canary"
    canary.write_text("x")
    canary.chmod(0o4755)
    (theirs / "link").symlink_to(canary)
    before = canary.stat()
    out, upper = inside(
        f"""
os.symlink("{canary}", "/out"); os.symlink("/proc/self/root/../../..{canary}", "/out2")
os.symlink("/proc/1/root{canary}", "/out3"); os.symlink("/v/link", "/out4")
d = os.open("/v", os.O_PATH)
for path in (b"/out", b"/out2", b"/out3", b"/out4", b"/v/canary", b"/v/link", b"/proc/self/root/v/canary",
             b"/proc/self/cwd/v/canary", b"/v/../../../../../..{canary}", b"/proc/self/../../../..{canary}",
             b"/proc/self/fd/%d/canary" % d, b"/proc/self/exe", b"/proc/self/task/../../1/root/etc/passwd"):
    call("fchownat", CWD, path, 4321, 4321, 0)
call("fchownat", d, b"canary", 4321, 4321, 0); call("fchownat", d, b"../../../..{canary}", 4321, 4321, 0)
call("mknodat", d, b"made", 0o20644, 259); call("mknodat", CWD, b"/proc/self/cwd/v/made", 0o20644, 259)
print("done")
""",
        binds=(Bind(str(theirs), "/v"),),
    )
    assert out == ["done"]
    after = canary.stat()
    assert (after.st_uid, after.st_gid, after.st_mode, after.st_ctime_ns) == (
        before.st_uid, before.st_gid, before.st_mode, before.st_ctime_ns,
    )  # fmt: skip
    assert sorted(os.listdir(theirs)) == ["canary", "link"]
    for path in (theirs, canary, Path("/usr/bin/python3").resolve(), Path("/etc/passwd")):
        assert not [name for name in os.listxattr(path) if "contextkernel" in name]
    assert not [owner for owner in noted(upper).values() if owner == (4321, 4321)]


def test_attack_a_name_that_changes_while_it_is_looked_at(inside, tmp_path):
    """The name, and what is at it, change all the time: a file inside, a file of the host, nothing."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "canary").touch()
    out, upper = inside(
        """
import threading
open("/f", "w").close(); os.symlink("/f", "/a")
name = ctypes.create_string_buffer(b"/f", 64)
stop = False
def flip():
    while not stop:
        name.value = b"/v/canary"; name.value = b"/f"; name.value = b"x" * 60
        os.symlink("/v/canary", "/b"); os.rename("/b", "/a"); os.symlink("/f", "/b"); os.rename("/b", "/a")
thread = threading.Thread(target=flip); thread.start()
for turn in range(300):
    call("fchownat", CWD, name, 4321, 4321, 0); call("fchownat", CWD, b"/a", 4321, 4321, 0)
stop = True; thread.join()
print("done")
""",
        binds=(Bind(str(theirs), "/v"),),
    )
    assert out == ["done"]
    assert not [name for name in os.listxattr(theirs / "canary") if "contextkernel" in name]
    assert set(noted(upper)) <= {"f"}


def test_attack_arguments_without_sense(inside):
    """Random words as arguments: every call has an answer, and the last one is the right one."""
    out, upper = inside("""
import random
random.seed(7)
open("/f", "w").close(); os.mkdir("/d")
odd = [0, 1, 2, 3, 4095, 4096, 1 << 31, 1 << 32, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, CWD & (1 << 64) - 1]
names = [b"", b"/", b".", b"..", b"/f", b"/f/", b"/d/../f", b"a" * 255, b"/" * 4000, b"/proc/self/fd/1", b"/dev/fd/x",
         b"/proc/self/fd", b"/proc/thread-self/root/f", b"/proc/self/ns/mnt", bytes(range(1, 256)),
         b"/proc/self/map_files/x"]
def word():
    return random.choice((random.choice(odd), random.getrandbits(64), random.getrandbits(16)))
for turn in range(1500):
    words = [word() for _ in range(5)]
    if random.random() < 0.7:
        words[1] = random.choice(names)
    name = random.choice(("fchown", "fchownat", "mknodat"))
    if name == "mknodat":
        words[2] = random.choice((0o20644, 0o60644, 0o27777))
    libc.syscall(ctypes.c_long(NUMBERS[name]),
                 *[ctypes.c_ulong(one) if isinstance(one, int) else ctypes.c_char_p(one) for one in words])
print(call("fchownat", CWD, b"/f", 5, 6, 0))
""")
    assert out == ["ok"]
    assert noted(upper)["f"] == (5, 6)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="a program for i386")
def test_programs_of_32_bits(inside):
    """Ids of 16 bits, where all bits mean "as it is", and of 32."""
    out, upper = inside("""
import struct, subprocess
def program(number, uid, gid):
    code = b"\\xb8%s\\xbb%s\\xb9%s\\xba%s\\xcd\\x80\\x89\\xc3\\xf7\\xdb\\xb8\\x01\\0\\0\\0\\xcd\\x80" % tuple(
        struct.pack("<I", one) for one in (number, 0x8049000, uid, gid))
    text = b"/f\\0"
    magic = b"\\x7fELF\\1\\1\\1" + bytes(9)
    head = struct.pack("<16sHHIIIIIHHHHHH", magic, 2, 3, 1, 0x8049010, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    body = text.ljust(16, b"\\0") + code
    load = struct.pack("<IIIIIIII", 1, 4096, 0x8049000, 0x8049000, len(body), len(body), 5, 4096)
    with open("/p", "wb") as out:
        out.write((head + load).ljust(4096, b"\\0") + body)
    os.chmod("/p", 0o755)
    try:
        return str(subprocess.run(["/p"]).returncode)
    except OSError:
        return "none"
open("/f", "w").close()
print(program(212, 70000, 6), program(182, 0xFFFF, 7), program(182, 0xFFFF, 0xFFFF))
""")
    if "none" in out:
        pytest.skip("this kernel runs no programs of 32 bits")
    assert out == ["0", "0", "0"]
    assert noted(upper) == {"f": (70000, 7)}


def recorder_of(monitor_of: int) -> int:
    """The process that answers for a container whose init has this pid: it has the same root directory."""
    root = os.stat(f"/proc/{monitor_of}/root")
    for entry in list(Path("/proc").glob("[0-9]*")):
        try:
            if (entry / "comm").read_text().strip() == "ck-recorder" and os.path.samestat(
                os.stat(entry / "root"), root
            ):
                return int(entry.name)
        except OSError:
            continue
    return 0


@pytest.mark.root
def test_when_the_answering_process_dies_nobody_waits(box, eventually):
    """Calls fail, the container goes on, and ends when it is told to."""
    request = box.request(
        "sh", "-c", "touch /f; until test -e /go; do sleep 0.1; done; chown 1 /f || touch /refused; sleep 100",
        state=True, fake_ids=True,
    )  # fmt: skip
    process = box.runtime.launch(request)
    try:
        upper = Path(request.upper)
        eventually((upper / "f").exists, "the start")
        found = recorder_of(process.pid)
        assert found
        os.kill(found, signal.SIGKILL)
        eventually(lambda: recorder_of(process.pid) == 0, "its end")
        (Path(f"/proc/{process.pid}/root") / "go").touch()
        eventually((upper / "refused").exists, "the refusal")
        assert process.wait(0) is None
    finally:
        process.signal(signal.SIGKILL)
        assert process.wait() == 137
        process.close()


def test_attack_a_container_that_asks_without_end(box):
    """Its monitor answers meanwhile, and ends it."""
    loop = "touch /f; for i in 1 2 3 4; do (while :; do chown 1 /f /f /f /f /f /f /f /f; done) & done; wait"
    request = box.request("sh", "-c", loop, state=True, fake_ids=True)
    process = box.runtime.launch(request)
    try:
        for _ in range(3):
            assert len(process.processes()) >= 1
            time.sleep(0.1)
    finally:
        process.signal(signal.SIGKILL)
        assert process.wait() == 137
        process.close()


@pytest.mark.root
def test_the_answering_process_ends_with_the_container(box, eventually):
    process = box.runtime.launch(box.request("sleep", "100", state=True, fake_ids=True))
    found = eventually(lambda: recorder_of(process.pid), "its start")
    process.signal(signal.SIGKILL)
    assert process.wait() == 137
    process.close()
    eventually(lambda: not os.path.exists(f"/proc/{found}"), "its end")
