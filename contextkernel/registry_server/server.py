"""A registry that listens: the parts put together."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakSet

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application

from contextkernel.registry_server.access import Guard, Peers
from contextkernel.registry_server.content import Content
from contextkernel.registry_server.requests import Asked, Base, Catalog, Instead, Nothing, Surroundings, Tags
from contextkernel.registry_server.requests_content import Blobs, Manifests, Referrers
from contextkernel.registry_server.requests_uploads import Begin, Session
from contextkernel.registry_server.storage import Storage
from contextkernel.registry_server.uploads import Uploads

_THREADS = 4
_PIECE = 1 << 20  # bytes that are read from a connection at a time
_BUFFER = 2 << 20  # bytes that a connection may hold back; a client that does not take its answer waits
_HEADER = 1 << 15
_IDLE = 300.0  # seconds for which a connection may wait for its next request
_BACKLOG = 128
_CONNECTIONS = 512  # at a time; more are cut
_STRANGERS = 32  # of those who are told that they may not ask
_HANDSHAKE = 0x16  # type of the first record of TLS (RFC 8446, section 5.1)
_NAME = r"(?P<name>[^?#]+)"


class Server:
    """A registry on some sockets; made and used on one event loop.

    Args:
        content: what it has; a :class:`Storage` can be pushed to.
        guard: decides about requests.
        peers: whose programs are answered; ``None``: everybody's.
        tls: for HTTPS.
        browsers: refuse what browsers send for web pages, and hosts that are not of loopback.
        log: told of every request.
        instead: see :class:`Surroundings`.
    """

    def __init__(
        self,
        content: Content,
        guard: Guard,
        *,
        peers: Peers | None = None,
        tls: ssl.SSLContext | None = None,
        browsers: bool = True,
        log: Callable[[Asked], None] = lambda _: None,
        instead: Callable[[HTTPServerRequest], Instead] = lambda _: None,
    ) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="registry")
        storage = content if isinstance(content, Storage) else None
        self._uploads = None if storage is None else Uploads(storage, self._executor)
        around = Surroundings(
            content,
            storage,
            self._uploads,
            self._executor,
            guard,
            reachable=_reachable,
            browsers=browsers,
            log=log,
            instead=instead,
        )
        self._http = _Http(peers, _application(around), tls)

    def add(self, listener: socket.socket) -> None:
        """Listen on a bound socket; it is this server's now."""
        listener.setblocking(False)  # noqa: FBT003 - takes no keyword
        listener.listen(_BACKLOG)
        self._http.add_sockets([listener])

    def forget_idle(self) -> None:
        """Give up uploads that nobody goes on with."""
        if self._uploads is not None:
            self._uploads.forget_idle()

    async def close(self, *, wait: bool = True) -> None:
        """Stop listening, cut all connections, give up uploads.

        Args:
            wait: until threads have ended what they are at; without, the process must end now.
        """
        self._http.stop()
        self._executor.shutdown(wait=False, cancel_futures=True)
        if wait:
            await self._http.close_all_connections()
            self._executor.shutdown(wait=True)
        if self._uploads is not None:
            self._uploads.close()


class _Http(HTTPServer):
    """Notes, as soon as somebody connects, whether it is one who may: later the kernel may not know any more."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Not called: tornado makes servers by :meth:`initialize`."""

    def initialize(  # type: ignore[override]
        self, peers: Peers | None, application: Application, tls: ssl.SSLContext | None
    ) -> None:
        """See :class:`Server`."""
        self._peers = peers
        self._streams: WeakSet[Any] = WeakSet()
        self._strangers: WeakSet[Any] = WeakSet()
        super().initialize(
            application,
            ssl_options=tls,
            chunk_size=_PIECE,
            max_buffer_size=_BUFFER,
            max_header_size=_HEADER,
            idle_connection_timeout=_IDLE,
        )

    def handle_stream(self, stream: Any, address: Any) -> None:
        """Called by tornado for every connection."""
        stream.ours = self._peers is None or self._peers.allowed(stream.socket.getsockname()[:2], address[:2])
        kin, most = (self._streams, _CONNECTIONS) if stream.ours else (self._strangers, _STRANGERS)
        if sum(not one.closed() for one in kin) >= most:
            stream.close()
            return
        kin.add(stream)
        if self.ssl_options is None:
            _refuse_tls(stream)
        super().handle_stream(stream, address)


def _refuse_tls(stream: Any) -> None:
    """End a connection on which TLS is tried, at its first byte.

    Many clients try that first. A handshake may have no line end in it, and who waits for one waits until they give up.
    """
    read = stream.read_from_fd

    def first(buffer: memoryview) -> int | None:
        count: int | None = read(buffer)
        if count:
            stream.read_from_fd = read
            if buffer[0] == _HANDSHAKE:
                return 0  # as at the end of the connection
        return count

    stream.read_from_fd = first


def _reachable(request: HTTPServerRequest) -> bool:
    connection: Any = request.connection
    return bool(getattr(connection.stream, "ours", False))


def _application(around: Surroundings) -> Application:
    routes: list[tuple[str, Any]] = [
        (r"/v2/?", Base),
        (r"/v2/_catalog", Catalog),
        (rf"/v2/{_NAME}/tags/list", Tags),
        (rf"/v2/{_NAME}/blobs/uploads/?", Begin),
        (rf"/v2/{_NAME}/blobs/uploads/(?P<id>[^/]+)", Session),
        (rf"/v2/{_NAME}/blobs/(?P<digest>[^/]+)", Blobs),
        (rf"/v2/{_NAME}/manifests/(?P<reference>[^/]+)", Manifests),
        (rf"/v2/{_NAME}/referrers/(?P<digest>[^/]+)", Referrers),
        (r".*", Nothing),
    ]
    given = {"around": around}
    return Application(
        [(path, handler, given) for path, handler in routes],
        log_function=lambda _: None,
        autoreload=False,
    )
