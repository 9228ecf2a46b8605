"""What containers use, and which namespaces they live in: rows of ``stats`` and ``namespaces``."""

from __future__ import annotations

import msgspec


class StatsRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``stats``; everything is zero for a container that does not run.

    Attributes:
        container: as the user named it, else the id.
        id, name: of the container.
        cpu_percent: 100 for one processor in full use.
        memory: bytes in use, without file pages that could be dropped at once.
        memory_limit: bytes it may use; the host's memory where it has no limit.
        memory_percent: of the limit.
        received, sent: bytes over its own network interfaces.
        read, written: bytes from and to block devices.
        pids: number of processes and threads.
        whole: ``False``: it has no control group, so the numbers are sums over those processes that are there now.
    """

    container: str
    id: str
    name: str
    cpu_percent: float = 0.0
    memory: int = 0
    memory_limit: int = 0
    memory_percent: float = 0.0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0
    pids: int = 0
    whole: bool = True


class NamespaceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``namespaces``: one namespace of one container, or of the host (this process).

    Attributes:
        id, name: of the container; empty and ``(host)`` for the host.
        type: ``mnt``, ``uts``, ``ipc``, ``pid``, ``net``, ``cgroup``, ``user`` or ``time``.
        inode: the namespace's number; equal numbers are the same namespace.
        whose: ``own``; ``host``; or the names of the other containers that share it.
        sees: what processes in it see, in a few words.
    """

    id: str
    name: str
    type: str
    inode: int
    whose: str
    sees: str
