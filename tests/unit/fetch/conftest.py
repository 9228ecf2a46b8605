"""Servers on the loopback interface: well-behaved ones and others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from contextkernel.fetch.limits import Limits

#: short enough for tests, long enough for a busy machine that answers at all
SHORT = Limits(size=1 << 20, connect=5.0, quiet=1.0, slow=1, total=30.0, redirects=3)


class Site:
    """An HTTP server whose pages are functions of the request handler.

    Attributes:
        pages: by path, without query.
        seen: method, path and headers of each request.
    """

    def __init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                page = site.pages.get(self.path.partition("?")[0])
                if page is None:
                    self.send_error(404)
                else:
                    page(self)

            def log_message(self, *_: Any) -> None:
                return

        self.pages: dict[str, Callable[[Any], None]] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self._server.server_address[1]}{path}"

    def page(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        def answer(handler: Any) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(body)

        self.pages[path] = answer

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[Site]:
    """A second server, which is a stranger to the first."""
    made = Site()
    yield made
    made.close()


class Wire:
    """Sends what it likes: ``talk`` gets the connection, after the request's head if it is to ``greet``."""

    def __init__(self, talk: Callable[[socket.socket, threading.Event], None], *, greet: bool = True) -> None:
        self._greet = greet
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._over = threading.Event()
        self._talk = talk
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(5)
                try:
                    if self._greet:
                        connection.recv(65536)
                    self._talk(connection, self._over)
                except OSError:
                    continue

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    made: list[Wire] = []

    def make(talk: Callable[[socket.socket, threading.Event], None], *, greet: bool = True) -> Wire:
        made.append(Wire(talk, greet=greet))
        return made[-1]

    yield make
    for one in made:
        one.close()


def drip(data: bytes, pause: float) -> Callable[[socket.socket, threading.Event], None]:
    """Sends ``data``, then one byte after the other for ever."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(data)
        while not over.wait(pause):
            connection.sendall(b"x")

    return talk
