"""``config.json`` of the OCI runtime specification 1.2 (config.md, config-linux.md), as far as this engine uses it."""

from __future__ import annotations

import msgspec

from contextkernel.runtime.oci_resources import BlockIO, Cpu, Memory, Pids


class User(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``process.user``; ``username`` is what was asked for, where the ids are not yet known."""

    uid: int
    gid: int
    umask: int = 0
    additional_gids: tuple[int, ...] = ()
    username: str = ""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """``process.capabilities``."""

    bounding: tuple[str, ...]
    effective: tuple[str, ...]
    permitted: tuple[str, ...]


class Rlimit(msgspec.Struct, frozen=True):
    """One of ``process.rlimits``."""

    type: str
    hard: int
    soft: int


class Box(msgspec.Struct, frozen=True):
    """``process.consoleSize``, in characters."""

    height: int
    width: int


class Process(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``process``."""

    terminal: bool = False
    console_size: Box | None = None
    user: User
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str
    capabilities: Capabilities
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool
    apparmor_profile: str = ""
    oom_score_adj: int = 0


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


class Namespace(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of ``linux.namespaces``; with a path it is joined."""

    type: str
    path: str = ""


class DeviceNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One of ``linux.devices``; ``type`` is c or b."""

    path: str
    type: str
    major: int
    minor: int
    file_mode: int
    uid: int
    gid: int


class DeviceRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of ``linux.resources.devices``; without numbers it is about all."""

    allow: bool
    type: str = ""
    major: int | None = None
    minor: int | None = None
    access: str


class LinuxResources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``linux.resources``."""

    devices: tuple[DeviceRule, ...]
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = msgspec.field(default=None, name="blockIO")


class SeccompArgument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One of a rule's ``args``."""

    index: int
    value: int
    value_two: int = 0
    op: str


class SeccompRule(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One of ``linux.seccomp.syscalls``."""

    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SeccompArgument, ...] = ()


class Seccomp(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``linux.seccomp``."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...]
    flags: tuple[str, ...] = ()
    syscalls: tuple[SeccompRule, ...] = ()


class Linux(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``linux``."""

    namespaces: tuple[Namespace, ...]
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    resources: LinuxResources
    sysctl: dict[str, str] = {}
    seccomp: Seccomp | None = None
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()


class RuntimeDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The whole of it."""

    oci_version: str
    process: Process
    root: Root
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...]
    linux: Linux
    annotations: dict[str, str] = {}
