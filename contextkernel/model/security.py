"""What a container may do, and what it is kept apart from."""

from __future__ import annotations

from typing import Literal

import msgspec


class Device(msgspec.Struct, frozen=True):
    """A device of the host in the container.

    Attributes:
        source: path on the host; a directory stands for all devices below it.
        target: path in the container.
        permissions: of ``r`` (read), ``w`` (write) and ``m`` (mknod).
    """

    source: str
    target: str
    permissions: str = "rwm"


class Join(msgspec.Struct, frozen=True):
    """A namespace of another container that this one gets instead of a new one.

    Attributes:
        kind: which.
        pid: of the other one's first process, as the host sees it.
    """

    kind: Literal["pid", "ipc"]
    pid: int


class Security(msgspec.Struct, frozen=True, kw_only=True):
    """Privileges and isolation that were asked for; all defaults are docker's.

    Attributes:
        privileged: all there is: capabilities, devices, system calls, no masked paths.
        cap_add, cap_drop: ``CAP_...`` or ``ALL``.
        options: ``--security-opt`` as docker's ``inspect`` shows them, without ``systempaths``.
        no_new_privileges: no program gains privileges by set-user-ID or file capabilities.
        seccomp: a profile in docker's JSON format; ``unconfined``; empty or ``builtin`` for docker's default policy.
        apparmor: profile that was asked for; nothing here enforces it.
        landlock: close what has no namespace of its own with a Landlock scope, where the kernel has one.
        masks: hide and protect paths in /proc and /sys.
        devices: of the host.
        device_rules: ``TYPE MAJOR:MINOR ACCESS`` as in ``devices.allow``.
        gpus: request for GPUs; there is no driver for them, so such a container does not start.
        groups: supplementary groups besides the user's own, names of the image or numbers.
        userns, pid, ipc, uts, cgroupns: docker's mode words; a container is meant by its id.
        sysctls: kernel settings of the container's namespaces.
        runtime: an installed OCI runtime; empty for the engine's own.
        annotations: for the OCI runtime, and in ``inspect``.
    """

    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    landlock: bool = True
    masks: bool = True
    devices: tuple[Device, ...] = ()
    device_rules: tuple[str, ...] = ()
    gpus: str = ""
    groups: tuple[str, ...] = ()
    userns: str = ""
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    sysctls: dict[str, str] = {}
    runtime: str = ""
    annotations: dict[str, str] = {}
