"""What stands in for what a host refuses, as a program inside finds it; the facts of such hosts are handed in."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from contextkernel.errors import LaunchFailed
from contextkernel.linux.landlock import scopes_possible, tracing_possible
from contextkernel.model.container import ExecRequest, Terminal, Tmpfs
from contextkernel.model.resources import Resources
from contextkernel.model.security import Join, Security
from contextkernel.runtime.client import NamespaceRuntime
from contextkernel.runtime.facts import gather

scopes = pytest.mark.skipif(not scopes_possible(), reason="this kernel has no Landlock scopes (Linux 6.12)")
tracing = pytest.mark.skipif(not tracing_possible(), reason="this kernel has no Landlock of version 2 (Linux 5.19)")
ROOTS = pytest.mark.parametrize("root", ["pivot", "move", "chroot"])


@pytest.fixture
def lacking(box):
    """Makes boxes of hosts that lack something."""
    made = []

    def make(**facts: object):
        runtime = NamespaceRuntime(box.idmap, facts=msgspec.structs.replace(gather(box.idmap), **facts))
        made.append(runtime)
        return replace(box, runtime=runtime, home=box.home / str(len(made)))

    yield make
    for runtime in made:
        runtime.close()


@pytest.fixture
def start():
    """Starts a shell script in a box; returns its request and process once it has said ``up``."""
    processes = []

    def begin(box, script: str = "echo up; sleep 1000", **changes: object):
        read, write = os.pipe()
        request = box.request("sh", "-c", script, state=True, **changes)
        process = box.runtime.launch(request, stdout=write)
        processes.append(process)
        os.close(write)
        with os.fdopen(read, "rb") as output:
            assert output.readline().strip() == b"up"
        return request, process

    yield begin
    for process in processes:
        process.signal(9, ends=True)
        process.wait()
        process.close()


def execute(box, container, script: str) -> str:
    """What a further program in a container says."""
    read, write = os.pipe()
    wanted = ExecRequest(argv=("sh", "-c", script), env=("PATH=/bin",))
    try:
        process = box.runtime.execute(container.state_dir, wanted, stdout=write, stderr=write)
    finally:
        os.close(write)
    with os.fdopen(read) as stream:
        said = stream.read()
    process.wait()
    process.close()
    return said


@ROOTS
def test_a_root_shows_the_container_alone(lacking, start, root):
    box = lacking(root=root)
    look = "ls -a / /.. /proc/self/root/.. | grep -v : | sort -u; cd /bin; cd ../../..; ls -d etc/passwd"
    inside = box.sh(look)
    assert set(inside.split()) <= {".", "..", "bin", "etc", "proc", "sys", "dev", "etc/passwd"}
    # a program that comes later enters the mount namespace, whose root may be another
    request, _ = start(box)
    assert execute(box, request, look) == inside
    assert str(box.home) not in execute(box, request, "cut -d' ' -f2 /proc/self/mounts")


@ROOTS
def test_attack_leaving_the_root_by_chroot(lacking, python, root):
    """The classic way out: be above one's root, and go up."""
    box = lacking(root=root)
    code = f"""
import os
os.mkdir("/r")
try:
    os.chroot("/r")
except PermissionError:
    print("refused")
for _ in range(50):
    os.chdir("..")
try:
    os.chroot(".")
except PermissionError:
    pass
print(os.path.exists({str(box.home)!r}), os.path.exists("/bin/busybox"))
"""
    said = python(code, within=box).out.splitlines()
    assert said[-1] == "False True"
    assert ("refused" in said) is (root == "chroot")


@pytest.mark.parametrize("root", ["pivot", "move"])
def test_attack_entering_the_own_mount_namespace_once_more(lacking, python, root):
    """With the power to mount: take one's root away, and enter the namespace again, whose root is what was below."""
    box = lacking(root=root)
    code = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
print(libc.umount2(b"/", 2), libc.setns(namespace, 0x20000), os.path.exists({str(box.home)!r}))
"""
    said = python(code, within=box, security=Security(cap_add=("CAP_SYS_ADMIN",))).out.split()
    assert said[1:] == ["0" if root == "pivot" else "-1", "False"]
    # with the engine's own power it is reached: the test can fail
    free = python(code, within=box, security=Security(privileged=True)).out.split()
    assert free[1:] == ["0", "False" if root == "pivot" else "True"]


def test_the_shared_memory_of_a_container_that_has_no_root_of_a_namespace(lacking, start):
    box = lacking(root="chroot")
    _, process = start(box, "echo mine >/dev/shm/f; echo up; sleep 1000", security=Security(ipc="shareable"))
    other = box.request("cat", "/dev/shm/f", security=Security(ipc="container:x"))
    done = box.execute(msgspec.structs.replace(other, joins=(Join("ipc", process.pid),)))
    assert (done.out, done.err) == ("mine\n", "")


def test_no_pid_namespace(lacking, start):
    """As root of the machine it has a /proc that shows its own alone; else the host's, which cannot be written to."""
    root = os.geteuid() == 0
    box = lacking(pid=False, proc="fresh" if root else "bind")
    request, _ = start(box)
    assert execute(box, request, "readlink /proc/self/ns/pid").strip() == os.readlink("/proc/self/ns/pid")
    assert (str(os.getpid()) in box.sh("cd /proc; echo [0-9]*").split()) is not root  # ls asks those that end
    assert (box.run("sh", "-c", "echo 5 >/proc/self/oom_score_adj").code == 0) is root
    assert ("hidepid=ptraceable" in box.sh("cat /proc/self/mounts")) is root
    # what it leaves behind goes with it
    box.sh("(sleep 4321 &) ; true")
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            assert b"sleep\x004321" not in Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue


