"""From a launch request and what the host allows to the exact, ordered set-up. Pure.

The order matters in these places: everything that needs the host's files comes before ``PivotRoot``; a fresh /proc and
/sys are only granted while the host's are still visible; the bounding set shrinks while there still is the capability
to shrink it; the filters are installed with the privilege to do so, which is why no_new_privs need not be set and
set-user-ID programs work inside as they do with docker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.errors import LaunchFailed
from contextkernel.runtime import operations as op
from contextkernel.runtime.plan_mounts import kept_sources, user_mounts, without_tmpfs
from contextkernel.runtime.plan_security import (
    devices,
    fresh_sysfs,
    identity,
    joins,
    masked_paths,
    nodev,
    proc,
    protects_proc,
    readonly_paths,
    shared_memory,
    sysctls,
    unconfined,
)
from contextkernel.runtime.plan_traced import plan_traced, plan_traced_exec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from contextkernel.model.container import ExecRequest, LaunchRequest
    from contextkernel.runtime.facts import HostFacts, RootSwitch
    from contextkernel.runtime.operations import Operation

#: runtime-spec, config-linux.md "default devices" and "dev symbolic links"
DEVICE_LINKS = (
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
)

ROOT_SWITCHES: Mapping[RootSwitch, Callable[[], Operation]] = {
    "pivot": op.PivotRoot,
    "move": op.MoveRoot,
    "chroot": op.ChangeRoot,
}
_OF_MEMORY = ("as", "data", "stack")
APT_CONFIG = "/dev/.apt.conf"
#: apt looks whether it has really become its sandbox user, so it must not try; its directories are still that user's
_APT_AS_ROOT = 'Debug::NoDropPrivs "true";\n'
_GENERATED = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


def plan_operations(request: LaunchRequest, facts: HostFacts) -> tuple[Operation, ...]:
    """The ordered steps that set up ``request`` on this host.

    Raises:
        InvalidInput: a mount target that is not possible, or an unknown tmpfs option.
    """
    operations = _operations(request, facts)
    return operations if facts.tmpfs else without_tmpfs(operations, request)


def _operations(request: LaunchRequest, facts: HostFacts) -> tuple[Operation, ...]:
    wanted = user_mounts(request, facts)
    if facts.isolation == "none":
        return plan_traced(request, facts, wanted, _generated_files(request, facts, {one.target for one in wanted}))
    return (
        *kept_sources(wanted),
        op.MakePrivate(),
        op.NewKeyring(f"_ses.{request.id}"),
        *joins(request, facts),
        _root(request, facts),
        proc(request, facts),
        *_dev(request, facts, {mount.target for mount in wanted}),
        *_sys(request, facts),
        *(op.ProcFile(target, content) for target, content in facts.proc_files),
        *_generated_files(request, facts, {mount.target for mount in wanted}),
        *wanted,
        *devices(request),
        # BuildKit gives it to the step's user (executor/runcexecutor)
        op.MakeDirectory(request.working_dir, request.user if request.sandbox and not request.fake_ids else ""),
        *_names(request, facts),
        *_network(request, facts),
        *sysctls(request, facts),
        *([op.AwaitGroup(facts.private_group and facts.cgroup_namespace)] if facts.join_group else ()),
        *([op.NoteUser(request.user)] if request.fake_ids else ()),
        ROOT_SWITCHES[facts.root](),
        *(op.MaskPath(path) for path in masked_paths(request, facts)),
        *(op.ReadonlyPath(path) for path in readonly_paths(request)),
        *([op.RemountReadonly()] if request.read_only else ()),
        *limits(request, facts),
        *([op.ProtectProc()] if protects_proc(request, facts) else ()),
        op.Chdir(request.working_dir),
        *identity(request, facts),
        *memory_limits(request),
        *([op.StartInit()] if request.init else ()),
        op.Exec(request.argv, environment(request), request.secret_env),
    )


def plan_traced_program(request: LaunchRequest, facts: HostFacts, wanted: ExecRequest) -> tuple[Operation, ...]:
    """The steps of a further program on a host that allows no namespaces: what is shown is shown to it by itself.

    Args:
        request: the container, as its init was started.
        facts: what this host allows.
        wanted: the program.
    """
    mounts = user_mounts(request, facts)
    files = _generated_files(request, facts, {one.target for one in mounts})
    return plan_traced_exec(request, facts, wanted, mounts, files)


def limits(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    """What bounds each process by itself; a low priority cannot be raised again, so it comes late."""
    for limit in (*request.limits, *request.resources.ulimits):
        if limit.name not in _OF_MEMORY:
            yield op.SetLimit(limit.name, limit.soft, limit.hard)
    if request.resources.oom_score_adj:
        yield op.SetOomScore(request.resources.oom_score_adj)
    if facts.nice:
        yield op.SetNice(facts.nice)


def memory_limits(request: LaunchRequest) -> Iterator[Operation]:
    """Those of them that may be too small for the set-up itself; nothing but the program comes after them."""
    for limit in (*request.limits, *request.resources.ulimits):
        if limit.name in _OF_MEMORY:
            yield op.SetLimit(limit.name, limit.soft, limit.hard)


def _root(request: LaunchRequest, facts: HostFacts) -> Operation:
    keep = request.state_dir is not None and not request.sandbox
    if not request.lowers:
        return op.BindRoot(request.upper, nodev=nodev(request, facts), keep_own=request.sandbox, keep_points=keep)
    return op.MountOverlay(
        lowers=request.lowers,
        upper=request.upper,
        work=request.work,
        userxattr=facts.user_namespace,
        volatile=request.state_dir is None or bool(request.remove),
        nodev=nodev(request, facts),
        keep_own=request.sandbox,
        keep_points=keep,
    )


def _dev(request: LaunchRequest, facts: HostFacts, taken: set[str]) -> Iterator[Operation]:
    # nodev: the devices in here are binds, which keep their own mount's flags. It stands in for docker's device cgroup:
    # root in the container may make any node, and can open none of them.
    flags = ("nosuid", "nodev", "strictatime") if nodev(request, facts) else ("nosuid", "strictatime")
    yield op.MountTmpfs("/dev", flags, "mode=755,size=65536k")
    group = ",gid=5" if facts.tty_group else ""
    if facts.devpts:
        yield op.MountDevpts("/dev/pts", f"newinstance,ptmxmode=0666,mode=0620{group}")
    elif request.terminal is not None:
        raise LaunchFailed(
            "this host can give a container no terminal",
            hint=f"leave out -t: {facts.refusals.get('devpts') or 'file systems of kind devpts cannot be mounted'}",
        )
    shared = request.security.ipc == "host" or not facts.ipc
    if facts.mqueue and "/dev/mqueue" not in taken and not (shared and facts.user_namespace):
        yield op.MountMqueue()  # of the host's own queues only the host's root may make one
    if "/dev/shm" not in taken:  # noqa: S108 - the container's own
        yield from shared_memory(request)
    for name in (*facts.devices, *(facts.more_devices if request.insecure else ())):
        if f"/dev/{name}" not in taken:
            yield op.MakeDevice(f"/dev/{name}")
    missing = {"/dev/core": not facts.kcore, "/dev/ptmx": not facts.devpts}
    for target, link in DEVICE_LINKS:
        if not missing.get(target):
            yield op.MakeLink(target, link)
    if request.fake_ids:
        yield op.WriteFile(APT_CONFIG, _APT_AS_ROOT)
    if request.terminal is not None:
        yield op.OpenTerminal(request.terminal.rows, request.terminal.columns, console=True)


def _sys(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    kind = op.MountSysfs if fresh_sysfs(request, facts) else op.BindSysfs
    yield kind(read_only=not unconfined(request))
    if facts.cgroup == "unified" and facts.cgroup_namespace:
        yield op.MountCgroup()


def _generated_files(request: LaunchRequest, facts: HostFacts, taken: set[str]) -> Iterator[op.HostsFile]:
    if not request.hosts_files:
        return
    content = {
        "/etc/hosts": facts.hosts_file or hosts_text(request, facts),
        "/etc/hostname": f"{request.hostname}\n",
        "/etc/resolv.conf": facts.resolv_conf,
    }
    for target in _GENERATED:
        if target not in taken and not (request.sandbox and target == "/etc/hostname"):
            yield op.HostsFile(target, content[target], read_only=request.sandbox or request.read_only)


def hosts_text(request: LaunchRequest, facts: HostFacts) -> str:
    """Content of /etc/hosts: docker's lines, or the host's own for the host's network; then the container's name.

    For a build step BuildKit's lines, whatever the network is (``executor/oci/hosts.go``).
    """
    more = "".join(f"{address}\t{name}\n" for name, address in request.hosts)
    if request.sandbox:
        return f"127.0.0.1\tlocalhost {request.hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n{more}"
    own = f"127.0.1.1\t{request.hostname}\n"
    if request.network == "host" and facts.hosts:
        known = {name for line in facts.hosts.splitlines() for name in line.partition("#")[0].split()[1:]}
        text = facts.hosts if facts.hosts.endswith("\n") else f"{facts.hosts}\n"
        return (text if request.hostname in known else text + own) + more
    return (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        f"{own}{more}"
    )


def _names(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    if facts.uts and request.security.uts != "host":
        yield op.SetHostname(request.hostname, request.networking.domainname)


def _network(request: LaunchRequest, facts: HostFacts) -> Iterator[Operation]:
    if request.network == "none" and (facts.network or facts.network_file):
        yield op.LoopbackUp()
        yield op.SetSysctl("net/ipv4/ip_unprivileged_port_start", "0")
        if not facts.user_namespace:  # there it would have to name mapped groups only
            yield op.SetSysctl("net/ipv4/ping_group_range", "0 2147483647")


def environment(request: LaunchRequest) -> tuple[str, ...]:
    """The program's, with what this engine has to add."""
    if not request.fake_ids or any(item.startswith("APT_CONFIG=") for item in request.env):
        return request.env
    return (*request.env, f"APT_CONFIG={APT_CONFIG}")
