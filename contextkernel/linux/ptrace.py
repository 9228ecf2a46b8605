"""ptrace(2): only whether a process may be traced by its parent."""

from __future__ import annotations

from contextkernel.linux.libc import check, libc

_PTRACE_TRACEME = 0


def trace_me() -> None:
    """Let the parent trace this process from now on.

    Raises:
        SyscallFailed: refused by seccomp or by a security module.
    """
    check(libc.ptrace(_PTRACE_TRACEME, 0, None, None), "ptrace")
