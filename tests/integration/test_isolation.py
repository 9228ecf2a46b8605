"""Privileges and isolation through the engine: names of other containers, what inspect says, plans."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from judge.base import write_base

from contextkernel.engine import Engine
from contextkernel.errors import Conflict, ContainerNotFound, InvalidInput
from contextkernel.model.results import RunResult


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("isolation")
    write_base(folder / "base.tar")
    with Engine(folder / "store") as made:
        if made.host_report().tier in ("ptrace", "analysis"):
            pytest.skip("this host allows no namespaces")
        made.import_image(str(folder / "base.tar"), "base")
        yield made


def output(engine: Engine, *command: str, **wanted: object) -> str:
    done = engine.run("base", command, remove=True, **wanted)  # type: ignore[arg-type]
    assert isinstance(done, RunResult)
    assert done.exit_code == 0, done.stderr
    return done.stdout.decode()


def test_a_plan_leaves_nothing(engine: Engine) -> None:
    store = Path(engine.root)
    before = sorted(os.listdir(store / "containers")) if (store / "containers").is_dir() else []
    made = engine.plan("base", ["ls"], user="bin", security_opt=["no-new-privileges"], mounts=())
    assert made.document["process"]["args"] == ["ls"]
    assert made.document["process"]["noNewPrivileges"] is True
    assert [step.number for step in made.operations] == list(range(1, len(made.operations) + 1))
    assert made.operations[0].operation == "MakePrivate"
    assert made.operations[-1].operation == "Exec"
    json.dumps(made.document)
    assert engine.containers(all=True) == ()
    assert (sorted(os.listdir(store / "containers")) if (store / "containers").is_dir() else []) == before


def test_the_plan_knows_users_of_the_image(engine: Engine) -> None:
    user = engine.plan("base", ["ls"], user="bin").document["process"]["user"]
    single = engine.host_report().tier == "rootless-single"
    assert (user["uid"], user["gid"]) == ((0, 0) if single else (2, 3))


def test_a_plan_is_refused_as_a_run_is(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="not allowed in host network namespace"):
        engine.plan("base", ["ls"], network="host", sysctls={"net.ipv4.ip_forward": "1"})


def test_other_containers_are_found_by_name_and_kept_by_id(engine: Engine) -> None:
    donor = engine.run(
        "base", ["sh", "-c", "echo x >/dev/shm/f; sleep 1000"], name="donor", detach=True, ipc_mode="shareable"
    )
    alone = engine.run("base", ["sleep", "1000"], name="alone", detach=True)
    assert isinstance(donor, str)
    assert isinstance(alone, str)
    try:
        wait = "while ! test -s /dev/shm/f; do :; done; cat /dev/shm/f"
        assert output(engine, "sh", "-c", wait, ipc_mode="container:donor") == "x\n"
        assert output(engine, "sh", "-c", "ps | grep -c 'sleep 1000'", pid_mode="container:donor") != "0\n"
        kept = engine.create("base", ["true"], pid_mode="container:donor", ipc_mode="container:donor")
        (document,) = engine.inspect([kept])
        assert document["HostConfig"]["PidMode"] == document["HostConfig"]["IpcMode"] == f"container:{donor}"
        with pytest.raises(Conflict, match=f"container {alone}: non-shareable IPC"):
            output(engine, "true", ipc_mode="container:alone")
    finally:
        for name in ("donor", "alone"):
            engine.remove_container(name, force=True)
    with pytest.raises(Conflict, match=f"failed to join PID namespace: No such container: {donor}"):
        engine.start(kept)
    engine.remove_container(kept)
    with pytest.raises(ContainerNotFound):
        engine.create("base", ["true"], pid_mode="container:nosuch")


def test_a_container_that_does_not_run_cannot_be_joined(engine: Engine) -> None:
    other = engine.create("base", ["true"], name="still")
    try:
        for mode, word in (("pid_mode", "PID"), ("ipc_mode", "IPC")):
            with pytest.raises(Conflict, match=f"failed to join {word} namespace: container {other} is not running"):
                output(engine, "true", **{mode: "container:still"})
    finally:
        engine.remove_container("still")
    assert engine.containers(all=True) == ()


def test_inspect_says_what_was_asked_for(engine: Engine) -> None:
    kept = engine.create(
        "base",
        ["true"],
        cap_add=["sys_admin", "chown"],
        cap_drop=["all"],
        security_opt=["systempaths=unconfined", "seccomp=unconfined", "apparmor=x"],
        devices=["/dev/null:/dev/y:r"],
        device_cgroup_rules=["c 1:* rm"],
        group_add=["5"],
        pid_mode="host",
        uts_mode="host",
        userns_mode="host",
        sysctls={"kernel.shmmax": "5"},
        annotations={"q": "1"},
    )
    (document,) = engine.inspect([kept])
    engine.remove_container(kept)
    host = document["HostConfig"]
    expected = {
        "CapAdd": ["CAP_CHOWN", "CAP_SYS_ADMIN"],
        "CapDrop": ["ALL"],
        "SecurityOpt": ["seccomp=unconfined", "apparmor=x", "label=disable"],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/y", "CgroupPermissions": "r"}],
        "DeviceCgroupRules": ["c 1:* rm"],
        "GroupAdd": ["5"],
        "PidMode": "host",
        "UTSMode": "host",
        "UsernsMode": "host",
        "IpcMode": "private",
        "Sysctls": {"kernel.shmmax": "5"},
        "Annotations": {"q": "1"},
        "Privileged": False,
    }
    assert {name: host[name] for name in expected} == expected


def test_a_user_that_a_single_id_cannot_give_is_said(engine: Engine) -> None:
    said: list[str] = []
    engine.on_warning = said.append
    try:
        engine.remove_container(engine.create("base", ["true"], user="bin"))
        created = len(said)
        engine.run("base", ["sleep", "60"], name="said", detach=True, network="none")
        for user in ("", "0:3", "bin"):
            engine.exec("said", ["true"], user=user)
        engine.remove_container("said", force=True)
    finally:
        engine.on_warning = None
    single = engine.host_report().tier == "rootless-single"
    assert [text.partition(":")[0] for text in said] == ["this host maps a single id"] * (2 if single else 0)
    assert created == (1 if single else 0)


def test_devices_have_a_second_fence_where_control_groups_of_version_1_allow_it(engine: Engine) -> None:
    groups = Path("/sys/fs/cgroup/devices/contextkernel")
    rules = ["c 1:11 r", "b 7:* rm"]
    said: list[str] = []
    engine.on_warning = said.append
    attempt = (
        "mknod /n c 1 3 && echo x >/n && echo null; mknod /m c 1 1 && head -c1 /m; mknod /b b 8 0 && head -c1 /b; true"
    )
    try:
        fenced = output(engine, "sh", "-c", attempt, device_cgroup_rules=rules)
    finally:
        engine.on_warning = None
    if os.geteuid() == 0 and os.access("/sys/fs/cgroup/devices", os.W_OK):
        # docker's rules: any node may be made, and those of the list be used; memory and disks are not on it
        assert fenced == "null\n"
        assert said == []
        told = engine.events(since="1h", until="0s", filters={"type": ["container"], "event": ["create"]})
        identity = list(told)[-1].id  # groups of other engines come and go meanwhile
        assert not (groups / identity).exists(), "its group is gone with it"
    else:
        assert fenced == ""
        assert [text.partition(":")[0] for text in said] == ["--device-cgroup-rule has no effect"]
    assert output(engine, "sh", "-c", attempt) == "", "without rules no node that is made can be opened"


@pytest.mark.may_skip
def test_permissions_of_a_device_are_kept_by_the_fence(engine: Engine) -> None:
    if os.geteuid() or not os.access("/sys/fs/cgroup/devices", os.W_OK):
        pytest.skip("no device control groups here, which the security page says")
    device = "/dev/zero:/dev/x:r"
    # the standard devices may be used in any way, so one that is none: a loop device cannot be read without a file
    read = "head -c1 /dev/loop-control >/dev/null 2>/err; cat /err; echo x >/dev/loop-control"
    assert output(engine, "sh", "-c", "head -c3 /dev/x | wc -c", devices=[device]) == "3\n"
    if os.path.exists("/dev/loop-control"):
        done = engine.run("base", ["sh", "-c", read], remove=True, devices=["/dev/loop-control:/dev/loop-control:r"])
        assert isinstance(done, RunResult)
        assert b"ot permitted" in done.stderr
        assert b"ot permitted" not in done.stdout


def test_the_network_of_a_container_that_has_the_hosts(engine: Engine) -> None:
    engine.run("base", ["sleep", "1000"], network="host", name="on-host", detach=True)
    try:
        own = output(engine, "readlink", "/proc/self/ns/net", network="container:on-host")
        assert own.strip() == os.readlink("/proc/self/ns/net")
    finally:
        engine.remove_container("on-host", force=True)


def test_what_keeps_a_container_apart_is_in_inspect(engine: Engine) -> None:
    made = engine.create("base", ["true"], network="none", pid_mode="host")
    (before,) = engine.inspect([made])
    engine.start(made, attach=True)
    (after,) = engine.inspect([made])
    engine.remove_container(made)
    for document in (before, after):
        apart = document["ContextKernel"]
        assert (apart["Isolation"]["Pid"], apart["Isolation"]["Network"]) == ("host", "own")
        assert apart["Fallbacks"] == list(engine.plan("base", ["true"], network="none", pid_mode="host").fallbacks)
