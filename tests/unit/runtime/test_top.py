"""``top``: the columns that ps has for its options."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.runtime.processes import ProcessFacts, facts_of
from contextkernel.runtime.top import process_table

STARTED = 1_790_000_000.0


def process(**changes: Any) -> ProcessFacts:
    given: dict[str, Any] = {
        "pid": 41,
        "ppid": 40,
        "pgid": 41,
        "sid": 41,
        "tty": 136 << 8 | 3,
        "foreground": 41,
        "flags": 0x400100,
        "state": "S",
        "name": "sleep",
        "arguments": ("sleep", "9"),
        "uid": 0,
        "gid": 0,
        "priority": 20,
        "nice": 0,
        "threads": 1,
        "processor": 1,
        "cpu": 65.0,
        "elapsed": 130.0,
        "started": STARTED,
        "size": 2322432,
        "resident": 1478656,
        "locked": False,
        "wide": 4096,
        "memory": 1 << 30,
        **changes,
    }
    return ProcessFacts(**given)


NOW = time.strftime("%H:%M", time.localtime(STARTED))


@pytest.mark.parametrize(
    ("options", "titles", "cells"),
    [
        ((), "UID PID PPID C STIME TTY TIME CMD", ["root", "41", "40", "50", NOW, "pts/3", "00:01:05", "sleep 9"]),
        (("-ef",), "UID PID PPID C STIME TTY TIME CMD", None),
        (
            ("aux",),
            "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            ["root", "41", "50.0", "0.1", "2268", "1444", "pts/3", "Ss+", NOW, "1:05", "sleep 9"],
        ),
        (("-aux",), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND", None),
        (("x",), "PID TTY STAT TIME COMMAND", ["41", "pts/3", "Ss+", "1:05", "sleep 9"]),
        (("-e",), "PID TTY TIME CMD", ["41", "pts/3", "00:01:05", "sleep"]),
        (("-l",), "F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD", None),
        (("-o", "pid,cmd"), "PID CMD", ["41", "sleep 9"]),
        (("-o pid,cmd",), "PID CMD", ["41", "sleep 9"]),
        (("-eo", "pid,ppid,comm"), "PID PPID COMMAND", ["41", "40", "sleep"]),
        (("-opid", "-o", "etime"), "PID ELAPSED", ["41", "02:10"]),
        (("axo", "pid,nlwp"), "PID NLWP", ["41", "1"]),
        (("--format=pid,user=WHO,x",), "PID WHO,x", ["41", "root"]),
    ],
)
def test_columns_are_those_of_ps(options: tuple[str, ...], titles: str, cells: list[str] | None) -> None:
    table = process_table([process()], options)
    assert " ".join(table.titles) == titles
    assert len(table.processes[0]) == len(table.titles)
    if cells is not None:
        assert list(table.processes[0]) == cells


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("-o", "cmd"), "couldn't find the PID field"),
        (("-o", "pid,colour"), "unknown column 'colour'"),
        (("-o", "cmd=PID,pid"), "is not allowed"),
        (("-Z",), "option '-Z' is not known here"),
        (("--sort=x",), "option '--sort=x' is not known here"),
        (("-o",), "wants a list of columns"),
        (("-eo",), "wants columns"),
        (("12",), "option '12'"),
    ],
)
def test_options_that_are_not_known_are_refused(options: tuple[str, ...], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        process_table([process()], options)


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"arguments": (), "state": "Z"}, "cmd", "[sleep] <defunct>"),
        ({"arguments": ()}, "args", "[sleep]"),
        ({"tty": 0}, "tty", "?"),
        ({"tty": 4 << 8 | 1}, "tty", "tty1"),
        ({"tty": 137 << 8 | 4}, "tty", "pts/260"),
        ({"cpu": 90061.0}, "time", "01-01:01:01"),
        ({"elapsed": 3661.0}, "etime", "01:01:01"),
        ({"nice": 5, "threads": 3, "sid": 1, "foreground": -1}, "stat", "SNl"),
        ({"nice": -5, "locked": True, "sid": 1, "foreground": -1}, "stat", "S<L"),
        ({"uid": 4_000_000_000}, "user", "4000000000"),
        ({"elapsed": 0.0}, "%cpu", "0.0"),
    ],
)
def test_cells_have_ps_s_form(changes: dict[str, Any], field: str, text: str) -> None:
    assert process_table([process(**changes)], ["-o", f"pid,{field}"]).processes[0][1] == text


def test_facts_of_this_process_are_true_and_gone_ones_left_out() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    (mine,) = facts_of([os.getpid(), child.pid])
    assert (mine.pid, mine.ppid, mine.uid) == (os.getpid(), os.getppid(), os.geteuid())
    assert mine.resident > 1 << 20
    assert abs(mine.started + mine.elapsed - time.time()) < 2
    assert mine.arguments
