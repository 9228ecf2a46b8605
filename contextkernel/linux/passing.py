"""Descriptors that ride on the bytes of a unix socket (SCM_RIGHTS, unix(7)).

Not ``socket.send_fds`` and ``recv_fds``: these pass over their flags, and what they receive would be inherited.
"""

from __future__ import annotations

import array
import socket
from collections.abc import Sequence

_SIZE = array.array("i").itemsize


def send_with(link: socket.socket, data: bytes, descriptors: Sequence[int]) -> int:
    """Send bytes; descriptors are duplicated into the receiver, with the first of them.

    Returns:
        How many bytes were taken.

    Raises:
        OSError: the connection is broken, or (not blocking) full.
    """
    notes = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    return link.sendmsg([data], notes, socket.MSG_NOSIGNAL)


def receive_with(link: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Take what there is, with its descriptors, which are close-on-exec and the caller's; no bytes at the end.

    Args:
        link: a unix socket.
        size: bytes to take at most.
        most: descriptors to take at most; the kernel closes any others.

    Raises:
        OSError: the connection is broken, or (not blocking) nothing is there.
    """
    received = array.array("i")
    data, notes, _, _ = link.recvmsg(size, socket.CMSG_LEN(most * _SIZE), socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in notes:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(content[: len(content) - len(content) % _SIZE])
    return data, list(received)
