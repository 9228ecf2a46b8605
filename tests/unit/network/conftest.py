"""A loop that runs in a thread of its own, and programs to talk to."""

from __future__ import annotations

import errno
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from contextkernel.network.loop import Loop

Value = TypeVar("Value")
PATIENCE = 60.0  # seconds until a test that hangs fails


class Turning:
    """A loop in a thread; everything that concerns it is done there by :meth:`do`."""

    def __init__(self) -> None:
        self.problems: list[Exception] = []
        self.loop = Loop(self.problems.append)
        self._wanted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._read, self._write = os.pipe()
        self.loop.add_reader(self._read, self._work)
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    def _work(self) -> None:
        os.read(self._read, 1)
        self._wanted.get()()

    def do(self, action: Callable[[], Value]) -> Value:
        """Carry out in the loop's thread, and hand on what came of it."""
        answer: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def carry_out() -> None:
            try:
                answer.put((True, action()))
            except BaseException as problem:
                answer.put((False, problem))

        self._wanted.put(carry_out)
        os.write(self._write, b"x")
        well, value = answer.get(timeout=PATIENCE)
        if not well:
            raise value
        return value

    def close(self) -> None:
        self.do(self.loop.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self.loop.close()
        os.close(self._read)
        os.close(self._write)
        assert self.problems == []


@pytest.fixture
def turning() -> Iterator[Turning]:
    made = Turning()
    yield made
    made.close()


class Server:
    """A TCP server that does the same with each connection, in a thread each."""

    def __init__(self, serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> None:
        self._serve = serve
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family, backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError as problem:
                if problem.errno != errno.EMFILE:
                    return
                threading.Event().wait(0.01)  # a test has taken all descriptors of this process
                continue
            client.settimeout(PATIENCE)
            thread = threading.Thread(target=self._one, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _one(self, client: socket.socket) -> None:
        with client, suppress(ConnectionError):  # what a client does is not this one's to judge
            self._serve(client)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._accepting.join(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Server:
        made.append(Server(serve, host))
        return made[-1]

    yield make
    for one in made:
        one.close()


def read_all(one: socket.socket) -> bytes:
    """Everything until the other side has said its last."""
    parts = []
    while data := one.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def echo(client: socket.socket) -> None:
    """Say everything back, and end when the other side has."""
    while data := client.recv(1 << 16):
        client.sendall(data)
