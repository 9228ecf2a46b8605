"""Process descriptors (pidfd_open(2)): a process that cannot be mistaken for a later one with the same number."""

from __future__ import annotations

import os
import signal

from contextkernel.errors import SyscallFailed


def open_pid(pid: int) -> int | None:
    """A descriptor of process ``pid`` that becomes readable at its exit; ``None`` if there is no such process."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    except OSError as problem:
        raise SyscallFailed("pidfd_open", problem.errno or 0) from problem


def send(descriptor: int, number: int) -> bool:
    """Send a signal; ``False`` if the process has already exited.

    Raises:
        SyscallFailed: not permitted.
    """
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    except OSError as problem:
        raise SyscallFailed("pidfd_send_signal", problem.errno or 0) from problem
    return True


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot (field 22 of /proc/PID/stat); 0 if it does not exist."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            text = stat.read()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # the command name, in parentheses, may itself hold spaces and parentheses
    return int(text[text.rindex(b")") + 2 :].split()[19])
