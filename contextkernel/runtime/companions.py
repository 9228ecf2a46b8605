"""Other containers that a container shares namespaces with: who they are, and where their namespaces are now.

The rules and refusals are docker's (moby, daemon/daemon_unix.go: adaptSharedNamespaceContainer;
daemon/container_operations_unix.go: getPIDContainer, getIPCContainer).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from contextkernel.errors import Conflict, ContainerNotFound, InvalidInput
from contextkernel.model.security import Join, Security

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec, RunState

_PREFIX = "container:"
_KINDS: tuple[Literal["pid", "ipc"], ...] = ("pid", "ipc")


def settled(security: Security, hostname: str | None, find: Callable[[str], ContainerSpec]) -> Security:
    """What was asked for with other containers by their id, checked against the host name.

    Args:
        security: as asked for.
        hostname: that was asked for.
        find: gives the container of a name.

    Raises:
        ContainerNotFound: another container does not exist.
        InvalidInput: a host name for the host's own UTS namespace.
    """
    if security.uts == "host" and hostname:
        raise InvalidInput(
            "conflicting options: hostname and the UTS mode", hint="--uts host has the host's name: leave one out"
        )
    named = {
        kind: f"{_PREFIX}{find(mode.removeprefix(_PREFIX)).id}"
        for kind in _KINDS
        if (mode := getattr(security, kind)).startswith(_PREFIX)
    }
    return msgspec.structs.replace(security, **named) if named else security


def joins(
    security: Security, find: Callable[[str], ContainerSpec], state: Callable[[ContainerSpec], RunState]
) -> Iterator[Join]:
    """The namespaces to enter at a start.

    Args:
        security: settled.
        find: gives the container of an id.
        state: what became of a container.

    Raises:
        Conflict: the other container is gone, does not run, or keeps its shared memory for itself.
    """
    for kind in _KINDS:
        mode = getattr(security, kind)
        if not mode.startswith(_PREFIX):
            continue
        identity = mode.removeprefix(_PREFIX)
        failed = f"failed to join {kind.upper()} namespace"
        try:
            other = find(identity)
        except ContainerNotFound:
            raise Conflict(
                f"{failed}: No such container: {identity}", hint="it was removed: create this container anew"
            ) from None
        current = state(other)
        if current.status not in ("running", "paused"):
            raise Conflict(f"{failed}: container {identity} is not running", hint=f"start {other.name} first")
        if kind == "ipc" and other.security.ipc != "shareable":
            raise Conflict(
                f"{failed}: container {identity}: non-shareable IPC (hint: use IpcMode:shareable for the donor "
                "container)",
                hint=f"create {other.name} with --ipc shareable",
            )
        yield Join(kind, current.pid)