@scopes
def test_attack_signals_without_a_pid_namespace(lacking):
    box = lacking(pid=False)
    done = box.run("sh", "-c", f"kill -0 {os.getpid()} || kill -9 {os.getppid()}; kill -0 $$ && echo itself")
    assert done.out == "itself\n"
    assert "reached" not in done.out


def test_a_bound_proc_in_a_pid_namespace(lacking, start):
    """Where Landlock keeps no signals in. Its numbers are not those of the /proc that it sees; nothing is reached."""
    box = lacking(proc="bind", scopes=False)
    request, _ = start(box)
    said = execute(box, request, f"kill -0 {os.getpid()} 2>&1; echo $$; readlink /proc/self/ns/pid 2>&1").splitlines()
    assert "No such process" in said[0]
    assert int(said[1]) < 100
    assert said[2] != os.readlink("/proc/self/ns/pid")
    assert box.sh("echo through >/dev/stdout; echo more | cat /dev/stdin") == "through\nmore\n"
    assert "Read-only" in box.run("sh", "-c", "echo 1 >/proc/self/oom_score_adj").err


@tracing
def test_attack_looking_into_another_container(lacking, start):
    """Containers of one user are alike; without a /proc of its own each could look into all others."""
    box = lacking(proc="bind", scopes=False)
    _, process = start(box)
    look = f"cat /proc/{process.pid}/environ; ls /proc/{process.pid}/root/"
    assert box.run("sh", "-c", look).out == ""
    # lifted, it sees them: the test can fail
    assert "bin" in box.run("sh", "-c", look, security=Security(landlock=False)).out
    # and files can be moved and linked into other directories, which a Landlock domain about files is strict with
    box.sh("mkdir /a /b; echo x >/a/f; mv /a/f /b/f; ln /b/f /a/g; cat /a/g; mv /bin/yes /a/")


def test_settings_of_the_oom_killer_where_proc_cannot_be_written_to(lacking, start):
    box = lacking(proc="bind")
    request, _ = start(box, "echo up; sleep 1000", resources=Resources(oom_score_adj=321))
    assert execute(box, request, "cat /proc/self/oom_score_adj") == "321\n"


def test_no_network_without_a_network_namespace(lacking, start, python):
    box = lacking(network=False)
    code = """
import socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
    try:
        socket.socket(family, socket.SOCK_DGRAM)
    except OSError as problem:
        print(problem.errno)
a, b = socket.socketpair()
a.send(b"unix")
print(b.recv(4).decode())
"""
    assert python(code, within=box).out.split() == ["97", "97", "97", "97", "unix"]
    request, _ = start(box)
    assert "not supported" in execute(box, request, "ifconfig lo")
    assert "lo" in execute(box, start(box, network="host")[0], "ifconfig lo")


@scopes
def test_attack_abstract_socket_without_a_network_namespace(lacking, python):
    import socket

    name = f"ck-closed-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
        assert "PermissionError" in python(code, within=lacking(network=False)).err


def test_no_uts_ipc_or_cgroup_namespace(lacking):
    box = lacking(uts=False, ipc=False, cgroup_namespace=False)
    said = box.sh("hostname; for kind in uts ipc cgroup; do readlink /proc/self/ns/$kind; done; ls -A /sys/fs/cgroup")
    links = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("uts", "ipc", "cgroup")]
    assert said.split()[:4] == [os.uname().nodename, *links]
    if box.idmap.identity:
        assert box.sh("ls -d /dev/mqueue") == "/dev/mqueue\n"  # the host's, as its root may
    else:
        assert box.run("ls", "/dev/mqueue").code != 0


def test_directories_in_place_of_temporary_file_systems(lacking, start):
    box = lacking(tmpfs=False)
    out = box.sh(
        "stat -c '%a' /dev /dev/shm /t /u; echo x >/dev/shm/f; echo x >/t/f; echo x >/dev/null; cat /dev/null | wc -c;"
        " ls /proc/acpi /sys/firmware | grep -v :",
        tmpfs=(Tmpfs("/t"), Tmpfs("/u", "mode=711")),
    )
    assert out.split() == ["755", "1777", "1777", "711", "0"]
    # each start begins with empty ones, and no device node can be opened on them
    request, _ = start(box, "echo old >/dev/shm/f; echo up; sleep 1000")
    assert execute(box, request, "cat /dev/shm/f; mknod /dev/shm/n c 1 3 && cat /dev/shm/n").startswith("old\n")


def test_no_terminals_and_no_queues(lacking):
    box = lacking(devpts=False, mqueue=False)
    assert box.run("ls", "/dev/pts", "/dev/ptmx", "/dev/mqueue").out == ""
    with pytest.raises(LaunchFailed, match="this host can give a container no terminal"):
        box.run("true", terminal=Terminal())


def test_no_system_call_filter(lacking):
    box = lacking(seccomp=False)
    assert "Seccomp_filters:\t" + ("1" if box.single else "0") in box.sh("cat /proc/self/status")
    with pytest.raises(LaunchFailed, match="cannot run a custom seccomp profile"):
        box.run("true", security=Security(seccomp='{"defaultAction": "SCMP_ACT_ALLOW"}'))


def test_the_state_says_what_keeps_it_apart(lacking, start):
    box = lacking(pid=False, uts=False, root="move", refusals={"pid_namespace": "it is full"})
    request, _ = start(box)
    state = box.runtime.state(request.state_dir)
    assert (state.isolation["Pid"], state.isolation["Uts"], state.isolation["Ipc"]) == ("host", "host", "own")
    assert state.isolation["Root"] == "moved mount and chroot"
    assert [text.partition(":")[0] for text in state.fallbacks] == [
        "no pid namespace",
        "no uts namespace",
        "no pivot_root",
    ]
    assert "(it is full)" in state.fallbacks[0]
