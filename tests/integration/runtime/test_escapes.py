"""Escapes of record, tried from inside: each was a way out of some engine once, or is what exploits begin with.

More of them are beside what they are about: test_containers.py (devices, interpreters, descriptors, working
directories), test_security.py (signals, abstract sockets), test_exec.py (looking into who enters).
"""

from __future__ import annotations

import ctypes
import os
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from contextkernel.errors import ContextKernelError, InvalidInput, LaunchFailed
from contextkernel.model.container import Bind, ExecRequest
from contextkernel.model.security import Join, Security

#: what the programs inside have in common: a system call by its name, and the name of what went wrong
CALLS = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *words):
    result = getattr(libc, name)(*words)
    return errno.errorcode[ctypes.get_errno()] if result < 0 else "done"
"""
X86_64 = os.uname().machine == "x86_64"
KEYCTL, ADD_KEY, REQUEST_KEY = (250, 248, 249) if X86_64 else (219, 217, 218)
OPEN_BY_HANDLE = 304 if X86_64 else 265


def test_attack_open_by_handle(python):
    """Shocker (2014): a file handle is not looked up in the container's root, so it reaches every file of the disk."""
    done = python(
        CALLS
        + f"""
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("inode", ctypes.c_uint64)]
root = os.open("/etc/hosts", os.O_RDONLY)
print(call("syscall", {OPEN_BY_HANDLE}, root, ctypes.byref(Handle(8, 1, 2)), 0))
"""
    )
    assert done.out == "EPERM\n"


def test_attack_keyrings(python):
    """Keys belong to a user id, not to a container: the policy has no keyring calls, and the session is its own."""
    attempt = f"""
print(call("syscall", {KEYCTL}, 0, -4, 0))
print(call("syscall", {ADD_KEY}, b"user", b"x", b"y", 1, -4))
print(call("syscall", {REQUEST_KEY}, b"user", b"x", None, 0))
"""
    assert python(CALLS + attempt).out.split() == ["EPERM"] * 3
    session = python(CALLS + f"print(libc.syscall({KEYCTL}, 0, -3, 0))", security=Security(seccomp="unconfined"))
    assert int(session.out) != ctypes.CDLL(None).syscall(KEYCTL, 0, -3, 0)


def test_attack_new_user_namespace(python):
    """With one of its own a program would have every capability again, and the kernel's rarely used paths in reach."""
    done = python(CALLS + "print(call('unshare', 0x10000000)); print(call('unshare', 0x00020000))")
    assert done.out.split() == ["EPERM", "EPERM"]


def test_attack_release_agent(box, python):
    """CVE-2022-0492: a control group's release agent is run by the host's kernel, as root, outside."""
    found = box.run("sh", "-c", "find /sys -name release_agent | while read f; do echo /x >$f && echo written; done")
    assert "written" not in found.out
    mount = "print(call('mount', b'cgroup', b'/mnt', b'cgroup', 0, b'rdma'))"
    assert python("import os; os.mkdir('/mnt')\n" + CALLS + mount).out == "EPERM\n"
    for path in Path("/sys/fs/cgroup").glob("*/release_agent"):
        assert path.read_text() != "/x\n"


def test_attack_core_pattern(box, python):
    """The pattern may be a program, which the kernel runs on the host when something crashes."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    for path in ("/proc/sys/kernel/core_pattern", "/proc/1/root/proc/sys/kernel/core_pattern"):
        assert box.run("sh", "-c", f"echo '|/x' >{path}").code != 0
    # a /proc of one's own would not be protected
    remount = "print(call('mount', b'proc', b'/mnt', b'proc', 0, None))"
    assert python("import os; os.mkdir('/mnt')\n" + CALLS + remount).out == "EPERM\n"
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_attack_tracing_the_hosts_processes(python):
    """Sharing the host's processes is not permission to change them."""
    here = os.getpid()
    seize = "call('ptrace', 0x4206, target, 0, 0)"
    code = f"""
target = {here}
print({seize})
try:
    open(f"/proc/{{target}}/mem", "rb")
except OSError as problem:
    print(errno.errorcode[problem.errno])
try:
    os.listdir(f"/proc/{{target}}/root/")
except OSError as problem:
    print(errno.errorcode[problem.errno])
"""
    done = python(CALLS + code, security=Security(pid="host"))
    assert done.out.split() == ["EPERM", "EACCES", "EACCES"]


