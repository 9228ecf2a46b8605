"""The trial of the packet filter, against a kernel that is played by the test."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from contextkernel.errors import SyscallFailed
from contextkernel.linux import netfilter


class Kernel:
    """A netlink socket: keeps what it is sent, and answers each message that wants it."""

    sent = b""

    def __init__(self, refuses: int = 0, code: int = errno.EPERM) -> None:
        self._refuses = refuses
        self._code = code

    def __call__(self, *_arguments: int) -> Kernel:
        return self

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def settimeout(self, _seconds: float) -> None:
        return

    def bind(self, _address: object) -> None:
        return

    def send(self, data: bytes) -> None:
        self.sent = data

    def recv(self, _size: int) -> bytes:
        answers = []
        for kind, flags, number, _ in messages(self.sent):
            if flags & 4:
                code = -self._code if self._refuses == number else 0
                body = struct.pack("=iIHHII", code, 20, kind, flags, number, 0)
                answers.append(struct.pack("=IHHII", 16 + len(body), 2, 0, number, 0) + body)
        return b"".join(answers)


def messages(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found = []
    while data:
        length, kind, flags, number, _ = struct.unpack_from("=IHHII", data)
        assert length % 4 == 0
        found.append((kind, flags, number, data[16:length]))
        data = data[length:]
    return found


def trial(monkeypatch, kernel: Kernel) -> Kernel:
    monkeypatch.setattr(socket, "socket", kernel)
    netfilter.try_redirect(8080)
    return kernel


def test_what_is_asked_of_the_kernel(monkeypatch):
    kinds = [kind for kind, *_ in messages(trial(monkeypatch, Kernel()).sent)]
    assert kinds == [16, 10 << 8, 10 << 8 | 3, 10 << 8 | 6, 17]
    rule = messages(trial(monkeypatch, Kernel()).sent)[3][3]
    assert b"redir\0" in rule
    assert struct.pack(">H", 8080) in rule


@pytest.mark.parametrize("step", [1, 2, 3])
def test_any_step_may_be_refused(monkeypatch, step):
    with pytest.raises(SyscallFailed) as caught:
        trial(monkeypatch, Kernel(step, errno.EOPNOTSUPP))
    assert caught.value.number == errno.EOPNOTSUPP


def test_no_such_socket(monkeypatch):
    def none(*_arguments: int) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "protocol not supported")

    monkeypatch.setattr(socket, "socket", none)
    with pytest.raises(SyscallFailed, match="nf_tables redirect: protocol not supported"):
        netfilter.try_redirect()
