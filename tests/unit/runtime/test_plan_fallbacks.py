"""Each thing that a host may refuse has a stand-in of its own, and what it is gets said."""

from __future__ import annotations

import msgspec
import pytest

from contextkernel.errors import InvalidInput, LaunchFailed
from contextkernel.model.container import ContainerSpec, ExecRequest, LaunchRequest, Terminal, Tmpfs
from contextkernel.model.digest import Digest
from contextkernel.model.ids import IdMap
from contextkernel.model.networks import NetworkLaunch
from contextkernel.model.results import Fact, HostReport
from contextkernel.model.security import Join, Security
from contextkernel.runtime import operations as op
from contextkernel.runtime.document import make_plan
from contextkernel.runtime.facts import HostFacts, from_report
from contextkernel.runtime.fallbacks import expected, fallbacks, isolation, lowered, unheard
from contextkernel.runtime.plan import plan_operations
from contextkernel.runtime.plan_exec import plan_exec
from contextkernel.runtime.plan_oci import plan_start
from contextkernel.runtime.plan_security import CAPABILITIES, Namespaces, container_capabilities, plan_namespaces

FACTS = HostFacts(user_namespace=True, cgroup="unified", scopes=True, tracing=True)
REQUEST = LaunchRequest(
    id="abc", argv=("prog",), env=(), hostname="box", network="none", lowers=("/s/1",), upper="/s/c/up", work="/s/c/w"
)


def lacking(**changes: object) -> HostFacts:
    return msgspec.structs.replace(FACTS, **changes)


def asking(**security: object) -> LaunchRequest:
    return msgspec.structs.replace(REQUEST, security=Security(**security))  # type: ignore[arg-type]


def changes(facts: HostFacts, request: LaunchRequest = REQUEST) -> tuple[set[object], set[object]]:
    """Which operations go, and which come, when the host lacks something."""
    usual = msgspec.structs.replace(FACTS, user_namespace=facts.user_namespace)
    before, after = plan_operations(request, usual), plan_operations(request, facts)
    return set(before) - set(after), set(after) - set(before)


SYSCTLS = {
    op.LoopbackUp(),
    op.SetSysctl("net/ipv4/ip_unprivileged_port_start", "0"),
}
SIGNALS = op.LimitScope(signals=True, sockets=False)
DEV = "/dev/shm"


@pytest.mark.parametrize(
    ("facts", "without", "instead"),
    [
        # no pid namespace: the host's processes, whom Landlock keeps it from; their /proc cannot be written to
        ({"pid": False, "proc": "bind"}, {op.MountProc()}, {op.BindProc(), op.ProtectProc(), SIGNALS}),
        # one could be had, but its numbers would not be those of the /proc that is shown
        ({"proc": "bind"}, {op.MountProc()}, {op.BindProc(), op.ProtectProc(), SIGNALS}),
        (
            {"proc": "bind", "scopes": False},
            {op.MountProc()},
            {op.BindProc(), op.ProtectProc(), op.LimitScope(signals=False, sockets=False, tracing=True)},
        ),
        ({"proc": "bind", "scopes": False, "tracing": False}, {op.MountProc()}, {op.BindProc(), op.ProtectProc()}),
        # as root of the machine a new /proc can be had in any case
        (
            {"pid": False, "user_namespace": False},
            {op.MountProc()},
            {op.MountProc(options="hidepid=ptraceable"), SIGNALS},
        ),
        ({"pid": False}, {op.MountProc()}, {op.BindProc(), op.ProtectProc(), SIGNALS}),
        (
            {"network": False, "sysfs": "bind"},
            {*SYSCTLS, op.MountSysfs()},
            {op.BindSysfs(), op.RefuseSockets(), op.LimitScope(signals=False, sockets=True)},
        ),
        ({"uts": False}, {op.SetHostname("box")}, set()),
        ({"ipc": False}, {op.MountMqueue()}, set()),
        ({"cgroup_namespace": False, "sysfs": "fresh"}, {op.MountCgroup()}, set()),
        (
            {"cgroup_namespace": False, "sysfs": "bind"},
            {op.MountCgroup(), op.MountSysfs()},
            {op.BindSysfs(), op.MaskPath("/sys/fs/cgroup")},
        ),
        ({"root": "move"}, {op.PivotRoot()}, {op.MoveRoot()}),
        ({"mqueue": False}, {op.MountMqueue()}, set()),
        (
            {"devpts": False},
            {
                op.MountDevpts("/dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5"),
                op.MakeLink("/dev/ptmx", "pts/ptmx"),
            },
            set(),
        ),
        (
            {"tmpfs": False},
            {
                op.MountTmpfs("/dev", ("nosuid", "nodev", "strictatime"), "mode=755,size=65536k"),
                op.MountTmpfs(DEV, ("nosuid", "nodev", "noexec"), "mode=1777,size=65536k", "shm"),
            },
            {
                op.MakeScratch("/dev", "/s/c/rooms/scratch-4", ("nosuid", "nodev", "strictatime"), "755"),
                op.MakeScratch(DEV, "/s/c/rooms/scratch-7", ("nosuid", "nodev", "noexec"), "1777"),
            },
        ),
        ({"seccomp": False}, {op.InstallSeccomp(CAPABILITIES)}, set()),
    ],
)
def test_one_thing_that_is_refused_changes_what_belongs_to_it(facts, without, instead):
    assert changes(lacking(**facts)) == (without, instead)