@pytest.mark.may_skip
def test_attack_a_device_in_the_image(box):
    """An image, or a volume, may bring a node of the host's disk or memory."""
    if not box.idmap.identity:
        pytest.skip("only root can make the node that this is about; see test_devices_made_inside_cannot_be_opened")
    request = box.request("sh", "-c", "head -c1 /mem; head -c1 /v/mem", binds=(Bind(str(box.home), "/v"),))
    for place in (Path(request.upper, "mem"), box.home / "mem"):
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # zero: harmless, and it would answer
    done = box.execute(request)
    assert done.out == ""
    assert done.err.count("Permission denied") == 2


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_attack_an_image_with_a_link_in_place_of_a_mount_point(box, name, tmp_path):
    """CVE-2019-16884, CVE-2019-19921: what is mounted there ends up elsewhere, and the masks with it."""
    (tmp_path / "outside").mkdir()
    for link in ("/", ".", "tmp", f"../../../../../../..{tmp_path}/outside", "/proc/self/root"):
        request = box.request("true")
        Path(request.upper, name).symlink_to(link)
        with pytest.raises(LaunchFailed, match=f"the image's /{name} is not a directory"):
            box.execute(request)
    assert os.listdir(tmp_path / "outside") == []


def test_attack_a_volume_over_proc(box, tmp_path):
    """CVE-2019-16884: with a /proc of the image's making, nothing that is written there is what it seems."""
    for target in ("/proc", "/proc/sys", "/./proc/../proc", "/link", "/link/self"):
        request = box.request("true", binds=(Bind(str(tmp_path), target),))
        Path(request.upper, "link").symlink_to("proc")
        with pytest.raises((InvalidInput, LaunchFailed)):
            box.execute(request)


def test_attack_something_else_in_the_place_of_the_null_device(box, tmp_path):
    """CVE-2025-31133: paths are masked with /dev/null, which must be what it is called."""
    (tmp_path / "null").write_text("not null\n")
    for source in (tmp_path / "null", Path("/dev/zero")):
        with pytest.raises(LaunchFailed, match="is not the null device"):
            box.run("true", binds=(Bind(str(source), "/dev/null"),))


def test_attack_swapping_a_directory_for_a_link_while_it_is_mounted(box, tmp_path):
    """CVE-2021-30465: between the check of a mount's target and the mount, another container makes it a link."""
    shared, outside, source = (tmp_path / name for name in ("shared", "outside", "source"))
    for folder in (shared, outside, source):
        folder.mkdir()
    (outside / "marker").write_text("the host's\n")
    (shared / "real").mkdir()
    (shared / "link").symlink_to(f"../../../../../../../../../../..{outside}")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for name in ("real", "link"):
                try:
                    os.rename(shared / name, shared / "target")
                    os.rename(shared / "target", shared / name)
                except OSError:
                    continue

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(25):
            try:
                done = box.run(
                    *("sh", "-c", f"cat {outside}/marker /v/target/marker"),
                    binds=(Bind(str(shared), "/v"), Bind(str(source), "/v/target/deep")),
                )
            except ContextKernelError:
                continue  # the target was gone for a moment
            assert "the host's" not in done.out
    finally:
        stop.set()
        swapping.join()
    assert os.listdir(outside) == ["marker"]


def test_attack_mounts_do_not_come_back_to_the_host(box, tmp_path):
    """What a container mounts on a shared folder, even a privileged one, is seen by it alone."""
    done = box.run(
        *("sh", "-c", "mkdir /v/m && mount -t tmpfs none /v/m && echo >/v/m/f && ls /v/m"),
        binds=(Bind(str(tmp_path), "/v"),),
        security=Security(privileged=True),
    )
    assert done.out == "f\n"
    assert os.listdir(tmp_path / "m") == []


def test_attack_a_set_user_id_program_for_the_host(box, tmp_path):
    """Left in a shared folder by the container's root; the host's root it is only where the engine is."""
    box.sh(
        "cp /bin/busybox /v/suid 2>/dev/null || cat /bin/busybox >/v/suid; chmod 4755 /v/suid",
        binds=(Bind(str(tmp_path), "/v"),),
    )
    made = (tmp_path / "suid").stat()
    assert made.st_mode & stat.S_ISUID
    assert made.st_uid == os.geteuid()


