"""Privileges and isolation that were asked for, as the program inside finds them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from contextkernel.errors import ContextKernelError, LaunchFailed
from contextkernel.linux.caps import CAPABILITIES, read_capabilities, to_mask
from contextkernel.linux.landlock import scopes_possible
from contextkernel.model.container import Bind
from contextkernel.model.security import Device, Join, Security
from contextkernel.runtime.client import NamespaceRuntime
from contextkernel.runtime.facts import gather
from contextkernel.runtime.plan_security import CAPABILITIES as DEFAULT

ALL = frozenset(CAPABILITIES)
scopes = pytest.mark.skipif(not scopes_possible(), reason="this kernel has no Landlock scopes (Linux 6.12)")


def status(box, *, user: str = "", **wanted: object) -> dict[str, str]:
    out = box.run("cat", "/proc/self/status", user=user, security=Security(**wanted)).out
    return dict(line.split(":\t", 1) for line in out.splitlines())


def had(box) -> frozenset[str]:
    """What the engine can give: in a user namespace everything."""
    return ALL if not box.idmap.identity else read_capabilities().permitted


def mask(names: frozenset[str] | tuple[str, ...]) -> str:
    return f"{to_mask(names):016x}"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, frozenset(DEFAULT)),
        ({"cap_add": ("CAP_NET_ADMIN",)}, frozenset(DEFAULT) | {"CAP_NET_ADMIN"}),
        ({"cap_drop": ("ALL",)}, frozenset()),
        ({"cap_drop": ("ALL",), "cap_add": ("CAP_CHOWN",)}, {"CAP_CHOWN"}),
        ({"cap_add": ("ALL",), "cap_drop": ("CAP_CHOWN",)}, ALL - {"CAP_CHOWN"}),
        ({"privileged": True, "cap_drop": ("ALL",)}, ALL),
    ],
)
def test_capabilities(box, wanted, expected):
    given = mask(frozenset(expected) & had(box))
    found = status(box, **wanted)
    assert {found[f"Cap{name}"] for name in ("Prm", "Eff", "Bnd")} == {given}
    assert found["CapInh"] == found["CapAmb"] == mask(())


def test_another_user_has_none_but_the_bounding_set(box):
    found = status(box, user="bob", cap_add=("CAP_NET_ADMIN",))
    assert found["CapBnd"] == mask(frozenset(DEFAULT) | {"CAP_NET_ADMIN"})
    if box.single:  # the user stays root of the container, which inspect and a warning say
        assert found["CapEff"] == found["CapBnd"]
    else:
        assert {found[f"Cap{name}"] for name in ("Prm", "Eff", "Inh", "Amb")} == {mask(())}


@pytest.mark.may_skip
def test_a_capability_that_the_engine_has_not_is_refused(box):
    missing = sorted(ALL - had(box))
    if not missing:
        pytest.skip("this engine has them all")
    with pytest.raises(LaunchFailed, match=f"not available in the current environment: {missing[0]}"):
        box.run("true", security=Security(cap_add=(missing[0],)))


def test_filters_and_no_new_privileges(box):
    filters = 2 if box.single else 1  # one more answers ownership calls
    assert (status(box)["Seccomp"], status(box)["Seccomp_filters"]) == ("2", str(filters))
    for wanted in ({"seccomp": "unconfined"}, {"privileged": True}):
        assert status(box, **wanted)["Seccomp_filters"] == str(filters - 1)
    assert status(box)["NoNewPrivs"] == "0"
    assert status(box, no_new_privileges=True)["NoNewPrivs"] == "1"
    assert status(box, user="bob", no_new_privileges=True)["NoNewPrivs"] == "1"


@pytest.mark.may_skip
def test_set_user_id_programs_gain_nothing_with_no_new_privileges(box, python, tmp_path):
    if box.single:
        pytest.skip("a single id: every program is root of the container")
    tmp_path.chmod(0o755)
    shutil.copy("/usr/bin/python3", tmp_path / "python3")
    (tmp_path / "python3").chmod(0o4755)
    binds = (Bind(str(tmp_path), "/suid"),)
    code = "import os; os.execv('/suid/python3', ['p', '-c', 'print(open(\"/proc/self/status\").read())'])"
    for wanted, uid in ((False, "0"), (True, "1000")):
        done = python(code, user="bob", binds=binds, security=Security(no_new_privileges=wanted))
        found = dict(line.split(":\t", 1) for line in done.out.splitlines() if line)
        assert found["Uid"].split()[1] == uid
        assert (found["CapEff"] != mask(())) is not wanted


def test_a_profile_of_ones_own(box):
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        ],
    }
    wanted = Security(seccomp=json.dumps(profile))
    assert box.run("mkdir", "/d", security=wanted).err.strip().endswith("No space left on device")
    assert box.run("mkdir", "/d", user="bob", security=wanted).err.strip().endswith("No space left on device")
    # what the default policy refuses is allowed; the namespaces and capabilities are as before
    assert status(box, seccomp=json.dumps(profile))["CapEff"] == mask(frozenset(DEFAULT))
    strict = {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": []}
    assert box.run("true", security=Security(seccomp=json.dumps(strict))).code == 159  # killed by SIGSYS


@pytest.mark.may_skip
def test_groups(box):
    if box.single:
        pytest.skip("a single id: supplementary groups cannot be set, which inspect says")
    groups = Security(groups=("other", "77"))
    assert box.run("id", "-G", user="bob", security=groups).out.split() == ["1001", "50", "60", "77"]
    with pytest.raises(ContextKernelError, match="unable to find group nosuch: no matching entries in group file"):
        box.run("true", security=Security(groups=("nosuch",)))


def test_devices(box):
    wanted = Security(devices=(Device("/dev/zero", "/opt/z"), Device("/dev/full", "/dev/deep/full")))
    out = box.sh("stat -c '%n %t:%T %a' /opt/z /dev/deep/full; head -c3 /opt/z | wc -c", security=wanted)
    assert out == "/opt/z 1:5 666\n/dev/deep/full 1:7 666\n3\n"
    assert "No space left" in box.run("sh", "-c", "echo x >/dev/deep/full", security=wanted).err
    for source, reason in (("/dev/nosuch", "no such file or directory"), ("/etc", "not a device node")):
        with pytest.raises(LaunchFailed, match=f'adding custom device "{source}": {reason}'):
            box.run("true", security=Security(devices=(Device(source, source),)))


def test_a_device_of_the_hosts_cannot_be_changed_from_inside(box):
    before = os.stat("/dev/full")
    box.run("/bin/busybox", "chmod", "600", "/dev/x", security=Security(devices=(Device("/dev/full", "/dev/x"),)))
    after = os.stat("/dev/full")
    assert (stat.S_IMODE(after.st_mode), after.st_uid) == (stat.S_IMODE(before.st_mode), before.st_uid)


def test_attack_device_place_that_leads_outside(box, tmp_path):
    (tmp_path / "outside").mkdir()
    request = box.request("true", security=Security(devices=(Device("/dev/zero", "/link/z"),)))
    Path(request.upper, "link").symlink_to(f"../../../../../../..{tmp_path}/outside")
    box.execute(request)
    assert os.listdir(tmp_path / "outside") == []


def test_privileged_sees_all_devices_and_is_not_masked(box):
    out = box.sh("ls /dev; grep -c ' /proc/' /proc/self/mountinfo; true", security=Security(privileged=True))
    *names, masks = out.split()
    here = {
        name
        for name in os.listdir("/dev")
        if stat.S_ISCHR(os.lstat(f"/dev/{name}").st_mode) or stat.S_ISBLK(os.lstat(f"/dev/{name}").st_mode)
    }
    assert here - {"console", "ptmx"} <= set(names)
    assert masks == "0"


def test_privileged_may_mount(box):
    assert box.sh("mkdir /m; mount -t tmpfs none /m; echo >/m/f; ls /m", security=Security(privileged=True)) == "f\n"


def test_system_paths_unconfined(box):
    assert box.sh("grep -c ' /proc/' /proc/self/mountinfo; true", security=Security(masks=False)) == "0\n"


def test_settings(box):
    settings = {"net.core.somaxconn": "77", "kernel.shmmax": "12345", "fs.mqueue.msg_max": "5"}
    out = box.sh(
        "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmax /proc/sys/fs/mqueue/msg_max",
        security=Security(sysctls=settings),
    )
    assert out == "77\n12345\n5\n"
    for name, value, problem in (
        ("net.ipv4.nosuch", "1", "open /proc/sys/net/ipv4/nosuch: no such file or directory"),
        ("net.ipv4.ip_forward", "x", "write /proc/sys/net/ipv4/ip_forward: invalid argument"),
    ):
        with pytest.raises(LaunchFailed, match=problem):
            box.run("true", security=Security(sysctls={name: value}))


def test_the_hosts_namespaces(box):
    wanted = Security(pid="host", uts="host", ipc="host", cgroupns="host")
    kinds = ("pid", "uts", "ipc", "cgroup")
    own = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
    links = " ".join(f"/proc/self/ns/{kind}" for kind in kinds)
    assert box.sh(f"for link in {links}; do readlink $link; done", security=wanted).split() == own
    assert box.sh("hostname", security=wanted).strip() == os.uname().nodename
    if box.idmap.identity or os.access("/dev/shm", os.W_OK):
        mark = Path(f"/dev/shm/ck-{os.getpid()}")
        mark.write_text("x")
        try:
            assert box.sh(f"cat {mark}", security=wanted) == "x"
        finally:
            mark.unlink()


def test_no_shared_memory(box):
    assert "shm" not in box.sh("ls /dev", security=Security(ipc="none")).split()


@pytest.fixture
def donor(box):
    """A running container whose shared memory may be shared; the request, and its first process."""
    read, write = os.pipe()
    script = "echo inside >/dev/shm/f; echo up; while :; do sleep 0.05; done"
    request = box.request("sh", "-c", script, state=True, security=Security(ipc="shareable"))
    process = box.runtime.launch(request, stdout=write)
    os.close(write)
    with os.fdopen(read, "rb") as output:
        assert output.readline() == b"up\n"
    yield box.runtime.state(request.state_dir).pid
    process.signal(9, ends=True)
    process.wait()
    process.close()


def test_namespaces_of_another_container(box, donor):
    wanted = Security(pid="container:x", ipc="container:x")
    request = box.request(
        "sh", "-c", "cat /dev/shm/f; ps -o pid,comm | head -n3; echo >/dev/shm/back; test $$ -ne 1", security=wanted
    )
    done = box.execute(msgspec.structs.replace(request, joins=(Join("pid", donor), Join("ipc", donor))))
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "inside"
    assert done.out.splitlines()[2].split() == ["1", "sh"]


def test_what_is_left_in_another_containers_pid_namespace_is_killed(box, donor):
    request = box.request(
        "sh", "-c", "setsid sh -c 'setsid sleep 1234 & setsid sleep 1235 &'; true", security=Security(pid="container:x")
    )
    box.execute(msgspec.structs.replace(request, joins=(Join("pid", donor),)))
    box.execute(
        msgspec.structs.replace(box.request("true"), joins=(Join("pid", donor),), security=Security(pid="container:x"))
    )
    left = box.execute(
        msgspec.structs.replace(
            box.request("ps", "-o", "args"), joins=(Join("pid", donor),), security=Security(pid="container:x")
        )
    ).out
    assert "sleep 1234" not in left
    assert "sleep 1235" not in left


def test_a_container_to_join_that_has_gone(box):
    gone = msgspec.structs.replace(
        box.request("true"), joins=(Join("ipc", 2**22 - 1),), security=Security(ipc="container:x")
    )
    with pytest.raises(LaunchFailed, match="failed to join the ipc namespace"):
        box.execute(gone)


@pytest.fixture
def shared_proc(box):
    """The same box where a new /proc is refused, as in many outer containers: one pid namespace for all."""
    facts = msgspec.structs.replace(gather(box.idmap), proc="bind")
    runtime = NamespaceRuntime(box.idmap, facts=facts)
    yield replace(box, runtime=runtime)
    runtime.close()


@scopes
def test_attack_signals_to_the_users_other_processes(shared_proc):
    child = os.fork()
    if not child:
        os.execv("/bin/sleep", ["sleep", "1000"])  # noqa: S606
    try:
        done = shared_proc.run("sh", "-c", f"kill -0 {child} && echo reached; kill -9 {child}; kill -9 {os.getpid()}")
        assert done.out == ""
        assert "Operation not permitted" in done.err
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        # its own it may
        assert shared_proc.run("sh", "-c", "sleep 1000 & kill $!; wait $!; echo $?").out == "143\n"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@pytest.mark.may_skip
def test_the_attack_works_without_the_scope(shared_proc):
    """What the scope is for; and that it can be lifted."""
    if shared_proc.idmap.identity:
        pytest.skip("root has a pid namespace in any case")
    done = shared_proc.run("sh", "-c", f"kill -0 {os.getpid()} && echo reached", security=Security(landlock=False))
    assert done.out == "reached\n"


@scopes
def test_attack_looking_into_the_hosts_processes(shared_proc):
    here = os.getpid()
    done = shared_proc.run(
        "sh", "-c", f"cat /proc/{here}/environ; ls /proc/{here}/root/ /proc/{here}/cwd/; readlink /proc/{here}/fd/0"
    )
    assert done.out == ""


@scopes
def test_attack_abstract_socket_of_the_host(python):
    """CVE-2020-15257: the containerd shim's socket was in reach of every container on the host's network."""
    name = f"ck-abstract-{os.getpid()}"
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        listener.settimeout(0)
        assert "PermissionError" in python(connect, network="host").err
        assert "ConnectionRefusedError" in python(connect, network="none").err  # another network: it is not there
        with pytest.raises(BlockingIOError):
            listener.accept()
        # lifted, it is reached: the test can fail
        assert python(connect, network="host", security=Security(landlock=False)).err == ""
        listener.accept()[0].close()