def test_a_root_that_is_changed_by_chroot_alone_takes_the_capability_for_it():
    less = tuple(name for name in CAPABILITIES if name != "CAP_SYS_CHROOT")
    gone, come = changes(lacking(root="chroot"))
    assert gone == {
        op.PivotRoot(),
        op.LimitCapabilities(CAPABILITIES),
        op.InstallSeccomp(CAPABILITIES),
        op.DropCapabilities(CAPABILITIES),
    }
    assert come == {op.ChangeRoot(), op.LimitCapabilities(less), op.InstallSeccomp(less), op.DropCapabilities(less)}
    with pytest.raises(InvalidInput, match="CAP_SYS_CHROOT cannot be given"):
        plan_operations(asking(cap_add=("CAP_SYS_CHROOT",)), lacking(root="chroot"))
    # the engine's own power is asked for
    assert "CAP_SYS_CHROOT" in container_capabilities(asking(privileged=True), lacking(root="chroot"))
    assert "CAP_SYS_CHROOT" not in container_capabilities(asking(cap_add=("ALL",)), lacking(root="chroot"))
    # below a root that was moved there is the host's: who may unmount as well could come to it
    assert "CAP_SYS_CHROOT" in container_capabilities(asking(), lacking(root="move"))
    assert "CAP_SYS_CHROOT" not in container_capabilities(asking(cap_add=("CAP_SYS_ADMIN",)), lacking(root="move"))
    assert "CAP_SYS_CHROOT" in container_capabilities(asking(cap_add=("CAP_SYS_ADMIN",)), FACTS)


@pytest.mark.parametrize(
    ("facts", "chosen"),
    [
        ({}, Namespaces(network=True)),
        ({"pid": False}, Namespaces(network=True, pid=False)),
        ({"proc": "bind"}, Namespaces(network=True, pid=False)),
        ({"proc": "bind", "scopes": False}, Namespaces(network=True)),
        ({"network": False}, Namespaces()),
        ({"uts": False, "ipc": False}, Namespaces(network=True, uts=False, ipc=False)),
        ({"cgroup_namespace": False}, Namespaces(network=True, cgroup=False)),
    ],
)
def test_namespaces(facts, chosen):
    assert plan_namespaces(REQUEST, lacking(**facts)) == chosen


def test_the_order_of_what_stands_in():
    order = [type(step).__name__ for step in plan_operations(REQUEST, lacking(proc="bind", network=False))]
    # numbers above are set through the files of /proc that can be written to until then
    assert order.index("PivotRoot") < order.index("MaskPath") < order.index("ProtectProc") < order.index("Chdir")
    assert order.index("SetUser") < order.index("InstallSeccomp") < order.index("RefuseSockets") < order.index("Exec")
    single = plan_operations(msgspec.structs.replace(REQUEST, fake_ids=True), lacking(network=False))
    assert [type(step).__name__ for step in single][-4:-1] == ["InstallSeccomp", "RefuseSockets", "InstallFakeIds"]


