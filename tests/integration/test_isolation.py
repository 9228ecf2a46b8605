"""Privileges and isolation through the engine: names of other containers, what inspect says, plans."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from contextkernel.engine import Engine
from contextkernel.errors import Conflict, ContainerNotFound, InvalidInput
from contextkernel.model.results import RunResult

COMPARE = Path(__file__).parents[1] / "conformance" / "judge"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    spec = importlib.util.spec_from_file_location("base", COMPARE / "base.py")
    assert spec is not None
    assert spec.loader is not None
    base = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(base)
    folder = tmp_path_factory.mktemp("isolation")
    base.write_base(folder / "base.tar")
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
    finally:
        engine.on_warning = None
    single = engine.host_report().tier == "rootless-single"
    assert [text.partition(":")[0] for text in said] == (["this host maps a single id"] if single else [])
