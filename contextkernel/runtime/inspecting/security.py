"""What ``inspect`` says of privileges and isolation, in docker's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contextkernel.runtime.plan_security import MASKED_PATHS, READONLY_PATHS

if TYPE_CHECKING:
    from contextkernel.model.security import Security


def host_config(security: Security) -> dict[str, Any]:
    """Its part of ``HostConfig``."""
    # moby, daemon/create.go (generateSecurityOpt): whoever shares so much has no label of its own
    unlabelled = security.privileged or "host" in (security.pid, security.ipc)
    options = [*security.options, *(["label=disable"] if unlabelled else [])]
    masks: tuple[list[str] | None, list[str] | None] = (list(MASKED_PATHS), list(READONLY_PATHS))
    if security.privileged:
        masks = None, None
    elif not security.masks:
        masks = [], []
    document: dict[str, Any] = {
        "CapAdd": list(security.cap_add) or None,
        "CapDrop": list(security.cap_drop) or None,
        "CgroupnsMode": security.cgroupns or "private",
        "GroupAdd": list(security.groups) or None,
        "IpcMode": security.ipc or "private",
        "Cgroup": "",
        "PidMode": security.pid,
        "Privileged": security.privileged,
        "SecurityOpt": options or None,
        "UTSMode": security.uts,
        "UsernsMode": security.userns,
        "Runtime": security.runtime or "contextkernel",
        "Isolation": "",
        "Devices": [
            {
                "PathOnHost": device.source,
                "PathInContainer": device.target,
                "CgroupPermissions": device.permissions,
            }
            for device in security.devices
        ],
        "DeviceCgroupRules": list(security.device_rules) or None,
        "DeviceRequests": _gpus(security.gpus),
        "MaskedPaths": masks[0],
        "ReadonlyPaths": masks[1],
    }
    if security.sysctls:
        document["Sysctls"] = dict(security.sysctls)
    if security.annotations:
        document["Annotations"] = dict(security.annotations)
    return document


def _gpus(text: str) -> list[dict[str, Any]] | None:
    """A request for GPUs; nothing here looks further into it than how many they are."""
    if not text:
        return None
    count = text.removeprefix("count=")
    return [
        {
            "Driver": "",
            "Count": int(count) if count.isdigit() else -1,
            "DeviceIDs": None,
            "Capabilities": [["gpu"]],
            "Options": {},
        }
    ]