@pytest.mark.parametrize("missing", ["seccomp_notify", "chroot"])
def test_owners_are_lost_where_nobody_can_note_them(missing):
    fact = Fact(name=missing, verdict="refused", reason="why")
    facts = from_report(IdMap(), HostReport(tier="rootless-single", facts=(fact,)))
    steps = plan_operations(msgspec.structs.replace(REQUEST, fake_ids=True), facts)
    (step,) = (step for step in steps if isinstance(step, op.InstallFakeIds))
    assert step.lost == f"{missing}: why"


def test_what_was_asked_for_is_no_fallback():
    shared = asking(pid="host")
    steps = plan_operations(shared, lacking(proc="bind"))
    assert op.BindProc() in steps
    assert op.ProtectProc() not in steps  # as with docker
    assert fallbacks(shared, lacking(proc="bind")) == ()
    assert op.ProtectProc() not in plan_operations(asking(privileged=True), lacking(proc="bind"))
    # whoever may mount cannot be kept from tracing by a Landlock domain about files: it refuses mounts
    more = lacking(proc="bind", scopes=False)
    assert op.LimitScope(signals=False, sockets=False, tracing=True) in plan_operations(asking(), more)
    for wanted in ({"cap_add": ("CAP_SYS_ADMIN",)}, {"landlock": False}):
        assert not any(isinstance(step, op.LimitScope) for step in plan_operations(asking(**wanted), more))


def test_a_network_of_another_container_is_no_filters_business():
    joined = lacking(network=False, network_file="/proc/5/fd/4")
    assert op.RefuseSockets() not in plan_operations(REQUEST, joined)
    assert isolation(REQUEST, joined)["Network"] == "own"


@pytest.mark.parametrize(
    ("facts", "request_", "error", "text"),
    [
        ({"seccomp": False, "network": False}, REQUEST, LaunchFailed, "neither network namespaces nor seccomp"),
        ({"seccomp": False}, asking(seccomp="{}"), LaunchFailed, "cannot run a custom seccomp profile"),
        ({"devpts": False}, msgspec.structs.replace(REQUEST, terminal=Terminal()), LaunchFailed, "no terminal"),
        ({"network": False}, asking(sysctls={"net.core.somaxconn": "1"}), InvalidInput, "needs a network namespace"),
        ({"ipc": False}, asking(sysctls={"kernel.shmmax": "1"}), InvalidInput, "needs an ipc namespace"),
    ],
)
def test_what_nothing_can_stand_in_for_is_refused(facts, request_, error, text):
    with pytest.raises(error, match=text) as caught:
        plan_operations(request_, lacking(**facts))
    assert caught.value.hint


def test_exec_gets_the_same():
    steps = plan_exec(REQUEST, lacking(proc="bind", network=False), ExecRequest(argv=("more",), env=()))
    assert {op.RefuseSockets(), op.LimitScope(signals=True, sockets=True)} <= set(steps)


def test_every_scratch_directory_is_its_own():
    request = msgspec.structs.replace(REQUEST, tmpfs=(Tmpfs("/a"), Tmpfs("/b", "mode=700,size=1m")))
    steps = [step for step in plan_operations(request, lacking(tmpfs=False)) if isinstance(step, op.MakeScratch)]
    assert [(step.target, step.mode) for step in steps] == [("/dev", "755"), (DEV, "1777"), ("/a", ""), ("/b", "700")]
    assert len({step.source for step in steps}) == len(steps)
    mounts = {mount.destination: mount for mount in make_plan(request, lacking(tmpfs=False), IdMap()).document.mounts}
    assert (mounts["/a"].type, mounts["/a"].source) == ("bind", steps[2].source)


