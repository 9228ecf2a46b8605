"""Facts about processes, out of /proc; for ``top``. What is gone meanwhile is left out."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

_PTS = range(136, 144)  # major numbers of pseudo terminals, 256 minors each
_CONSOLE = 4


class ProcessFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One process, as the host sees it.

    Attributes:
        uid, gid: as its container has them, where the host has others.
        cpu, elapsed: seconds.
        started: seconds since the epoch.
        size, resident: bytes.
        wide: one page, bytes.
        memory: of the machine, bytes.
    """

    pid: int
    ppid: int
    pgid: int
    sid: int
    tty: int
    foreground: int
    flags: int
    state: str
    name: str
    arguments: tuple[str, ...]
    uid: int
    gid: int
    priority: int
    nice: int
    threads: int
    processor: int
    cpu: float
    elapsed: float
    started: float
    size: int
    resident: int
    locked: bool
    wide: int
    memory: int

    @property
    def user(self) -> str:
        """Name of the user on this host, at most eight characters, as ps has it."""
        try:
            name = pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)
        return name if len(name) <= 8 else f"{name[:7]}+"

    @property
    def terminal(self) -> str:
        """Name of its terminal, ``?`` without one."""
        major = (self.tty >> 8) & 0xFFF
        minor = (self.tty & 0xFF) | ((self.tty >> 12) & 0xFFF00)
        if major in _PTS:
            return f"pts/{(major - _PTS.start) * 256 + minor}"
        return f"tty{minor}" if major == _CONSOLE and minor < 64 else "?"

    @property
    def command(self) -> str:
        """Its words; a zombie and a kernel thread have only a name."""
        if self.arguments:
            return " ".join(self.arguments)
        return f"[{self.name}] <defunct>" if self.state == "Z" else f"[{self.name}]"

    @property
    def share(self) -> float:
        """Processor time of its life, percent of one processor."""
        return 100 * self.cpu / self.elapsed if self.elapsed > 0 else 0.0


def facts_of(pids: Iterable[int]) -> Iterator[ProcessFacts]:
    """Look at processes; one that has gone is left out.

    Args:
        pids: as this process sees them.
    """
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    memory = page * os.sysconf("SC_PHYS_PAGES")
    with open("/proc/stat", encoding="ascii") as file:
        booted = next(float(line.split()[1]) for line in file if line.startswith("btime "))
    with open("/proc/uptime", encoding="ascii") as file:
        uptime = float(file.read().split()[0])
    maps = _Maps()
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            head, _, rest = _read(pid, "stat").rpartition(")")
            words = rest.split()
            ids = {key: value.split() for key, _, value in (s.partition(":") for s in _read(pid, "status").split("\n"))}
            began = int(words[19]) / ticks
            yield ProcessFacts(
                pid=pid,
                state=words[0],
                ppid=int(words[1]),
                pgid=int(words[2]),
                sid=int(words[3]),
                tty=int(words[4]),
                foreground=int(words[5]),
                flags=int(words[6]),
                cpu=(int(words[11]) + int(words[12])) / ticks,
                priority=int(words[15]),
                nice=int(words[16]),
                threads=int(words[17]),
                started=booted + began,
                elapsed=uptime - began,
                size=int(words[20]),
                resident=int(words[21]) * page,
                processor=int(words[36]),
                name=head.partition("(")[2],
                arguments=tuple(filter(None, _read(pid, "cmdline").split("\0"))),
                uid=maps.inside(pid, "uid_map", int(ids["Uid"][1])),
                gid=maps.inside(pid, "gid_map", int(ids["Gid"][1])),
                locked=ids.get("VmLck", ["0"])[0] != "0",
                wide=page,
                memory=memory,
            )


def _read(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


class _Maps:
    """Ids of the host as a process's user namespace has them."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[int, int, int]]] = {}

    def inside(self, pid: int, kind: str, host: int) -> int:
        """The id; the host's own where it is not mapped."""
        text = _read(pid, kind)
        if text not in self._known:
            self._known[text] = [(int(a), int(b), int(c)) for a, b, c in (s.split() for s in text.splitlines())]
        for inner, outer, count in self._known[text]:
            if outer <= host < outer + count:
                return inner + host - outer
        return host
