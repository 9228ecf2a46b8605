"""The launch plan as an OCI runtime-spec document (config.md, config-linux.md, v1.2). Pure.

It is what another runtime is given for the same container; annotations say where this host or engine differs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from contextkernel.runtime import operations as op
from contextkernel.runtime.oci import (
    Box,
    Capabilities,
    DeviceNode,
    DeviceRule,
    IdMapping,
    Linux,
    LinuxResources,
    Mount,
    Namespace,
    Process,
    Rlimit,
    Root,
    RuntimeDocument,
    Seccomp,
    User,
)
from contextkernel.runtime.oci_resources import block_io_of, cpu_of, memory_of, pids_of
from contextkernel.runtime.oci_seccomp import oci_seccomp
from contextkernel.runtime.plan import plan_operations
from contextkernel.runtime.plan_security import (
    container_capabilities,
    filtered,
    fresh_sysfs,
    masked_paths,
    plan_namespaces,
    readonly_paths,
    unconfined,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contextkernel.model.container import LaunchRequest
    from contextkernel.model.ids import IdMap, IdRange
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.runtime.operations import Operation
    from contextkernel.runtime.users import Identity

VERSION = "1.2.0"
_ANNOTATION = "org.contextkernel."
_NO_LIMIT = (1 << 64) - 1
_STANDARD = ("nosuid", "noexec", "nodev")


class LaunchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What ``run --plan`` shows: the document, and the ordered steps that realise it on this host."""

    document: RuntimeDocument
    operations: tuple[Operation, ...]


def make_plan(
    request: LaunchRequest,
    facts: HostFacts,
    idmap: IdMap,
    *,
    identity: Identity | None = None,
    nodes: Sequence[DeviceNode] = (),
) -> LaunchPlan:
    """Everything that launching ``request`` will do.

    Args:
        request: what to start.
        facts: what this host allows.
        idmap: the ids containers have.
        identity: the user, resolved in the image; ``None``: what can be told without the image.
        nodes: devices of the host that the container gets besides the standard ones.

    Raises:
        InvalidInput: a mount that is not possible, a seccomp profile that is not right.
    """
    operations = plan_operations(request, facts)
    document = make_document(request, facts, idmap, operations, identity=identity, nodes=nodes)
    return LaunchPlan(document=document, operations=operations)


def make_document(
    request: LaunchRequest,
    facts: HostFacts,
    idmap: IdMap,
    operations: Sequence[Operation],
    *,
    identity: Identity | None = None,
    nodes: Sequence[DeviceNode] = (),
) -> RuntimeDocument:
    """The document alone; arguments as for :func:`make_plan`."""
    user = _user(request, identity)
    bounding = container_capabilities(request, facts)
    own = bounding if user.uid == 0 and (user.username in ("", "0", "root") or request.fake_ids) else ()
    environment = next(step.env for step in operations if isinstance(step, op.Exec))
    size = request.terminal
    return RuntimeDocument(
        oci_version=VERSION,
        process=Process(
            terminal=size is not None,
            console_size=Box(size.rows, size.columns) if size is not None and size.rows else None,
            user=user,
            args=request.argv,
            env=environment,
            cwd=request.working_dir,
            capabilities=Capabilities(bounding=bounding, effective=own, permitted=own),
            rlimits=tuple(_rlimit(step) for step in operations if isinstance(step, op.SetLimit)),
            no_new_privileges=request.security.no_new_privileges,
            apparmor_profile=request.security.apparmor,
            oom_score_adj=request.resources.oom_score_adj,
        ),
        root=Root(path=request.upper, readonly=request.read_only),
        hostname=next((step.name for step in operations if isinstance(step, op.SetHostname)), ""),
        domainname=next((step.domain for step in operations if isinstance(step, op.SetHostname)), ""),
        mounts=tuple(_mounts(operations, generated_directory(request))),
        linux=Linux(
            namespaces=tuple(_namespaces(request, facts, idmap)),
            uid_mappings=_mappings(idmap.uids),
            gid_mappings=_mappings(idmap.gids),
            devices=tuple(nodes),
            resources=LinuxResources(
                devices=tuple(_device_rules(request, nodes)),
                memory=memory_of(request.resources),
                cpu=cpu_of(request.resources),
                pids=pids_of(request.resources),
                block_io=block_io_of(request.resources),
            ),
            sysctl={step.name.replace("/", "."): step.value for step in operations if isinstance(step, op.SetSysctl)},
            seccomp=_seccomp(request, facts, bounding),
            rootfs_propagation="private",
            masked_paths=masked_paths(request, facts),
            readonly_paths=readonly_paths(request),
        ),
        annotations={**_annotations(request, facts), **request.security.annotations},
    )


