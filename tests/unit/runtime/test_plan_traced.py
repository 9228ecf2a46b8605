"""The plan where there are no namespaces: the exact ordered operations, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from contextkernel.errors import InvalidInput, LaunchFailed
from contextkernel.model.container import Bind, ExecRequest, LaunchRequest, Terminal, Tmpfs
from contextkernel.model.security import Security
from contextkernel.model.step_mounts import CacheBind, LayerBind, SecretFile, SocketBind
from contextkernel.runtime import operations as op
from contextkernel.runtime.facts import HostFacts, Tracer
from contextkernel.runtime.fallbacks import TRACED, fallbacks, isolation
from contextkernel.runtime.operations import traced
from contextkernel.runtime.plan import hosts_text, plan_operations
from contextkernel.runtime.plan_exec import plan_exec
from contextkernel.runtime.plan_security import CAPABILITIES, plan_namespaces

FACTS = HostFacts(
    isolation="none",
    pid=False,
    network=False,
    tracer=Tracer("/usr/bin/proot", "/lib/ld.so", ("/lib/libc.so",)),
    landlock=7,
    scopes=True,
    proc="bind",
    sysfs="bind",
    devices=("null", "tty"),
    resolv_conf="nameserver 192.0.2.1\n",
    report="/s/c/room/report-1",
)
REQUEST = LaunchRequest(
    id="abc",
    argv=("prog", "arg"),
    env=("PATH=/bin",),
    working_dir="/work",
    user="bob",
    hostname="box",
    network="host",
    lowers=(),
    upper="/s/c/tree",
    work="",
    state_dir="/s/c",
    fake_ids=True,
)
APT = "APT_CONFIG=/dev/.apt.conf"
CONFINE = traced.Confine(
    files=True,
    signals=True,
    sockets=True,
    readable=("/lib/libc.so",),
    executable=("/usr/bin/proot", "/lib/ld.so", "/s/c/room/loader", "/s/c/room/loader-32"),
)


def changed(**changes: object) -> LaunchRequest:
    return msgspec.structs.replace(REQUEST, **changes)


def planned(facts: HostFacts = FACTS, **changes: object) -> tuple[op.Operation, ...]:
    return plan_operations(changed(**changes), facts)


def test_exact_operations():
    assert plan_operations(REQUEST, FACTS) == (
        op.NewKeyring("_ses.abc"),
        traced.UseTree("/s/c/tree", room="/s/c/room", report="/s/c/room/report-1", keep_points=True),
        traced.ShowPath("/proc", "/proc", access="read"),
        traced.ShowPath("/sys", "/sys", access="read", optional=True),
        traced.ShowDirectory("/dev"),
        op.MakeLink("/dev/fd", "/proc/self/fd"),
        op.MakeLink("/dev/stdin", "/proc/self/fd/0"),
        op.MakeLink("/dev/stdout", "/proc/self/fd/1"),
        op.MakeLink("/dev/stderr", "/proc/self/fd/2"),
        traced.ShowPath("/s/c/room/starter", "/dev/.starter", access="read"),
        traced.ShowPath("/dev/null", "/dev/null"),
        traced.ShowPath("/dev/tty", "/dev/tty"),
        traced.ShowPath("/dev/pts", "/dev/pts", access="list", optional=True),
        traced.ShowFile("/dev/.apt.conf", b'Dpkg::Use-Pty "0";\n', read_only=True, place="/s/c/room"),
        traced.ShowDirectory("/dev/shm", mode=0o1777),
        traced.ShowFile("/etc/hosts", hosts_text(REQUEST, FACTS).encode()),
        traced.ShowFile("/etc/hostname", b"box\n"),
        traced.ShowFile("/etc/resolv.conf", b"nameserver 192.0.2.1\n"),
        op.NoteUser("bob"),
        op.MakeDirectory("/work"),
        op.NoNewPrivileges(),
        CONFINE,
        op.Chdir("/work"),
        traced.InstallTracedFilter(),
        op.InstallSeccomp(CAPABILITIES),
        traced.RunTraced("/usr/bin/proot", argv=("prog", "arg"), env=("PATH=/bin", APT), user="bob"),
    )
    assert not any(msgspec.structs.asdict(plan_namespaces(REQUEST, FACTS)).values())


def test_a_further_program_is_shown_the_same():
    wanted = ExecRequest(argv=("ls",), env=("A=1",), working_dir="/tmp", user="root", terminal=Terminal(24, 80))
    steps = plan_exec(REQUEST, FACTS, wanted)
    assert [one for one in steps if isinstance(one, traced.ShowPath | traced.ShowFile | traced.ShowDirectory)] == [
        one for one in planned() if isinstance(one, traced.ShowPath | traced.ShowFile | traced.ShowDirectory)
    ]
    assert not any(isinstance(one, op.MakeLink | op.MakeDirectory | op.NoteUser) for one in steps)
    assert op.OpenTerminal(24, 80, console=False, hosts=True) in steps
    assert op.Chdir("/tmp") in steps
    assert steps[-1] == traced.RunTraced("/usr/bin/proot", argv=("ls",), env=("A=1", APT), user="root", announce=False)


def test_mounts_of_all_kinds_are_shown():
    facts = msgspec.structs.replace(FACTS, memory_room="/dev/shm/one")
    steps = planned(
        facts,
        binds=(Bind("/host", "/b", read_only=True),),
        tmpfs=(Tmpfs("/t", "mode=700,ro"), Tmpfs("/u")),
        mounts=(
            CacheBind(source="/s/caches/1", target="/c", path="/in"),
            SecretFile(target="/run/secrets/x", content=b"hush", mode=0o400),
            SocketBind(source="/tmp/agent", target="/run/agent"),
            LayerBind(target="/l", lowers=("/s/c/rooms/0/tree",), source="/etc", room="/s/c/rooms/0"),
        ),
    )
    for expected in (
        traced.ShowPath("/host", "/b", access="read"),
        traced.ShowDirectory("/t", mode=0o700, read_only=True),
        traced.ShowDirectory("/u", mode=0o1777),
        traced.ShowPath("/s/caches/1", "/c", within="/in"),
        traced.ShowFile("/run/secrets/x", b"hush", mode=0o400, read_only=True, place="/dev/shm/one"),
        traced.ShowPath("/tmp/agent", "/run/agent"),
        traced.ShowPath("/s/c/rooms/0/tree", "/l", access="read", within="/etc"),
    ):
        assert expected in steps
    assert "hush" not in repr(steps)


def test_without_network_there_are_no_sockets_but_unix_ones():
    assert op.RefuseSockets() in planned(network="none")
    assert op.RefuseSockets() not in planned()


def test_the_filters_come_last_and_what_opens_files_before_the_confinement():
    kinds = [type(step) for step in planned(terminal=Terminal(24, 80), binds=(Bind("/x", "/x"),))]
    assert kinds[-4:] == [op.Chdir, traced.InstallTracedFilter, op.InstallSeccomp, traced.RunTraced]
    place = kinds.index(traced.Confine)
    assert all(kinds.index(kind) < place for kind in (traced.UseTree, op.OpenTerminal, op.MakeDirectory))
    assert traced.ShowPath not in kinds[place:]


def test_root_without_namespaces_keeps_dockers_capabilities_only():
    steps = planned(fake_ids=False)
    place = steps.index(op.LimitCapabilities(CAPABILITIES))
    assert steps[place + 1] == op.DropCapabilities(CAPABILITIES)
    assert place < steps.index(CONFINE)


def test_files_are_confined_where_the_kernel_can_do_it_without_harm():
    old = planned(msgspec.structs.replace(FACTS, landlock=1, scopes=False))
    assert [(one.files, one.signals) for one in old if isinstance(one, traced.Confine)] == [(False, False)]


def test_privileged_means_no_filter_and_no_scopes_but_the_files_stay_closed():
    steps = planned(security=Security(privileged=True))
    assert not any(isinstance(one, op.InstallSeccomp) for one in steps)
    assert msgspec.structs.replace(CONFINE, signals=False, sockets=False) in steps


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"binds": (Bind("/host", "/b", read_only=True),)}, "/b cannot be kept read-only"),
        ({"read_only": True}, "--read-only"),
    ],
)
def test_read_only_is_refused_where_it_could_not_be_kept(changes, words):
    with pytest.raises((InvalidInput, LaunchFailed), match=words):
        planned(msgspec.structs.replace(FACTS, landlock=2), **changes)
    planned(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"security": Security(runtime="runc")}, "--runtime runc"),
        ({"security": Security(sysctls={"net.core.somaxconn": "9"})}, "--sysctl net.core.somaxconn"),
        ({"security": Security(gpus="all")}, "--gpus"),
        ({"lowers": ("/s/layers/1/diff",)}, "a tree of its own"),
        (
            {"mounts": (LayerBind(target="/l", lowers=("/s/layers/1/diff",), room="/s/r"),)},
            "another stage or image at /l",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(changes, words):
    with pytest.raises((InvalidInput, LaunchFailed), match=words):
        planned(**changes)


def test_without_proot_it_is_said_how_to_get_it():
    with pytest.raises(LaunchFailed, match="proot is not installed") as caught:
        planned(msgspec.structs.replace(FACTS, tracer=None))
    assert "apt-get install proot" in str(caught.value.hint)


def test_what_it_is_kept_apart_by_is_said():
    bare = msgspec.structs.replace(FACTS, landlock=0, scopes=False)
    assert isolation(REQUEST, FACTS)["Root"] == TRACED
    assert isolation(REQUEST, FACTS)["Landlock"] == "files, signals, abstract sockets"
    assert isolation(REQUEST, bare)["Landlock"] == ""
    assert len(fallbacks(REQUEST, FACTS)) == 1
    assert [text.partition(":")[0] for text in fallbacks(changed(network="none"), bare)] == [
        "no namespaces",
        "no Landlock for files",
        "no Landlock scopes",
        "no network namespace",
    ]
