"""The little networking that needs no library: the loopback device."""

from __future__ import annotations

import fcntl
import socket
import struct

from contextkernel.errors import SyscallFailed

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def loopback_up() -> None:
    """Switch on ``lo`` in this network namespace (netdevice(7)).

    Raises:
        SyscallFailed: the kernel refused.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
            answer = fcntl.ioctl(handle, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
            flags = struct.unpack("16sH14x", answer)[1]
            fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
    except OSError as problem:
        raise SyscallFailed("ioctl SIOCSIFFLAGS", problem.errno or 0, "lo") from problem