def generated_directory(request: LaunchRequest) -> str:
    """Where another runtime finds what is generated for the container: the bundle, beside its writable directory."""
    return os.path.join(os.path.dirname(request.upper), "bundle")


def oci_name(identity: str) -> str:
    """Name of a container for an OCI runtime."""
    return f"ck-{identity[:32]}"


def _user(request: LaunchRequest, identity: Identity | None) -> User:
    if request.fake_ids:
        return User(uid=0, gid=0, umask=0o022, username=request.user)
    if identity is not None:
        more = tuple(dict.fromkeys((identity.gid, *identity.groups)))
        return User(uid=identity.uid, gid=identity.gid, umask=0o022, additional_gids=more)
    name, _, group = request.user.partition(":")
    known = (not name or name.isdigit()) and (not group or group.isdigit())
    return User(
        uid=int(name or 0) if known else 0,
        gid=int(group or 0) if known else 0,
        umask=0o022,
        username="" if known else request.user,
    )


def _rlimit(step: op.SetLimit) -> Rlimit:
    hard, soft = (_NO_LIMIT if value < 0 else value for value in (step.hard, step.soft))
    return Rlimit(f"RLIMIT_{step.name.upper()}", hard, soft)


def _seccomp(request: LaunchRequest, facts: HostFacts, bounding: tuple[str, ...]) -> Seccomp | None:
    if not filtered(request, facts):
        return None
    profile = request.security.seccomp
    system = os.uname()
    major, minor = (int("".join(filter(str.isdigit, part)) or 0) for part in system.release.split(".")[:2])
    return oci_seccomp("" if profile == "builtin" else profile, frozenset(bounding), system.machine, (major, minor))


def _mappings(ranges: Sequence[IdRange]) -> tuple[IdMapping, ...]:
    return tuple(IdMapping(container_id=part.container, host_id=part.host, size=part.size) for part in ranges)


def _namespaces(request: LaunchRequest, facts: HostFacts, idmap: IdMap) -> Iterator[Namespace]:
    if not idmap.identity:
        yield Namespace("user")
    chosen = plan_namespaces(request, facts)
    joined: dict[str, str] = {join.kind: f"/proc/{join.pid}/ns/{join.kind}" for join in request.joins}
    for name in ("mount", "pid", "uts", "ipc", "cgroup", "network"):
        if name in joined or getattr(chosen, name):
            yield Namespace(name, joined.get(name, ""))


def _device_rules(request: LaunchRequest, nodes: Sequence[DeviceNode]) -> Iterator[DeviceRule]:
    """Docker's: nothing, then what is asked for; a runtime adds its standard devices by itself."""
    if unconfined(request):
        yield DeviceRule(allow=True, access="rwm")
        return
    yield DeviceRule(allow=False, access="rwm")
    for node in nodes:
        access = device_access(request, node)
        yield DeviceRule(allow=True, type=node.type, major=node.major, minor=node.minor, access=access)
    for rule in request.security.device_rules:
        kind, numbers, access = rule.split(" ")
        major, minor = (None if word == "*" else int(word) for word in numbers.split(":"))
        yield DeviceRule(allow=True, type=kind, major=major, minor=minor, access=access)