@pytest.fixture
def running(box):
    """Starts a shell script that says ``up``; its state directory, and where its writable files are."""
    processes = []

    def begin(script: str, **changes: object) -> tuple[str, Path]:
        read, write = os.pipe()
        request = box.request("sh", "-c", script, state=True, **changes)
        process = box.runtime.launch(request, stdout=write)
        processes.append(process)
        os.close(write)
        with os.fdopen(read, "rb") as output:
            assert output.readline() == b"up\n"
        return request.state_dir, Path(request.upper)

    yield begin
    for process in processes:
        process.signal(9, ends=True)
        process.wait()
        process.close()


WAIT = "echo up; while :; do sleep 0.05; done"


def enter(box, state_dir: str, *argv: str, **changes: object) -> int | None:
    """Exit code of a program that is executed in a running container."""
    null = os.open("/dev/null", os.O_RDWR)
    try:
        wanted = ExecRequest(**{"argv": argv, "env": ("PATH=/bin",), **changes})
        process = box.runtime.execute(state_dir, wanted, stdin=null, stdout=null, stderr=null)
    finally:
        os.close(null)
    code = process.wait()
    process.close()
    return code


def test_attack_a_program_that_lies_in_wait_for_exec(box, running):
    """CVE-2019-5736: what is executed on entering is a script whose interpreter is the entering program itself."""
    state_dir, upper = running(
        "printf '#!/proc/self/exe\\n' >/bin/trap; printf '#!/proc/1/exe -c exit 7\\n' >/bin/other;"
        " busybox chmod 755 /bin/trap /bin/other; " + WAIT
    )
    assert (upper / "bin" / "trap").exists()
    with pytest.raises(ContextKernelError, match="leads out of the container"):
        enter(box, state_dir, "trap")


@pytest.mark.parametrize("directory", ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/cwd", "/proc/1/root"])
def test_attack_entering_by_way_of_a_leaked_directory(box, running, directory):
    """CVE-2024-21626: a descriptor of the host's was open while the working directory was looked up."""
    state_dir, _ = running(WAIT)
    with pytest.raises(ContextKernelError):
        enter(box, state_dir, "true", working_dir=directory)


def test_attack_user_files_that_are_no_files(box, running):
    """Whoever enters as a user reads /etc/passwd of the container: it must not wait, and not follow to the host's."""
    state_dir, _ = running(
        "rm /etc/passwd /etc/group; busybox mkfifo /etc/passwd; ln -s /proc/1/fd/0 /etc/group; " + WAIT
    )
    with pytest.raises(ContextKernelError, match="unable to find user bob"):
        enter(box, state_dir, "true", user="bob")
    assert enter(box, state_dir, "true") == 0


def test_attack_looking_into_who_is_born_in_a_shared_pid_namespace(box, running):
    """As for exec: until it executes its program, the first process of a container is the engine."""
    spy = """
    echo up
    while :; do
      for p in /proc/[0-9]*; do
        e=$(readlink $p/exe 2>/dev/null)
        case "$e" in *python*) echo "$e" >>/seen; ls -l $p/fd >>/seen 2>&1;; esac
      done
    done"""
    state_dir, upper = running(spy)
    pid = box.runtime.state(state_dir).pid
    for _ in range(10):
        request = box.request("true", user="bob" if not box.single else "", security=Security(pid="container:x"))
        assert box.execute(msgspec.structs.replace(request, joins=(Join("pid", pid),))).code == 0
    assert not (upper / "seen").exists()


def test_who_enters_is_in_the_namespaces_that_were_joined(box, running):
    """A program that is executed in a container is where its first process is, also in what belongs to another one."""
    state_dir, _ = running(WAIT, security=Security(ipc="shareable"))
    pid = box.runtime.state(state_dir).pid
    other, upper = running(
        WAIT, security=Security(ipc="container:x", pid="container:x"), joins=(Join("pid", pid), Join("ipc", pid))
    )
    assert enter(box, other, "sh", "-c", "for n in ipc pid; do readlink /proc/self/ns/$n; done >/where") == 0
    first = upper / "where"
    here = {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in ("ipc", "pid")}
    assert first.read_text().split() == list(here.values())
