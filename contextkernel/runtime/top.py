"""``top``: a container's processes in the columns that ps has for its options. Pure but for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from contextkernel.errors import InvalidInput
from contextkernel.model.results import ProcessTable
from contextkernel.runtime.processes import ProcessFacts

_Show = Callable[[ProcessFacts], str]
_DAY = 86400


def _clock_time(process: ProcessFacts) -> str:
    """``[DD-]HH:MM:SS``."""
    return _long(int(process.cpu))


def _long(seconds: int) -> str:
    days, rest = divmod(seconds, _DAY)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days:02d}-{text}" if days else text


def _short_time(process: ProcessFacts) -> str:
    """``M:SS``, as ps has it with BSD options."""
    return f"{int(process.cpu) // 60}:{int(process.cpu) % 60:02d}"


def _elapsed(process: ProcessFacts) -> str:
    seconds = int(process.elapsed)
    return _long(seconds) if seconds >= 3600 else f"{seconds // 60:02d}:{seconds % 60:02d}"


def _began(process: ProcessFacts) -> str:
    """Time of day; the date once that is more than a day ago."""
    return _at(process, "%H:%M", "%b%d")


def _at(process: ProcessFacts, today: str, this_year: str) -> str:
    moment = time.localtime(process.started)
    if process.elapsed < _DAY:
        return time.strftime(today, moment)
    return time.strftime(this_year if moment.tm_year == time.localtime().tm_year else "%Y", moment)


def _status(process: ProcessFacts) -> str:
    nice = "<" if process.nice < 0 else "N" if process.nice > 0 else ""
    locked = "L" if process.locked else ""
    leads = "s" if process.sid == process.pid else ""
    threads = "l" if process.threads > 1 else ""
    front = "+" if process.foreground == process.pgid else ""
    return process.state + nice + locked + leads + threads + front


_COMMAND: _Show = lambda p: p.command  # noqa: E731 - one table of such
#: heading and content of what ``-o`` takes (procps, ps/output.c)
FIELDS: dict[str, tuple[str, _Show]] = {
    "%cpu": ("%CPU", lambda p: f"{p.share:.1f}"),
    "%mem": ("%MEM", lambda p: f"{100 * p.resident / p.memory:.1f}"),
    "addr": ("ADDR", lambda _: "-"),
    "args": ("COMMAND", _COMMAND),
    "bsdtime": ("TIME", _short_time),
    "bsdstart": ("START", _began),
    "c": ("C", lambda p: str(int(min(p.share, 99)))),
    "cmd": ("CMD", _COMMAND),
    "comm": ("COMMAND", lambda p: p.name),
    "egid": ("EGID", lambda p: str(p.gid)),
    "etime": ("ELAPSED", _elapsed),
    "etimes": ("ELAPSED", lambda p: str(int(p.elapsed))),
    "f": ("F", lambda p: str(p.flags >> 6 & 7)),
    "gid": ("GID", lambda p: str(p.gid)),
    "lstart": ("STARTED", lambda p: time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(p.started))),
    "ni": ("NI", lambda p: str(p.nice)),
    "nlwp": ("NLWP", lambda p: str(p.threads)),
    "pgid": ("PGID", lambda p: str(p.pgid)),
    "pid": ("PID", lambda p: str(p.pid)),
    "ppid": ("PPID", lambda p: str(p.ppid)),
    "pri": ("PRI", lambda p: str(39 - p.priority)),
    "psr": ("PSR", lambda p: str(p.processor)),
    "rss": ("RSS", lambda p: str(p.resident // 1024)),
    "s": ("S", lambda p: p.state),
    "sess": ("SESS", lambda p: str(p.sid)),
    "sid": ("SID", lambda p: str(p.sid)),
    "start": ("STARTED", lambda p: _at(p, "%H:%M:%S", "%b %d")),
    "stat": ("STAT", _status),
    "stime": ("STIME", _began),
    "sz": ("SZ", lambda p: str(p.size // p.wide)),
    "time": ("TIME", _clock_time),
    "tname": ("TTY", lambda p: p.terminal),
    "tt": ("TT", lambda p: p.terminal),
    "ucmd": ("CMD", lambda p: p.name),
    "uid": ("UID", lambda p: str(p.uid)),
    "user": ("USER", lambda p: p.user),
    "vsz": ("VSZ", lambda p: str(p.size // 1024)),
    "wchan": ("WCHAN", lambda _: "-"),
}
_ALIASES = {
    "command": "args",
    "cputime": "time",
    "euid": "uid",
    "euser": "user",
    "nice": "ni",
    "pcpu": "%cpu",
    "pgrp": "pgid",
    "pmem": "%mem",
    "rssize": "rss",
    "session": "sess",
    "state": "s",
    "thcount": "nlwp",
    "tty": "tt",
    "vsize": "vsz",
}
_Column = tuple[str, _Show]
_PRIORITY: _Column = ("PRI", lambda p: str(60 + p.priority))
_FULL: tuple[_Column, ...] = (
    ("UID", lambda p: p.user),
    *(FIELDS[name] for name in ("pid", "ppid", "c", "stime", "tname", "time", "cmd")),
)
_LONG: tuple[_Column, ...] = (
    *(FIELDS[name] for name in ("f", "s", "uid", "pid", "ppid", "c")),
    _PRIORITY,
    *(FIELDS[name] for name in ("ni", "addr", "sz", "wchan", "tname", "time")),
    ("CMD", lambda p: p.name),
)
_PLAIN: tuple[_Column, ...] = (*(FIELDS[name] for name in ("pid", "tname", "time")), ("CMD", lambda p: p.name))
_USER: tuple[_Column, ...] = tuple(
    FIELDS[name]
    for name in ("user", "pid", "%cpu", "%mem", "vsz", "rss", "tname", "stat", "bsdstart", "bsdtime", "args")
)
_BSD: tuple[_Column, ...] = tuple(FIELDS[name] for name in ("pid", "tname", "stat", "bsdtime", "args"))
#: options that choose processes or widths: a container's are always all shown, in full
_IGNORED = frozenset("eAadxwNH")


def process_table(processes: Sequence[ProcessFacts], options: Sequence[str]) -> ProcessTable:
    """A table of processes.

    Args:
        processes: a container's.
        options: of ps, words; none are docker's ``-ef``.

    Raises:
        InvalidInput: an option that this has not, or columns without the process id.
    """
    columns = _columns([word for text in options for word in text.split(" ") if word] or ["-ef"])
    if "PID" not in (heading for heading, _ in columns):
        raise InvalidInput("couldn't find the PID field in what the ps options show", hint="add pid: -o pid,cmd")
    return ProcessTable(
        titles=tuple(heading for heading, _ in columns),
        processes=tuple(tuple(show(process) for _, show in columns) for process in processes),
    )


def _columns(words: list[str]) -> tuple[_Column, ...]:
    own: list[_Column] = []
    preset: tuple[_Column, ...] | None = None
    queue = list(words)
    bsd = False
    while queue:
        word = queue.pop(0)
        if word in ("--format", "-o", "o"):
            own += _fields(queue.pop(0) if queue else _fail(word, "wants a list of columns"))
            continue
        if word.startswith("--format="):
            own += _fields(word.partition("=")[2])
            continue
        letters = word.removeprefix("-")
        unix = word.startswith("-") and letters != "aux"  # which ps takes for what was meant
        if word.startswith("--") or not letters.isalpha():
            _fail(word, "is not known here")
        bsd = bsd or not unix
        for place, letter in enumerate(letters):
            if letter == "o":
                own += _fields(letters[place + 1 :] or (queue.pop(0) if queue else _fail(word, "wants columns")))
                break
            chosen = {"f": _FULL, "l": _LONG} if unix else {"u": _USER, "l": _LONG, "f": preset or _BSD}
            if letter in chosen:
                preset = chosen[letter]
            elif letter not in _IGNORED:
                _fail(word, "is not known here")
    return tuple(own) or preset or (_BSD if bsd else _PLAIN)


def _fields(text: str) -> list[_Column]:
    found = []
    rest = text
    while rest:
        name, comma, rest = rest.partition(",")
        name, equals, heading = name.partition("=")
        if equals:  # the heading is all that follows
            heading, rest = heading + comma + rest, ""
        key = _ALIASES.get(name.lower(), name.lower())
        if key not in FIELDS:
            raise InvalidInput(f"ps: unknown column {name!r}", hint=f"one of {', '.join(sorted(FIELDS))}")
        if heading.startswith("PID") and key != "pid":
            raise InvalidInput(f'specifying "{name}={heading}" is not allowed', hint="that heading is the process id's")
        found.append((heading if equals else FIELDS[key][0], FIELDS[key][1]))
    return found


def _fail(word: str, what: str) -> NoReturn:
    raise InvalidInput(f"ps: option {word!r} {what}", hint="such as -ef, aux, -l or -o pid,user,cmd")
