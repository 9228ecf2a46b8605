"""Trying one thing: in a child where it would change the process, said as one line, never an exception."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from contextkernel.errors import ContextKernelError, SyscallFailed
from contextkernel.host.findings import Line, Outcome
from contextkernel.model.codec import to_json

#: environment variable: names of facts that count as refused, to see how it goes on a host that allows less
WITHOUT_VARIABLE = "CONTEXTKERNEL_WITHOUT"


class Limited(Exception):
    """It works in part; the text says which."""


class Refused(Exception):
    """It does not work, for a reason that is no errno."""


def without() -> tuple[str, ...]:
    """Names of the facts that the user asks to do without."""
    named = os.environ.get(WITHOUT_VARIABLE, "").replace(",", " ").split()
    # a range of ids is mapped in a user namespace
    return (*named, "id_range") if "user_namespace" in named else tuple(named)


def say(line: Line) -> None:
    """Write one line."""
    os.write(1, to_json(line) + b"\n")


def attempt(name: str, action: Callable[[], str | None]) -> bool:
    """Try something and say what became of it.

    Args:
        name: of the fact.
        action: returns a detail for the reader; raises :class:`Limited` for a partial success.

    Returns:
        Whether it worked, at least in part.
    """
    if name in without():
        say(Outcome(name=name, verdict="refused", problem=f"not wanted: {WITHOUT_VARIABLE} has it", unwanted=True))
        return False
    start = time.perf_counter()
    verdict, problem, number, detail = "works", "", 0, ""
    try:
        detail = action() or ""
    except Limited as limit:
        verdict, detail = "limited", str(limit)
    except SyscallFailed as failure:
        verdict, problem, number = "refused", failure.problem, failure.number
    except ContextKernelError as failure:
        verdict, problem = "refused", failure.problem
    except OSError as failure:
        where = f"{failure.filename}: " if failure.filename else ""
        verdict, number = "refused", failure.errno or 0
        problem = f"{where}{(failure.strerror or str(failure)).lower()} (errno {number})"
    except Refused as failure:
        verdict, problem = "refused", str(failure)
    spent = round((time.perf_counter() - start) * 1000, 2)
    say(Outcome(name=name, verdict=verdict, problem=problem, number=number, detail=detail, milliseconds=spent))
    return verdict != "refused"


def start_child(action: Callable[[], bool]) -> int:
    """Fork, run ``action``, and end with 0 if it returned true; returns the pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = 0 if action() else 1
    except BaseException as problem:
        sys.stderr.write(f"{type(problem).__name__}: {problem}\n")
        sys.stderr.flush()
    finally:
        os._exit(status)


def in_child(action: Callable[[], bool]) -> bool:
    """Run ``action`` in a fork; false if it returned false or died."""
    return os.waitpid(start_child(action), 0)[1] == 0
