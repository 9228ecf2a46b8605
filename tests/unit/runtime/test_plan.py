"""The plan: the exact ordered operations, and what changes them."""

from __future__ import annotations

import msgspec
import pytest

from contextkernel.errors import InvalidInput
from contextkernel.model.codec import to_json
from contextkernel.model.container import Bind, LaunchRequest, Tmpfs
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.results import Fact, HostReport
from contextkernel.runtime import facts as facts_module
from contextkernel.runtime import operations as op
from contextkernel.runtime.document import make_plan
from contextkernel.runtime.facts import HostFacts
from contextkernel.runtime.plan import hosts_text, plan_operations
from contextkernel.runtime.plan_security import CAPABILITIES, MASKED_PATHS, plan_namespaces

FACTS = HostFacts(
    resolv_conf="nameserver 192.0.2.1\n", hosts="127.0.0.1 localhost\n192.0.2.7 machine # mine\n", cgroup="unified"
)
REQUEST = LaunchRequest(
    id="abc",
    argv=("prog", "arg"),
    env=("PATH=/bin",),
    working_dir="/work",
    user="bob",
    hostname="box",
    network="none",
    lowers=("/s/layers/1/diff", "/s/layers/2/diff"),
    upper="/s/c/upper",
    work="/s/c/work",
    state_dir="/s/c",
)
HOSTS = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n127.0.1.1\tbox\n"
)


def changed(**changes: object) -> LaunchRequest:
    return msgspec.structs.replace(REQUEST, **changes)


def names(request: LaunchRequest, facts: HostFacts = FACTS) -> list[str]:
    return [type(step).__name__ for step in plan_operations(request, facts)]


