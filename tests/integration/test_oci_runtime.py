"""``--runtime runc``: the same container by an installed OCI runtime, from the document that ``--plan`` shows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from judge.base import write_base

from contextkernel.engine import Engine
from contextkernel.errors import CommandNotExecutable, CommandNotFound, InvalidInput, LaunchFailed
from contextkernel.model.results import RunResult
from contextkernel.runtime.document import oci_name

HERE = Path(__file__).parent
FACTS = (HERE / "docker_facts" / "facts.sh").read_bytes()
STANDARD = ("null", "zero", "full", "random", "urandom", "tty")

pytestmark = pytest.mark.skipif(shutil.which("runc") is None, reason="runc is not installed")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("oci")
    write_base(folder / "base.tar")
    with Engine(folder / "store") as made:
        if made.host_report().tier not in ("rootful", "rootless"):
            pytest.skip("this host has no namespaces, or a single id")
        made.import_image(str(folder / "base.tar"), "base")
        yield made


def run(
    engine: Engine, *command: str, runtime: str = "runc", stdin: bytes | None = None, **wanted: object
) -> RunResult:
    done = engine.run("base", command, remove=True, runtime=runtime, stdin=stdin, network="none", **wanted)  # type: ignore[arg-type]
    assert isinstance(done, RunResult)
    return done


def facts(engine: Engine, runtime: str, **wanted: object) -> dict[str, str]:
    done = run(engine, "sh", runtime=runtime, stdin=FACTS, **wanted)
    assert done.exit_code == 0, done.stderr
    return dict(line.split("\t", 1) for line in done.stdout.decode().splitlines() if "\t" in line)


def without_mounts(found: dict[str, str]) -> dict[str, str]:
    """How a device is made, and what generated files lie on, is each runtime's own affair."""
    places = (*(f"/dev/{name}" for name in STANDARD), "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/")
    own = {f"mount {place}" for place in places}
    own.add("limit Max open files")  # Go raises its own, and runc 1.1 hands that on
    return {name: value for name, value in found.items() if name not in own}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"user": "bin"},
        {"user": "12:5", "group_add": ["7"]},
        {"cap_add": ["NET_ADMIN"], "cap_drop": ["CHOWN"]},
        {"cap_drop": ["ALL"]},
        {"security_opt": ["no-new-privileges"]},
        {"security_opt": ["seccomp=unconfined"]},
        {"security_opt": ["systempaths=unconfined"]},
        {"sysctls": {"net.core.somaxconn": "77", "kernel.msgmax": "5555"}},
        {"read_only": True},
    ],
    ids=lambda wanted: "-".join(wanted) or "default",
)
def test_a_program_finds_the_same_in_both(engine: Engine, wanted: dict[str, object]) -> None:
    ours, theirs = (without_mounts(facts(engine, runtime, **wanted)) for runtime in ("", "runc"))
    assert {
        name: (ours.get(name), theirs.get(name)) for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)
    } == {}


def test_output_input_and_exit_code(engine: Engine) -> None:
    done = run(engine, "sh", "-c", "cat; echo err >&2; exit 3", stdin=b"in\n")
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"in\n", b"err\n")
    much = run(engine, "sh", "-c", "seq 1 50000 >&2")
    assert much.stderr == b"".join(b"%d\n" % number for number in range(1, 50001))
    assert run(engine, "sh", "-c", "sh -c 'kill -9 $$'; exit $?").exit_code == 137


def test_what_cannot_be_executed_is_told_as_ever(engine: Engine) -> None:
    with pytest.raises(CommandNotFound, match='exec: "nope": executable file not found'):
        run(engine, "nope")
    with pytest.raises(CommandNotExecutable, match="permission denied"):
        run(engine, "/etc/passwd")


def test_signals_logs_and_restarts(engine: Engine) -> None:
    script = "trap 'echo term; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    name = engine.run("base", ["sh", "-c", script], detach=True, runtime="runc", network="none")
    assert isinstance(name, str)
    try:
        for expected in (b"up\n", b"up\nterm\nup\n"):
            lines = b""
            for _, line in engine.logs(name, follow=True):
                lines += line
                if lines == expected:
                    break
            assert lines == expected
            engine.stop(name)
            (document,) = engine.inspect([name])
            assert document["State"]["ExitCode"] == 7
            assert document["HostConfig"]["Runtime"] == "runc"
            engine.start(name)
        engine.kill(name)
        assert engine.wait(name) == 137
    finally:
        engine.remove_container(name, force=True)


def test_nothing_is_left_of_it(engine: Engine) -> None:
    """Neither after an end, nor after SIGKILL, nor after a failed start: groups, mounts, folders."""

    def traces() -> set[str]:
        # of this engine's containers: others may work on this machine at the same time
        told = engine.events(since="1h", until="0s", filters={"type": ["container"]})
        names = {oci_name(event.id) for event in told}
        groups = {path for path, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(path) in names}
        mounts = {line for line in Path("/proc/self/mountinfo").read_text().splitlines() if engine.root in line}
        return groups | mounts | set(os.listdir(Path(engine.root, "containers")))

    before = traces()
    run(engine, "true")
    with pytest.raises(CommandNotFound):
        run(engine, "nope")
    name = engine.run("base", ["sleep", "1000"], detach=True, runtime="runc", network="none")
    assert isinstance(name, str)
    engine.kill(name)
    assert engine.wait(name) == 137
    engine.remove_container(name)
    assert traces() == before


def test_a_runtime_that_is_not_installed(engine: Engine) -> None:
    with pytest.raises(LaunchFailed, match="the OCI runtime '/no/such/runc' is not installed") as caught:
        run(engine, "true", runtime="/no/such/runc")
    assert "apt-get install runc" in (caught.value.hint or "")
    assert caught.value.exit_code in (1, 125)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [({"init": True}, "--init is the engine's own"), ({"ipc_mode": "container:donor"}, "joined by")],
)
def test_what_is_not_possible_with_it_is_said(engine: Engine, wanted: dict[str, object], reason: str) -> None:
    donor = engine.run("base", ["sleep", "1000"], name="donor", detach=True, ipc_mode="shareable", network="none")
    assert isinstance(donor, str)
    try:
        with pytest.raises((InvalidInput, LaunchFailed), match=f"not possible with --runtime runc: .*{reason}"):
            run(engine, "true", **wanted)
    finally:
        engine.remove_container("donor", force=True)


def test_who_enters_it_is_inside(engine: Engine) -> None:
    """The keeper around the container still sees the host: a further program must not end up there."""
    name = engine.run("base", ["sleep", "1000"], detach=True, runtime="runc", network="none", hostname="box")
    assert isinstance(name, str)
    same = (
        "for n in mnt pid ipc uts net; do [ $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) ] || echo $n; done"
    )
    try:
        program = "until grep -q sleep /proc/1/comm; do :; done"  # the runtime's own init is there a little longer
        done = engine.exec(name, ["sh", "-c", f"{program}; hostname; {same}; grep CapEff /proc/self/status"])
        assert isinstance(done, RunResult)
        assert done.stdout == b"box\nCapEff:\t00000000a80425fb\n"
        assert not os.path.exists("/ck-made-inside")
        engine.exec(name, ["touch", "/ck-made-inside"])
        assert not os.path.exists("/ck-made-inside")
    finally:
        engine.remove_container(name, force=True)
