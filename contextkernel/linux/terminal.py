"""Pseudo terminals (pty(7), ioctl_tty(2)): making one, its size, its owner, and raw mode."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios

from contextkernel.errors import SyscallFailed

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_PTMX = os.makedev(5, 2)
_INT = struct.Struct("i")


def open_peer(ptmx: int) -> int:
    """The program's end of the terminal whose other end was opened at ``/dev/ptmx`` (Linux 4.13).

    It is opened by way of the first, so nobody who can change names has a say in what it is.

    Args:
        ptmx: descriptor of the other end.

    Raises:
        SyscallFailed: it is no new terminal.
    """
    facts = os.fstat(ptmx)
    if facts.st_rdev != _PTMX or not stat.S_ISCHR(facts.st_mode):
        raise SyscallFailed("open a terminal", errno.ENOTTY, "/dev/pts/ptmx", "something else has been put there")
    try:
        fcntl.ioctl(ptmx, _TIOCSPTLCK, _INT.pack(0))
        return fcntl.ioctl(ptmx, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as problem:
        raise SyscallFailed("open a terminal", problem.errno or 0) from problem


def take_control(terminal: int) -> None:
    """Make it the controlling terminal of this session, whose leader this process is.

    Raises:
        SyscallFailed: it belongs to another session.
    """
    try:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    except OSError as problem:
        raise SyscallFailed("ioctl TIOCSCTTY", problem.errno or 0) from problem


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Set the size, which tells the program (SIGWINCH) if it changes; either end will do. No error without one."""
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))
    except OSError:
        return
