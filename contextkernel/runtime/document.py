"""The launch plan as an OCI runtime-spec document (config.md, config-linux.md, v1.2). Pure.

It is what another runtime would be given for the same container; annotations say where this host or engine differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from contextkernel.runtime import operations as op
from contextkernel.runtime.plan import plan_operations
from contextkernel.runtime.plan_security import (
    CAPABILITIES,
    READONLY_PATHS,
    fresh_sysfs,
    masked_paths,
    plan_namespaces,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contextkernel.model.container import LaunchRequest
    from contextkernel.model.ids import IdMap, IdRange
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.runtime.operations import Operation

_ANNOTATION = "org.contextkernel."


class User(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``process.user``; ``username`` is what was asked for, the ids are resolved in the image at launch."""

    uid: int = 0
    gid: int = 0
    umask: int = 0o022
    username: str = ""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """``process.capabilities``."""

    bounding: tuple[str, ...]
    effective: tuple[str, ...]
    permitted: tuple[str, ...]


class ProcessDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``process``."""

    terminal: bool = False
    user: User
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    capabilities: Capabilities
    no_new_privileges: bool = False


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """``root``; ``path`` is where the layers come together."""

    path: str
    readonly: bool


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One of ``mounts``."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...]


class IdMapping(msgspec.Struct, frozen=True, kw_only=True):
    """One of ``linux.uidMappings`` and ``linux.gidMappings``."""

    container_id: int = msgspec.field(name="containerID")
    host_id: int = msgspec.field(name="hostID")
    size: int


class Namespace(msgspec.Struct, frozen=True):
    """One of ``linux.namespaces``."""

    type: str


class Linux(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``linux``."""

    namespaces: tuple[Namespace, ...]
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    sysctl: dict[str, str] = {}
    rootfs_propagation: str = "private"
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]


class RuntimeDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``config.json`` of the OCI runtime specification."""

    oci_version: str = "1.2.0"
    process: ProcessDocument
    root: Root
    hostname: str
    mounts: tuple[Mount, ...]
    linux: Linux
    annotations: dict[str, str]


class LaunchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What ``run --plan`` shows: the document, and the ordered steps that realise it on this host."""

    document: RuntimeDocument
    operations: tuple[Operation, ...]


def make_plan(request: LaunchRequest, facts: HostFacts, idmap: IdMap) -> LaunchPlan:
    """Everything that launching ``request`` will do.

    Args:
        request: what to start.
        facts: what this host allows.
        idmap: the ids containers have.

    Raises:
        InvalidInput: a mount that is not possible.
    """
    operations = plan_operations(request, facts)
    return LaunchPlan(document=_document(request, facts, idmap, operations), operations=operations)


def _document(
    request: LaunchRequest, facts: HostFacts, idmap: IdMap, operations: Sequence[Operation]
) -> RuntimeDocument:
    user = request.user.partition(":")
    numeric = user[0].isdigit() and (not user[2] or user[2].isdigit())
    root_user = user[0] in ("", "0", "root") or request.fake_ids
    own = CAPABILITIES if root_user else ()
    environment = next(step.env for step in operations if isinstance(step, op.Exec))
    return RuntimeDocument(
        process=ProcessDocument(
            user=User(
                uid=int(user[0]) if numeric and not request.fake_ids else 0,
                gid=int(user[2] or 0) if numeric and not request.fake_ids else 0,
                username=request.user,
            ),
            args=request.argv,
            env=environment,
            cwd=request.working_dir,
            capabilities=Capabilities(bounding=CAPABILITIES, effective=own, permitted=own),
        ),
        root=Root(path=request.upper, readonly=request.read_only),
        hostname=request.hostname,
        mounts=tuple(_mounts(operations)),
        linux=Linux(
            namespaces=tuple(_namespaces(request, facts, idmap)),
            uid_mappings=_mappings(idmap.uids),
            gid_mappings=_mappings(idmap.gids),
            sysctl={step.name.replace("/", "."): step.value for step in operations if isinstance(step, op.SetSysctl)},
            masked_paths=masked_paths(request, facts),
            readonly_paths=READONLY_PATHS,
        ),
        annotations=_annotations(request, facts),
    )


def _mappings(ranges: Sequence[IdRange]) -> tuple[IdMapping, ...]:
    return tuple(IdMapping(container_id=part.container, host_id=part.host, size=part.size) for part in ranges)


def _namespaces(request: LaunchRequest, facts: HostFacts, idmap: IdMap) -> Iterator[Namespace]:
    if not idmap.identity:
        yield Namespace("user")
    chosen = plan_namespaces(request, facts)
    for name in ("mount", "pid", "uts", "ipc", "cgroup", "network"):
        if getattr(chosen, name):
            yield Namespace(name)


def _mounts(operations: Sequence[Operation]) -> Iterator[Mount]:
    standard = ("nosuid", "noexec", "nodev")
    for step in operations:
        match step:
            case op.MountProc(target):
                yield Mount(destination=target, type="proc", source="proc", options=standard)
            case op.BindProc(target):
                yield Mount(destination=target, type="bind", source="/proc", options=("rbind",))
            case op.MountTmpfs(target, flags, options):
                words = tuple(filter(None, options.split(",")))
                yield Mount(destination=target, type="tmpfs", source="tmpfs", options=(*flags, *words))
            case op.MountDevpts(target, options):
                words = ("nosuid", "noexec", *options.split(","))
                yield Mount(destination=target, type="devpts", source="devpts", options=words)
            case op.MountMqueue(target):
                yield Mount(destination=target, type="mqueue", source="mqueue", options=standard)
            case op.MountSysfs(target):
                yield Mount(destination=target, type="sysfs", source="sysfs", options=(*standard, "ro"))
            case op.BindSysfs(target):
                yield Mount(destination=target, type="bind", source="/sys", options=("rbind", "rro"))
            case op.MountCgroup(target):
                yield Mount(destination=target, type="cgroup2", source="cgroup", options=("ro", *standard))
            case op.HostsFile(target):
                yield Mount(destination=target, type="bind", source="(generated)", options=("rbind", "rprivate"))
            case op.BindMount(source, target, read_only, nodev):
                words = ("rbind", "rprivate", *(["rro"] if read_only else []), *(["nodev"] if nodev else []))
                yield Mount(destination=target, type="bind", source=source, options=words)
            case _:
                pass


def _annotations(request: LaunchRequest, facts: HostFacts) -> dict[str, str]:
    """Where this host, or this engine, gives something else than the document's reader would expect."""
    notes = {"seccomp": "docker's default policy", "devices": "only those in /dev can be opened (nodev elsewhere)"}
    if facts.cgroup == "none":
        notes["cgroup"] = "no view mounted: the host does not have cgroup version 2 alone"
    if facts.proc == "bind":
        notes["proc"] = "the host's: a new one is refused here; no pid namespace"
    if not fresh_sysfs(request, facts):
        notes["sysfs"] = "the host's, read-only: a new one is refused without a network namespace of its own"
    if not facts.setgroups:
        notes["groups"] = "a single id is mapped: supplementary groups cannot be set"
    if request.fake_ids:
        notes["ids"] = "a single id is mapped: changes of owner and user succeed without effect"
        if request.user:
            notes["user"] = f"{request.user!r} runs as root"
    return {f"{_ANNOTATION}{name}": text for name, text in notes.items()}
