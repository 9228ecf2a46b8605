"""Our own registry in a thread, for tests of programs that push and pull.

::

    with serve_registry() as registry:
        engine.push(f"{registry.address}/team/demo:v1")
        assert registry.requested("PUT", "/v2/team/demo/manifests/v1") == [201]
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tornado.httputil import HTTPServerRequest

from contextkernel.registry_server.access import Guard, Open, PasswordGuard, PasswordHash
from contextkernel.registry_server.requests import Asked, Canned, Instead
from contextkernel.registry_server.server import Server
from contextkernel.registry_server.storage import Storage
from contextkernel.testing.registry_tokens import TokenGuard, Tokens

__all__ = ["Asked", "Canned", "ServedRegistry", "Tokens", "serve_registry"]


@dataclass
class ServedRegistry:
    """A registry that is running.

    Attributes:
        address: ``127.0.0.1:port``, as it stands in an image's name.
        storage: its content, to look at or to damage; see :class:`contextkernel.registry_server.storage.Storage`.
        secure: it speaks TLS.
        requests: what was asked and answered, in order.
        answer: looked at for every request; what it returns is sent instead of the registry's own answer: a
            :class:`Canned`, or a function that makes one of the body. Runs on the registry's thread.
        tokens: those of a registry that wants bearer tokens.
    """

    address: str
    storage: Storage
    secure: bool = False
    requests: list[Asked] = field(default_factory=list)
    answer: Callable[[HTTPServerRequest], Instead] = lambda _: None
    tokens: Tokens | None = None

    @property
    def url(self) -> str:
        """Scheme and address."""
        return f"{'https' if self.secure else 'http'}://{self.address}"

    def requested(self, method: str, path: str) -> list[int]:
        """The status of each answer to requests of this method and exact path (without the query)."""
        return [one.status for one in list(self.requests) if (one.method, one.path) == (method, path)]


@contextmanager
def serve_registry(
    root: str | None = None,
    *,
    user: str = "",
    password: str = "",
    tokens: Tokens | None = None,
    tls: ssl.SSLContext | None = None,
    port: int = 0,
) -> Iterator[ServedRegistry]:
    """Serve a registry on loopback as long as the ``with`` block lasts.

    Args:
        root: directory that keeps its content; default a temporary one. Another registry may serve it later.
        user: with ``password``: who is let in, by basic authentication.
        password: see there.
        tokens: wants bearer tokens instead, which this registry gives out itself under ``/token``.
        tls: certificate and key, for HTTPS.
        port: where to listen; default any.

    Raises:
        OSError: the port is taken, or the directory cannot be used.
    """
    folder = root or tempfile.mkdtemp(prefix="registry-")
    listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
    try:
        storage = Storage(folder)
        storage.prepare()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        served = ServedRegistry(address, storage, tls is not None, tokens=tokens)
        guard: Guard = Open()
        if tokens is not None:
            guard = TokenGuard(tokens, f"{served.url}/token", address)
        elif user:
            guard = PasswordGuard(PasswordHash.of(user, password))
        with _running(served, guard, tls, listener):
            yield served
    finally:
        listener.close()
        if root is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(
    served: ServedRegistry, guard: Guard, tls: ssl.SSLContext | None, listener: socket.socket
) -> Iterator[None]:
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    def instead(request: HTTPServerRequest) -> Instead:
        canned = served.answer(request)
        if canned is None and served.tokens is not None and request.path == "/token":
            return served.tokens.asked(request)
        return canned

    async def main() -> None:
        ended = asyncio.Event()
        server = Server(served.storage, guard, tls=tls, browsers=False, log=served.requests.append, instead=instead)
        server.add(listener)
        running.append((asyncio.get_running_loop(), ended))
        ready.set()
        await ended.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="registry", daemon=True)
    thread.start()
    try:
        ready.wait()
        yield
    finally:
        loop, ended = running[0]
        loop.call_soon_threadsafe(ended.set)
        thread.join()
