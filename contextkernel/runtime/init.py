"""A small process 1 (``--init``): starts the program, forwards signals to it, reaps orphans, exits as it does."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from contextkernel.linux.namespaces import set_command_line, set_dumpable, set_process_name

_JOB_CONTROL = {signal.SIGTTIN, signal.SIGTTOU}


def run_as_init(argv: Sequence[str], report: int) -> None:
    """Fork; returns in the child, which is to execute the program. The parent stays as init and never returns.

    Args:
        argv: of the program, which init shows as its own: the engine's tells of the host.
        report: descriptor of the pipe that tells the monitor of a failed start; init itself must not hold it.
    """
    # this process runs the engine's interpreter, a file of the host: nobody inside may look at it. Said before there is
    # anybody who could; for the program, exec takes it back.
    set_dumpable(False)
    set_process_name("ck-init")
    set_command_line(["ck-init", "--", *argv])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    program = os.fork()
    if program == 0:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    status = 1
    try:
        os.close(report)
        status = _serve(program)
    finally:
        os._exit(status)


def _serve(program: int) -> int:
    wanted = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    while True:
        number = signal.sigwaitinfo(wanted).si_signo
        if number == signal.SIGCHLD:
            exit_code = _reap(program)
            if exit_code is not None:
                return exit_code
        elif number not in _JOB_CONTROL:
            try:
                os.kill(program, number)
            except ProcessLookupError:
                continue


def _reap(program: int) -> int | None:
    """Collect what has exited; the exit code of ``program`` if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code
