"""Which namespaces a process lives in, and what can be seen in them (namespaces(7)); read from /proc, entering none."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from contextkernel.model.measurements import NamespaceRow
from contextkernel.runtime.cgroups import read

TYPES = ("mnt", "uts", "ipc", "pid", "net", "cgroup", "user", "time")
HOST = "(host)"


class Seen(NamedTuple):
    """A process whose namespaces are to be shown.

    Attributes:
        id, name: of the container; the id is empty for the host.
        pid: as the host sees it.
        hostname: in its UTS namespace.
    """

    id: str
    name: str
    pid: int
    hostname: str


def namespaces_of(pid: int) -> dict[str, int]:
    """Numbers of a process's namespaces by type; those that may not be looked at are left out."""
    found = {}
    for kind in TYPES:
        with suppress(OSError):
            found[kind] = os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    return found


def namespace_rows(host: Seen, containers: Iterable[Seen]) -> tuple[NamespaceRow, ...]:
    """The rows of ``namespaces``: the host's first.

    Args:
        host: this process.
        containers: running ones.
    """
    everybody = [host, *containers]
    numbers = {one.id: namespaces_of(one.pid) for one in everybody}
    rows = []
    for one in everybody:
        for kind, inode in numbers[one.id].items():
            rows.append(
                NamespaceRow(
                    id=one.id,
                    name=one.name,
                    type=kind,
                    inode=inode,
                    whose=_whose(one, kind, everybody, numbers),
                    sees=sees(one, kind),
                )
            )
    return tuple(rows)


def _whose(one: Seen, kind: str, everybody: Iterable[Seen], numbers: Mapping[str, Mapping[str, int]]) -> str:
    mine = numbers[one.id][kind]
    if not one.id or numbers[""].get(kind) == mine:
        return "host"
    others = [other.name for other in everybody if other.id != one.id and numbers[other.id].get(kind) == mine]
    return f"with {', '.join(others)}" if others else "own"


def sees(one: Seen, kind: str) -> str:
    """What a process sees through a namespace, in a few words."""
    match kind:
        case "mnt":
            return f"{read(f'/proc/{one.pid}/mountinfo').count(chr(10))} mounts"
        case "uts":
            return f"host name {one.hostname}"
        case "ipc":
            return "message queues, semaphores, shared memory"
        case "pid":
            return _pid(one.pid)
        case "net":
            return network_text(
                read(f"/proc/{one.pid}/net/dev"),
                read(f"/proc/{one.pid}/net/fib_trie"),
                read(f"/proc/{one.pid}/net/if_inet6"),
            )
        case "cgroup":
            return cgroup_text(read(f"/proc/{one.pid}/cgroup"))
        case "user":
            return map_text(read(f"/proc/{one.pid}/uid_map"))
        case _:
            return time_text(read(f"/proc/{one.pid}/timens_offsets"))


def _pid(pid: int) -> str:
    """By what number the process goes there, and who is number 1."""
    inner = _inner_pid(read(f"/proc/{pid}/status"))
    if inner != 1:
        return f"all processes of the host; this one is {inner}"
    command = read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    return f"process 1 is {command or 'the init'}"


def _inner_pid(status: str) -> int:
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return 0


def network_text(devices: str, routes: str, addresses6: str) -> str:
    """Interfaces and addresses, from ``net/dev``, ``net/fib_trie`` and ``net/if_inet6`` (proc_pid_net(5))."""
    names = [line.partition(":")[0].strip() for line in devices.splitlines()[2:] if ":" in line]
    found = local_addresses(routes)
    for line in addresses6.splitlines():
        words = line.split()
        if len(words) == 6:
            address = ipaddress.ip_address(bytes.fromhex(words[0]))
            if not address.is_link_local:
                found.append(str(address))
    what = f"{len(names)} interface{'s' if len(names) != 1 else ''}: {', '.join(names)}" if names else "no interface"
    return f"{what}; {', '.join(found)}" if found else f"{what}; no address"


def local_addresses(routes: str) -> list[str]:
    """Addresses of this network namespace: leaves of the trie that are local hosts."""
    found: dict[str, None] = {}
    leaf = ""
    for line in routes.splitlines():
        text = line.strip()
        if text.startswith("|--"):
            leaf = text.split()[1]
        elif text.startswith("/32 host LOCAL"):
            found[leaf] = None
    return list(found)


def cgroup_text(cgroup: str) -> str:
    """Where in the tree of control groups the process is: the place most controllers name."""
    paths = [line.split(":", 2)[2] for line in cgroup.splitlines() if line.count(":") >= 2]
    deepest = max(paths, key=len, default="/")
    return f"group {deepest}"


def map_text(uid_map: str) -> str:
    """Which users of the host its users are (user_namespaces(7))."""
    parts = []
    for line in uid_map.splitlines():
        first, outside, count = (int(word) for word in line.split())
        if (first, outside) == (0, 0) and count == 2**32 - 1:
            return "users are the host's"
        inside = str(first) if count == 1 else f"{first}-{first + count - 1}"
        there = str(outside) if count == 1 else f"{outside}-{outside + count - 1}"
        parts.append(f"user {inside} is {there} outside" if count == 1 else f"users {inside} are {there} outside")
    return "; ".join(parts) if parts else "no user is mapped"


def time_text(offsets: str) -> str:
    """How far its clocks are from the host's (time_namespaces(7))."""
    seconds = {line.split()[0]: int(line.split()[1]) for line in offsets.splitlines() if len(line.split()) == 3}
    moved = [f"{clock} clock moved by {offset} s" for clock, offset in seconds.items() if offset]
    return ", ".join(moved) or "clocks are the host's"
