"""Process 1 of a container: carries out the plan's operations in order, the last of which executes the program.

It is cloned from the monitor, and every module it uses is imported before: the host's files are gone half way through.
What each operation does is in :mod:`~contextkernel.runtime.child_tree` and :mod:`~contextkernel.runtime.child_program`.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from typing import NamedTuple, NoReturn

from contextkernel.errors import ContextKernelError, SyscallFailed
from contextkernel.linux.descriptors import close_from
from contextkernel.linux.namespaces import set_parent_death_signal
from contextkernel.runtime import operations as op
from contextkernel.runtime.child_program import ChildProgram
from contextkernel.runtime.child_report import REPORT, report
from contextkernel.runtime.child_tree import ChildTree
from contextkernel.runtime.execute import ExecProblem
from contextkernel.runtime.messages import Failed

# signals that launcher or monitor handle in their own way; the launcher puts all others to their default
_CHANGED_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)


class Streams(NamedTuple):
    """Descriptors for the child: its three standard ones, and the socket on which it reports."""

    stdin: int
    stdout: int
    stderr: int
    report: int


def run_child(
    operations: tuple[op.Operation, ...], streams: Streams, permitted: frozenset[str], *, hidden: bool = False
) -> NoReturn:
    """Become the container; never returns, never raises.

    Args:
        operations: the plan.
        streams: descriptors, see there.
        permitted: capabilities that the launcher has; no others can be kept.
        hidden: there are others in the container already, and this process stays not dumpable until it executes the
            program, so that they cannot look into it.
    """
    step: op.Operation | None = None
    try:
        _settle(streams)
        tree = ChildTree()
        program = ChildProgram(tree, permitted, hidden=hidden)
        for step in operations:
            _apply(step, tree, program)
        report(Failed("setup", "the plan does not end in executing a program"))
    except ExecProblem as problem:
        report(Failed(problem.kind, problem.text, operation="Exec", number=problem.number))
    except ContextKernelError as problem:
        hint, number = problem.hint, getattr(problem, "number", 0)
        report(Failed("setup", _said(step, problem), hint=hint, operation=type(step).__name__, number=number))
    except OSError as problem:
        number = problem.errno or 0
        where = f" {problem.filename}" if problem.filename else ""
        reason = f"{os.strerror(number).lower()} (errno {number})"
        text = f"container set-up failed at {type(step).__name__}:{where} {reason}"
        report(Failed("setup", text, operation=type(step).__name__, number=number))
    except BaseException as problem:
        text = f"container set-up failed at {type(step).__name__}: {type(problem).__name__}: {problem}"
        report(Failed("setup", text, operation=type(step).__name__))
    finally:
        os._exit(1)


def _apply(step: op.Operation, tree: ChildTree, program: ChildProgram) -> None:
    if isinstance(step, op.TreeOperation):
        tree.apply(step)
    elif isinstance(step, op.ProgramOperation):
        program.apply(step)
    else:
        tree.trace(step)


def _said(step: op.Operation | None, problem: ContextKernelError) -> str:
    if isinstance(problem, SyscallFailed):
        return f"container set-up failed at {type(step).__name__}: {problem.problem}"
    return problem.problem


def _settle(streams: Streams) -> None:
    """A clean process: own session, default signals, only the descriptors it is meant to have."""
    # first out of the way of 0..3, then into place
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in streams]
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, place, inheritable=place < REPORT)
    close_from(REPORT + 1)
    set_parent_death_signal(signal.SIGKILL)
    poll = select.poll()
    poll.register(REPORT, 0)
    if poll.poll(0):  # the reader, our monitor, was gone before it could be watched
        os._exit(1)
    os.setsid()
    for number in _CHANGED_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