@pytest.mark.parametrize(
    ("facts", "text"),
    [({"pid": False, "user_namespace": False}, "no new /proc"), ({"root": "move"}, "refuses pivot_root")],
)
def test_another_runtime_has_no_fallbacks(facts, text):
    with pytest.raises(InvalidInput, match=text):
        plan_start(asking(runtime="runc"), lacking(**facts))


def test_isolation_in_words():
    assert isolation(REQUEST, FACTS) == {
        "User": "own",
        "Pid": "own",
        "Proc": "fresh",
        "Sys": "fresh",
        "Network": "own",
        "Uts": "own",
        "Ipc": "own",
        "Cgroup": "own",
        "Root": "pivot_root",
        "SystemCalls": "filtered",
        "Landlock": "",
    }
    nothing = lacking(
        **dict.fromkeys(("pid", "network", "uts", "ipc", "cgroup_namespace", "seccomp"), False),
        user_namespace=False,
        proc="bind",
        sysfs="bind",
        root="chroot",
    )
    host = msgspec.structs.replace(REQUEST, network="host")
    assert isolation(host, nothing) == {
        **dict.fromkeys(("User", "Pid", "Network", "Uts", "Ipc", "Cgroup"), "host"),
        "Proc": "host, read-only",
        "Sys": "host, read-only",
        "Root": "chroot",
        "SystemCalls": "not filtered",
        "Landlock": "signals, abstract sockets",
    }
    joins = msgspec.structs.replace(REQUEST, joins=(Join("pid", 5), Join("ipc", 5)))
    assert [isolation(joins, FACTS)[name] for name in ("Pid", "Ipc")] == ["container", "container"]
    assert isolation(joins, lacking(pid=False))["Pid"] == "host"  # there is one pid namespace for all
    assert isolation(REQUEST, lacking(network=False))["Network"] == "host, closed by a system call filter"


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"pid": False}, "no pid namespace: the container shares the host's processes, which it can neither signal"),
        ({"pid": False, "scopes": False}, "no pid namespace: the container shares the host's processes (why)"),
        ({"proc": "bind"}, "no new /proc: the container shares the host's processes"),
        ({"proc": "bind", "scopes": False}, "no new /proc: the host's, read-only, whose process numbers are not"),
        ({"network": False}, "no network namespace: --network none leaves no sockets but unix ones"),
        ({"uts": False}, "no uts namespace"),
        ({"ipc": False}, "no ipc namespace"),
        ({"cgroup_namespace": False}, "no cgroup namespace"),
        ({"root": "move"}, "no pivot_root: the host's root stays mounted"),
        ({"root": "chroot"}, "no pivot_root: the root is changed by chroot only"),
        ({"tmpfs": False}, "no tmpfs"),
        ({"devpts": False}, "no devpts"),
        ({"mqueue": False}, "no mqueue"),
        ({"seccomp": False}, "no seccomp"),
    ],
)
def test_each_fallback_is_said_with_the_hosts_reason(facts, text):
    known = ("pid_namespace", "fresh_proc", "network_namespace", "uts_namespace", "ipc_namespace", "cgroup_namespace")
    known = (*known, "pivot_root", "tmpfs", "devpts", "mqueue", "seccomp")
    (said,) = fallbacks(REQUEST, lacking(**facts, refusals=dict.fromkeys(known, "why")))
    assert said.startswith(text)
    assert said.endswith("(why)")


def test_a_bridge_that_cannot_be_had_is_said():
    bridged = msgspec.structs.replace(REQUEST, network="host", attach=NetworkLaunch(mode="bridge", root="/s"))
    assert fallbacks(bridged, lacking(network=False)) == ("no network namespace: the container has the host's network",)
    assert fallbacks(REQUEST, FACTS) == ()


def test_a_lowered_floor_is_a_warning():
    assert lowered(FACTS) == lowered(lacking(proc="bind")) == lowered(lacking(pid=False, uts=False)) == ()
    assert lowered(lacking(pid=False, scopes=False, refusals={"pid_namespace": "why"})) == (
        "containers share the host's processes, and can signal those of the same user: why",
    )
    (text,) = lowered(lacking(seccomp=False))
    assert text == "containers run without a system call filter"
    assert len(lowered(lacking(root="chroot", seccomp=False))) == 2