def device_access(request: LaunchRequest, node: DeviceNode) -> str:
    """What may be done with a device that was asked for, by itself or with the folder it is in."""
    permissions = {device.target: device.permissions for device in request.security.devices}
    places = (target for target in permissions if node.path == target or node.path.startswith(f"{target}/"))
    return permissions.get(next(places, ""), "rwm")


def _mounts(operations: Sequence[Operation], generated: str) -> Iterator[Mount]:
    protected = any(isinstance(step, op.ProtectProc) for step in operations)
    for step in operations:
        match step:
            case op.MountProc(target, options):
                words = (*_STANDARD, *filter(None, options.split(",")))
                yield Mount(destination=target, type="proc", source="proc", options=words)
            case op.BindProc(target):
                words = ("rbind", *(["rro"] if protected else []))
                yield Mount(destination=target, type="bind", source="/proc", options=words)
            case op.MakeScratch(target, source, flags):
                yield Mount(destination=target, type="bind", source=source, options=("rbind", *flags))
            case op.MountTmpfs(target, flags, options, source):
                if target == "/dev":  # ours keeps nodes out; a runtime makes its own in there
                    flags = tuple(flag for flag in flags if flag != "nodev")
                words = tuple(filter(None, options.split(",")))
                yield Mount(destination=target, type="tmpfs", source=source, options=(*flags, *words))
            case op.MountDevpts(target, options):
                words = ("nosuid", "noexec", *options.split(","))
                yield Mount(destination=target, type="devpts", source="devpts", options=words)
            case op.MountMqueue(target):
                yield Mount(destination=target, type="mqueue", source="mqueue", options=_STANDARD)
            case op.MountSysfs(target, read_only):
                words = (*_STANDARD, *(["ro"] if read_only else []))
                yield Mount(destination=target, type="sysfs", source="sysfs", options=words)
            case op.BindSysfs(target, read_only):
                words = ("rbind", *(["rro"] if read_only else []))
                yield Mount(destination=target, type="bind", source="/sys", options=words)
            case op.MountCgroup(target):
                yield Mount(destination=target, type="cgroup", source="cgroup", options=("ro", *_STANDARD))
            case op.HostsFile(target, _, read_only):
                words = ("rbind", "rprivate", *(["ro"] if read_only else []))
                source = os.path.join(generated, os.path.basename(target))
                yield Mount(destination=target, type="bind", source=source, options=words)
            case op.BindMount(source, target, read_only, nodev):
                words = ("rbind", "rprivate", *(["rro"] if read_only else []), *(["nodev"] if nodev else []))
                yield Mount(destination=target, type="bind", source=source, options=words)
            case _:
                pass


def _annotations(request: LaunchRequest, facts: HostFacts) -> dict[str, str]:
    """Where this host, or this engine, gives something else than the document's reader would expect."""
    notes = {} if unconfined(request) else {"devices": "only those in /dev can be opened (nodev elsewhere)"}
    if facts.cgroup == "none":
        notes["cgroup"] = "no view mounted: the host does not have cgroup version 2 alone"
    if facts.proc == "bind":
        notes["proc"] = "the host's, read-only: a new one is refused here"
    if facts.shares_pids:
        notes["pid"] = "no pid namespace: the host's processes are shared"
    if not fresh_sysfs(request, facts):
        notes["sysfs"] = "the host's, read-only: a new one is refused without a network namespace of its own"
    if not facts.setgroups:
        notes["groups"] = "a single id is mapped: supplementary groups cannot be set"
    if any(join.kind == "ipc" for join in request.joins):
        notes["shm"] = "the shared memory is the other container's"
    if request.fake_ids:
        notes["ids"] = "a single id is mapped: changes of owner and user succeed without effect"
        if request.user:
            notes["user"] = f"{request.user!r} runs as root"
    return {f"{_ANNOTATION}{name}": text for name, text in notes.items()}