def test_exact_operations_as_root():
    assert plan_operations(REQUEST, FACTS) == (
        op.MakePrivate(),
        op.NewKeyring("_ses.abc"),
        op.MountOverlay(
            lowers=("/s/layers/1/diff", "/s/layers/2/diff"),
            upper="/s/c/upper",
            work="/s/c/work",
            userxattr=False,
            volatile=False,
            keep_points=True,
        ),
        op.MountProc("/proc"),
        op.MountTmpfs("/dev", ("nosuid", "nodev", "strictatime"), "mode=755,size=65536k"),
        op.MountDevpts("/dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        op.MountMqueue("/dev/mqueue"),
        op.MountTmpfs("/dev/shm", ("nosuid", "nodev", "noexec"), "mode=1777,size=65536k", "shm"),
        op.MakeDevice("/dev/null"),
        op.MakeDevice("/dev/zero"),
        op.MakeDevice("/dev/full"),
        op.MakeDevice("/dev/random"),
        op.MakeDevice("/dev/urandom"),
        op.MakeDevice("/dev/tty"),
        op.MakeLink("/dev/ptmx", "pts/ptmx"),
        op.MakeLink("/dev/fd", "/proc/self/fd"),
        op.MakeLink("/dev/stdin", "/proc/self/fd/0"),
        op.MakeLink("/dev/stdout", "/proc/self/fd/1"),
        op.MakeLink("/dev/stderr", "/proc/self/fd/2"),
        op.MakeLink("/dev/core", "/proc/kcore"),
        op.MountSysfs("/sys"),
        op.MountCgroup("/sys/fs/cgroup"),
        op.HostsFile("/etc/hosts", HOSTS),
        op.HostsFile("/etc/hostname", "box\n"),
        op.HostsFile("/etc/resolv.conf", "nameserver 192.0.2.1\n"),
        op.MakeDirectory("/work"),
        op.SetHostname("box"),
        op.LoopbackUp(),
        op.SetSysctl("net/ipv4/ip_unprivileged_port_start", "0"),
        op.SetSysctl("net/ipv4/ping_group_range", "0 2147483647"),
        op.PivotRoot(),
        op.MaskPath("/proc/asound"),
        op.MaskPath("/proc/acpi"),
        op.MaskPath("/proc/interrupts"),
        op.MaskPath("/proc/kcore"),
        op.MaskPath("/proc/keys"),
        op.MaskPath("/proc/latency_stats"),
        op.MaskPath("/proc/timer_list"),
        op.MaskPath("/proc/timer_stats"),
        op.MaskPath("/proc/sched_debug"),
        op.MaskPath("/proc/scsi"),
        op.MaskPath("/sys/firmware"),
        op.MaskPath("/sys/devices/virtual/powercap"),
        op.ReadonlyPath("/proc/bus"),
        op.ReadonlyPath("/proc/fs"),
        op.ReadonlyPath("/proc/irq"),
        op.ReadonlyPath("/proc/sys"),
        op.ReadonlyPath("/proc/sysrq-trigger"),
        op.Chdir("/work"),
        op.LimitCapabilities(CAPABILITIES),
        op.SetUser("bob", keep=True),
        op.InstallSeccomp(CAPABILITIES),
        op.DropCapabilities(CAPABILITIES),
        op.Exec(("prog", "arg"), ("PATH=/bin",)),
    )


def test_plan_is_deterministic():
    assert plan_operations(REQUEST, FACTS) == plan_operations(REQUEST, FACTS)


def test_single_id_on_a_host_that_masks_proc():
    facts = HostFacts(
        user_namespace=True,
        tty_group=False,
        setgroups=False,
        proc="bind",
        sysfs="bind",
        scopes=True,
        resolv_conf="",
        hosts="",
    )
    steps = plan_operations(changed(fake_ids=True, user="bob"), facts)
    assert op.BindProc() in steps
    assert op.BindSysfs() in steps
    assert op.MountDevpts("/dev/pts", "newinstance,ptmxmode=0666,mode=0620") in steps
    assert op.MaskPath("/sys/fs/cgroup") in steps
    assert op.WriteFile("/dev/.apt.conf", 'Debug::NoDropPrivs "true";\n') in steps
    overlay = next(step for step in steps if isinstance(step, op.MountOverlay))
    assert overlay.userxattr
    order = [type(step).__name__ for step in steps]
    assert op.NoteUser("bob") in steps
    assert order.index("MountOverlay") < order.index("NoteUser") < order.index("PivotRoot")
    assert steps[-8:] == (
        op.ProtectProc(),
        op.Chdir("/work"),
        op.LimitCapabilities(CAPABILITIES),
        op.SetUser("bob", change=False, groups=False),
        op.LimitScope(signals=True, sockets=False),
        op.InstallSeccomp(CAPABILITIES),
        op.InstallFakeIds(),
        op.Exec(("prog", "arg"), ("PATH=/bin", "APT_CONFIG=/dev/.apt.conf")),
    )
    assert not plan_namespaces(REQUEST, facts).pid


def test_everything_of_the_host_comes_before_the_pivot():
    request = changed(binds=(Bind("/h", "/b"),), tmpfs=(Tmpfs("/t"),), read_only=True, init=True)
    order = names(request)
    pivot = order.index("PivotRoot")
    for name in ("MountOverlay", "MountProc", "MountSysfs", "MakeDevice", "BindMount", "HostsFile", "MakeDirectory"):
        assert max(place for place, found in enumerate(order) if found == name) < pivot
    # writing into the root, then freezing it; then giving up power; the program last
    assert pivot < order.index("MaskPath") < order.index("ReadonlyPath") < order.index("RemountReadonly")
    assert order[-7:] == [
        *("Chdir", "LimitCapabilities", "SetUser", "InstallSeccomp", "DropCapabilities", "StartInit", "Exec")
    ]


@pytest.mark.parametrize(
    ("changes", "volatile"),
    [({}, False), ({"state_dir": None}, True), ({"remove": ("/s/c",)}, True)],
)
def test_only_changes_that_are_thrown_away_or_committed_skip_syncing(changes, volatile):
    overlay = next(step for step in plan_operations(changed(**changes), FACTS) if isinstance(step, op.MountOverlay))
    assert overlay.volatile is volatile


def test_image_without_layers():
    assert op.BindRoot("/s/c/upper", keep_points=True) in plan_operations(changed(lowers=()), FACTS)


def test_host_network():
    order = names(changed(network="host"))
    assert "LoopbackUp" not in order
    assert "SetSysctl" not in order
    assert not plan_namespaces(changed(network="host"), FACTS).network
    rootless = HostFacts(user_namespace=True)
    assert op.BindSysfs() in plan_operations(changed(network="host"), rootless)
    assert op.MountSysfs() in plan_operations(changed(network="none"), rootless)


def test_hosts_file_of_the_host_network():
    request = changed(network="host")
    assert hosts_text(request, FACTS) == FACTS.hosts + "127.0.1.1\tbox\n"
    assert hosts_text(changed(network="host", hostname="machine"), FACTS) == FACTS.hosts
    assert hosts_text(changed(network="host", hostname="mine"), FACTS).endswith("127.0.1.1\tmine\n")


def test_user_mounts_outer_first_and_over_the_engines_own():
    request = changed(
        binds=(Bind("/h/deep", "/a/b/c"), Bind("/h/a", "/a/", read_only=True), Bind("/h/hosts", "/etc/hosts")),
        tmpfs=(Tmpfs("/dev/shm", "size=1g"), Tmpfs("/a/b")),
    )
    steps = plan_operations(request, FACTS)
    assert [step for step in steps if isinstance(step, op.BindMount)] == [
        op.BindMount("/h/a", "/a", read_only=True, nodev=True),
        op.BindMount("/h/hosts", "/etc/hosts", read_only=False, nodev=True),
        op.BindMount("/h/deep", "/a/b/c", read_only=False, nodev=True),
    ]
    assert [step.target for step in steps if isinstance(step, op.MountTmpfs)] == ["/dev", "/dev/shm", "/a/b"]
    assert [step.target for step in steps if isinstance(step, op.HostsFile)] == ["/etc/hostname", "/etc/resolv.conf"]


def test_no_devices_on_binds_without_a_user_namespace():
    request = changed(binds=(Bind("/h", "/b"),))
    for user_namespace in (True, False):
        steps = plan_operations(request, HostFacts(user_namespace=user_namespace))
        assert op.BindMount("/h", "/b", read_only=False, nodev=not user_namespace) in steps


@pytest.mark.parametrize(
    ("options", "flags", "values"),
    [
        ("", ("nosuid", "nodev", "noexec"), ""),
        ("size=64m,mode=1777", ("nosuid", "nodev", "noexec"), "size=64m,mode=1777"),
        ("rw,exec,suid", ("nodev",), ""),
        ("dev,exec", ("nosuid", "nodev"), ""),
        ("ro,noatime,size=1k", ("nosuid", "nodev", "noexec", "ro", "noatime"), "size=1k"),
    ],
)
def test_tmpfs_options(options, flags, values):
    assert op.MountTmpfs("/t", flags, values) in plan_operations(changed(tmpfs=(Tmpfs("/t", options),)), FACTS)


@pytest.mark.parametrize("options", ["bogus", "size", "uid=0,x=y", "exec=1"])
def test_unknown_tmpfs_option(options):
    with pytest.raises(InvalidInput, match="invalid tmpfs option"):
        plan_operations(changed(tmpfs=(Tmpfs("/t", options),)), FACTS)


@pytest.mark.parametrize("target", ["relative", "/", "//", "/a/..", "/proc", "/proc/sys", "/x/../proc"])
def test_impossible_mount_targets(target):
    with pytest.raises(InvalidInput, match="invalid mount target"):
        plan_operations(changed(binds=(Bind("/h", target),)), FACTS)


def test_apt_config_of_the_user_is_kept():
    request = changed(fake_ids=True, env=("APT_CONFIG=/mine",))
    assert plan_operations(request, FACTS)[-1] == op.Exec(("prog", "arg"), ("APT_CONFIG=/mine",))


def test_operations_survive_the_trip():
    steps = plan_operations(changed(binds=(Bind("/h", "/b"),), read_only=True, init=True, fake_ids=True), FACTS)
    data = msgspec.json.encode(steps)
    assert msgspec.json.decode(data, type=tuple[op.Operation, ...]) == steps


def test_document():
    idmap = IdMap((IdRange(0, 1000, 1), IdRange(1, 100000, 65536)), (IdRange(0, 1000, 1), IdRange(1, 100000, 65536)))
    facts = msgspec.structs.replace(FACTS, user_namespace=True)
    plan = make_plan(changed(binds=(Bind("/h", "/b", read_only=True),)), facts, idmap)
    assert plan.operations == plan_operations(changed(binds=(Bind("/h", "/b", read_only=True),)), facts)
    document = msgspec.json.decode(to_json(plan.document))
    assert document["ociVersion"] == "1.2.0"
    assert document["process"]["args"] == ["prog", "arg"]
    assert document["process"]["cwd"] == "/work"
    assert document["process"]["noNewPrivileges"] is False
    assert document["process"]["capabilities"] == {"bounding": list(CAPABILITIES), "effective": [], "permitted": []}
    assert document["linux"]["uidMappings"] == [
        {"containerID": 0, "hostID": 1000, "size": 1},
        {"containerID": 1, "hostID": 100000, "size": 65536},
    ]
    assert [space["type"] for space in document["linux"]["namespaces"]] == [
        *("user", "mount", "pid", "uts", "ipc", "cgroup", "network")
    ]
    assert document["linux"]["maskedPaths"] == list(MASKED_PATHS)
    assert document["linux"]["sysctl"] == {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert [mount["destination"] for mount in document["mounts"]] == [
        *("/proc", "/dev", "/dev/pts", "/dev/mqueue", "/dev/shm", "/sys", "/sys/fs/cgroup"),
        *("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/b"),
    ]
    assert document["mounts"][-1]["options"] == ["rbind", "rprivate", "rro"]


def test_document_says_what_is_missing():
    facts = HostFacts(user_namespace=True, setgroups=False, proc="bind", sysfs="bind", scopes=True)
    single = IdMap((IdRange(0, 1000, 1),), (IdRange(0, 1000, 1),))
    plan = make_plan(changed(fake_ids=True), facts, single)
    notes = {name.removeprefix("org.contextkernel.") for name in plan.document.annotations}
    assert notes == {"devices", "cgroup", "proc", "pid", "sysfs", "groups", "ids", "user"}
    assert "pid" not in [space.type for space in plan.document.linux.namespaces]
    plain = make_plan(changed(user=""), FACTS, IdMap())
    assert {name.removeprefix("org.contextkernel.") for name in plain.document.annotations} == {"devices"}
    assert plain.document.process.capabilities.effective == CAPABILITIES


@pytest.mark.parametrize(
    ("verdicts", "proc", "sysfs"),
    [
        ({}, "fresh", "fresh"),
        ({"fresh_proc": "works", "fresh_sys": "works"}, "fresh", "fresh"),
        ({"fresh_proc": "refused", "fresh_sys": "limited"}, "bind", "fresh"),
        ({"fresh_sys": "refused"}, "fresh", "bind"),
    ],
)
def test_facts_from_the_hosts_report(verdicts, proc, sysfs):
    report = HostReport(tier="rootless", facts=tuple(Fact(name=name, verdict=word) for name, word in verdicts.items()))
    found = facts_module.from_report(IdMap(), report)
    assert (found.proc, found.sysfs) == (proc, sysfs)


def test_facts_follow_the_id_map():
    own = IdRange(0, 1000, 1)
    assert not facts_module.gather(IdMap()).user_namespace
    single = facts_module.gather(IdMap((own,), (own,)))
    assert (single.user_namespace, single.tty_group, single.setgroups) == (True, False, False)
    many = facts_module.gather(IdMap((own, IdRange(1, 5000, 9)), (own, IdRange(1, 5000, 9))))
    assert (many.user_namespace, many.tty_group, many.setgroups) == (True, True, True)