def test_facts_from_a_report():
    names = ("pid_namespace", "network_namespace", "uts_namespace", "ipc_namespace", "cgroup_namespace", "tmpfs")
    names = (*names, "devpts", "mqueue", "seccomp", "pivot_root", "landlock")
    parts = ("pid", "network", "uts", "ipc", "cgroup_namespace", "tmpfs", "devpts", "mqueue", "seccomp")

    def facts(**verdicts: str) -> HostFacts:
        found = tuple(Fact(name=name, verdict=word, reason=f"why {name}") for name, word in verdicts.items())
        return from_report(IdMap(), HostReport(tier="rootful", facts=found))

    works, refused = facts(**dict.fromkeys(names, "works")), facts(**dict.fromkeys(names, "refused"))
    for part in parts:
        assert getattr(works, part)
        assert not getattr(refused, part)
    assert (works.root, refused.root) == ("pivot", "move")
    assert facts(pivot_root="refused", move_root="refused").root == "chroot"
    assert facts(move_root="refused").root == "pivot"
    assert refused.refusals == {name: f"why {name}" for name in names}
    assert works.refusals == {}
    assert not refused.scopes
    assert not refused.tracing


SPEC = ContainerSpec(
    id="a" * 64,
    name="x",
    image="i",
    image_id=Digest("sha256:" + "0" * 64),
    argv=("prog",),
    hostname="a" * 12,
    created=1,
)


def spec(**changes: object) -> ContainerSpec:
    return msgspec.structs.replace(SPEC, **changes)


def test_a_container_that_was_never_started():
    assert expected(SPEC, FACTS) == (isolation(REQUEST, FACTS), ())
    assert expected(SPEC, lacking(network=False))[0]["Network"] == "host"
    closed, said = expected(spec(network="none"), lacking(network=False))
    assert closed["Network"] == "host, closed by a system call filter"
    assert len(said) == 1
    assert expected(spec(network="host", security=Security(pid="host")), FACTS)[0]["Pid"] == "host"


def test_what_was_asked_for_and_is_not_had_is_a_warning():
    assert list(unheard(spec(hostname="mine", network="none"), FACTS)) == []
    refusals = {"uts_namespace": "why", "network_namespace": "none left"}
    facts = lacking(uts=False, network=False, refusals=refusals)
    assert list(unheard(SPEC, facts)) == []  # nothing of it was asked for
    assert list(unheard(spec(hostname="mine", network="none"), facts)) == [
        "the host name is the host's, only HOSTNAME is mine: why",
        "--network none is kept by a system call filter: no sockets but unix ones, and no loopback: none left",
    ]
    for other in (spec(hostname="mine", security=Security(uts="host")), spec(hostname="mine", network="container:x")):
        assert list(unheard(other, facts)) == []


def test_published_ports_that_cannot_be_had():
    from contextkernel.model.networking import Networking

    asked = spec(networking=Networking(publish_all=True))
    assert list(unheard(asked, lacking(network=False))) == [
        "published ports are discarded: the container has the host's network"
    ]
    assert list(unheard(asked, FACTS)) == []


def test_a_container_without_namespaces():
    nothing = dict.fromkeys(("pid", "network", "uts", "ipc", "cgroup_namespace"), False)
    facts = lacking(isolation="none", landlock=7, proc="bind", refusals={"user_namespace": "why"}, **nothing)
    found = isolation(msgspec.structs.replace(REQUEST, network="host"), facts)
    assert {found[name] for name in ("User", "Pid", "Proc", "Network", "Uts", "Ipc", "Cgroup")} == {"host"}
    assert (found["Root"], found["Landlock"]) == ("shown by a tracer (proot)", "files, signals, abstract sockets")
    assert isolation(REQUEST, facts)["Network"] == "host, closed by a system call filter"
    assert isolation(asking(privileged=True), facts)["Landlock"] == "files"
    said = fallbacks(REQUEST, facts)[0]
    assert said.startswith("no namespaces: a tracer (proot)")
    assert said.endswith("(why)")
    assert lowered(facts) == ()
