"""Whether the kernel's packet filter can be used here: the little of nf_tables' protocol that takes no library.

Source: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import os
import socket
import struct

from contextkernel.errors import SyscallFailed

_NETFILTER = 12  # netlink family
_SUBSYSTEM = 10
_BEGIN, _END = 16, 17
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = ((_SUBSYSTEM << 8) | number for number in (0, 3, 6))
_REQUEST, _ACK, _CREATE = 1, 4, 0x400
_ERROR = 2
_INET = 1
_NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_PATIENCE = 2.0  # seconds
_TABLE, _CHAIN = b"ck-trial\0", b"trial\0"


def try_redirect(port: int = 1) -> None:
    """Have the packet filter of this network namespace lead connections to a port; for one that is thrown away.

    Args:
        port: where to.

    Raises:
        SyscallFailed: the kernel refused: no privilege, or it has no such filter.
    """
    hook = _nested(4, _number(1, 0) + _number(2, -100))
    chain = _attribute(1, _TABLE) + _attribute(3, _CHAIN) + hook + _attribute(7, b"nat\0")
    value = _nested(2, _attribute(1, struct.pack(">H", port)))
    expressions = _expression(b"immediate\0", _number(1, 1) + value) + _expression(b"redir\0", _number(1, 1))
    rule = _attribute(1, _TABLE) + _attribute(2, _CHAIN) + _nested(4, expressions)
    steps = [(_NEW_TABLE, _attribute(1, _TABLE)), (_NEW_CHAIN, chain), (_NEW_RULE, rule)]
    messages = [_message(_BEGIN, _REQUEST, 0, struct.pack(">BBH", 0, 0, _SUBSYSTEM))]
    for number, (kind, body) in enumerate(steps, 1):
        messages.append(_message(kind, _REQUEST | _ACK | _CREATE, number, struct.pack(">BBH", _INET, 0, 0) + body))
    messages.append(_message(_END, _REQUEST, 0, struct.pack(">BBH", 0, 0, _SUBSYSTEM)))
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as link:
            link.settimeout(_PATIENCE)
            link.bind((0, 0))
            link.send(b"".join(messages))
            _await(link, len(steps))
    except OSError as problem:
        raise SyscallFailed("nf_tables redirect", problem.errno or 0) from problem


def _await(link: socket.socket, last: int) -> None:
    """Read answers until the last step's, or the first refusal."""
    while True:
        data = link.recv(1 << 16)
        while len(data) >= _HEADER.size + 4:
            length, kind, _, number, _ = _HEADER.unpack_from(data)
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", data, _HEADER.size)
                if code:
                    raise OSError(-code, os.strerror(-code))
                if number == last:
                    return
            data = data[max(_HEADER.size, (length + 3) & ~3) :]


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, number, 0) + body


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _nested(kind: int, data: bytes) -> bytes:
    return _attribute(kind | _NESTED, data)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">i", value))


def _expression(name: bytes, data: bytes) -> bytes:
    return _nested(1, _attribute(1, name) + _nested(2, data))
