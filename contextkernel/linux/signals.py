"""Signal dispositions, all of them: the C library keeps two signals to itself and refuses to touch them."""

from __future__ import annotations

import ctypes
import signal
from contextlib import suppress

from contextkernel.errors import SyscallFailed
from contextkernel.linux.libc import syscall

_SET_BYTES = 8  # of the kernel's signal set
_DEFAULT = bytes(32)  # struct kernel_sigaction: no handler (SIG_DFL), no flags, no restorer, empty mask


def reset_signals() -> None:
    """Give every signal its default disposition and unblock them all, whatever this process inherited."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    # what is used by the C library's threads (32 and 33); some parents leave it ignored
    for reserved in set(range(1, signal.NSIG)) - signal.valid_signals():
        with suppress(SyscallFailed):
            syscall("rt_sigaction", int(reserved), ctypes.c_char_p(_DEFAULT), None, _SET_BYTES)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
