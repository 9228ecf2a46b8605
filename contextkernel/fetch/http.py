"""Downloading a file over HTTP: redirects followed with care, and a server that stalls, lies or never ends given up.

Source of the rules: BuildKit's ``source/http`` (headers, entity tags, secrets), RFC 9110.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.message import Message
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import urllib3

from contextkernel.errors import FetchFailed
from contextkernel.fetch.limits import Limits
from contextkernel.model.events import StepProgress
from contextkernel.model.fetching import Credentials, Downloaded
from contextkernel.model.ports import Reporter
from contextkernel.model.urls import origin, proxy_for, shown

_CHUNK = 1 << 16
_GLANCE = 0.2  # seconds between looks at a transfer
_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_TEXT = 200
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REPORT_EVERY = 1 << 20


def reason(problem: BaseException) -> str:
    """The innermost cause of a failed connection, without urllib3's wrapping and without the URL."""
    inner: BaseException = problem
    while isinstance(below := getattr(inner, "reason", None) or inner.__cause__, BaseException):
        inner = below
    if isinstance(inner, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    text = re.sub(r"\[Errno -?\d+\] |^.*?>: |\(_ssl\.c:\d+\)|<[^>]*>", "", str(inner)).strip()[:_MAX_TEXT]
    return text[:1].lower() + text[1:] or type(problem).__name__


def download(
    url: str,
    path: str,
    credentials: Credentials,
    limits: Limits,
    *,
    offset: int = 0,
    known: Callable[[str], bool] = lambda _etag: False,
    report: Reporter = lambda _event: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Downloaded:
    """See :class:`contextkernel.model.fetching.Fetcher`."""
    watch = _Watch(limits, stopped)
    try:
        with watch, _opened(url, credentials, limits, watch) as response:
            etag = response.headers.get("ETag", "").strip().removeprefix("W/")[:_MAX_TEXT]
            facts = Downloaded(etag=etag, modified=_modified(response.headers), name=_named(response.headers))
            if etag and known(etag):
                return facts
            size, digest = _save(response, url, path, offset, limits, watch, report)
            return Downloaded(digest=digest, size=size, etag=etag, modified=facts.modified, name=facts.name)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as problem:
        if isinstance(problem, OSError) and problem.filename is not None:
            raise  # a file of ours
        text = watch.verdict or f"the connection failed: {reason(problem)}"
        raise FetchFailed(f"cannot fetch {shown(url)}: {text}", hint=_hint(problem)) from None


def _hint(problem: BaseException) -> str | None:
    if "certificate" in str(problem).lower():
        return "the server's certificate is not trusted here; SSL_CERT_FILE names a file of further authorities"
    return None


@contextmanager
def _opened(url: str, credentials: Credentials, limits: Limits, watch: _Watch) -> Iterator[urllib3.BaseHTTPResponse]:
    """The answer to GET after redirects; closed at the end."""
    headers = _authorization(url, credentials)
    here = _without_user(url)
    for _ in range(limits.redirects + 1):
        if urlsplit(here).scheme not in _DEFAULT_PORTS or not urlsplit(here).hostname:
            raise FetchFailed(
                f"cannot fetch {shown(url)}: it redirects to {shown(here)!r}", hint="only http and https are followed"
            )
        pool = _pool(here, limits, watch)
        try:
            response = pool.request(
                "GET",
                here,
                headers={"User-Agent": "contextkernel", "Accept-Encoding": "identity", "Accept": "*/*", **headers},
                preload_content=False,
                redirect=False,
                retries=False,
            )
            try:
                if response.status not in _REDIRECTS:
                    _check(response, url)
                    yield response
                    return
                target = _without_user(urljoin(here, response.headers.get("Location", "")))
            finally:
                response.close()
        finally:
            pool.clear()
        if origin(target) != origin(here):
            headers = {}  # what one server may see is not for another
        here = target
    raise FetchFailed(f"cannot fetch {shown(url)}: more than {limits.redirects} redirects")


def _check(response: urllib3.BaseHTTPResponse, url: str) -> None:
    if 200 <= response.status < 300:
        return
    hint = {
        401: "give the secret HTTP_AUTH_TOKEN_<host> or HTTP_AUTH_HEADER_<host>, if the server knows you",
        403: "give the secret HTTP_AUTH_TOKEN_<host> or HTTP_AUTH_HEADER_<host>, if the server knows you",
        404: "check the spelling of the URL",
    }.get(response.status)
    raise FetchFailed(f"cannot fetch {shown(url)}: the server answered {response.status}", hint=hint)


def _save(
    response: urllib3.BaseHTTPResponse,
    url: str,
    path: str,
    offset: int,
    limits: Limits,
    watch: _Watch,
    report: Reporter,
) -> tuple[int, str]:
    promised = _length(response.headers)
    too_large = FetchFailed(
        f"cannot fetch {shown(url)}: it is larger than {limits.size} bytes",
        hint="CONTEXTKERNEL_FETCH_LIMIT sets how much may be fetched, e.g. 50g",
    )
    if promised is not None and promised > limits.size:
        raise too_large
    encoded = response.headers.get("Content-Encoding", "").strip().lower()
    if encoded not in {"", "identity", "gzip", "x-gzip"}:
        raise FetchFailed(f"cannot fetch {shown(url)}: the server encodes it as {encoded[:20]!r}, which was not asked")
    content, size, taken, told = hashlib.sha256(), 0, 0, 0
    unpack = _gunzip if encoded.endswith("gzip") else _as_it_is
    source = _blocks(response, watch)
    with open(path, "xb") as file:
        file.seek(offset)
        for block in unpack(source):
            size += len(block)
            if size > limits.size:
                raise too_large
            content.update(block)
            file.write(block)
            taken = watch.received
            if taken - told >= _REPORT_EVERY:
                told = taken
                report(StepProgress(0, shown(url), taken, promised or 0))
        if watch.verdict:
            raise FetchFailed(f"cannot fetch {shown(url)}: {watch.verdict}")
        if promised is not None and watch.received != promised:
            raise FetchFailed(
                f"cannot fetch {shown(url)}: it ended after {watch.received} bytes of {promised}",
                hint="the connection broke, or the server lies about the length; try again",
            )
    report(StepProgress(0, shown(url), watch.received, promised or watch.received))
    return size, f"sha256:{content.hexdigest()}"


def _blocks(response: urllib3.BaseHTTPResponse, watch: _Watch) -> Iterator[bytes]:
    while block := response.read1(_CHUNK, decode_content=False):
        watch.received += len(block)
        yield block


def _as_it_is(blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield from blocks


def _gunzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Undo Content-Encoding: gzip, a bounded piece at a time."""
    engine = zlib.decompressobj(31)
    try:
        for block in blocks:
            rest = block
            while rest and not engine.eof:
                yield engine.decompress(rest, _CHUNK)
                rest = engine.unconsumed_tail
        while not engine.eof and (piece := engine.decompress(engine.unconsumed_tail, _CHUNK)):
            yield piece
    except zlib.error as problem:
        raise ValueError("the server's gzip is damaged") from problem
    if not engine.eof:
        raise ValueError("the server's gzip ends too early")


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _modified(headers: Mapping[str, str]) -> int:
    with suppress(ValueError, TypeError, OverflowError):
        return max(0, int(parsedate_to_datetime(headers.get("Last-Modified", "")).timestamp()))
    return 0


def _named(headers: Mapping[str, str]) -> str:
    """The file name of Content-Disposition, its last component only."""
    message = Message()
    with suppress(ValueError, LookupError, UnicodeError):
        message["content-disposition"] = headers.get("Content-Disposition", "")
        name = message.get_filename() or ""
        base = name.replace("\\", "/").rpartition("/")[2].strip()
        return "" if base in {".", ".."} or not base.isprintable() else base[:255]
    return ""


def _authorization(url: str, credentials: Credentials) -> dict[str, str]:
    """The Authorization header for a URL's own host: of its secrets, else of the user information in it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    secrets = credentials.secrets
    token, header = secrets.get(f"HTTP_AUTH_TOKEN_{host}"), secrets.get(f"HTTP_AUTH_HEADER_{host}")
    value = f"Bearer {_line(token)}" if token is not None else _line(header) if header is not None else ""
    if not value and (parts.username or parts.password):
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        value = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return {"Authorization": value} if value else {}


def _line(secret: bytes) -> str:
    text = secret.decode("latin-1").strip()
    if not text.isprintable():
        raise FetchFailed("a secret for HTTP has characters that a header cannot have", hint="is it the right file?")
    return text


def _without_user(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path or "/", parts.query, ""))
    except ValueError:
        raise FetchFailed(f"{shown(url)!r} is not a URL") from None


class _Watch:
    """Ends a transfer that stalls: a timer closes the socket when too little has arrived, or too much time has gone.

    Attributes:
        received: bytes of the body so far.
        verdict: why the socket was closed; empty as long as it was not.
    """

    def __init__(self, limits: Limits, stopped: Callable[[], bool]) -> None:
        self._limits = limits
        self._stopped = stopped
        self._sockets: list[socket.socket] = []
        self._end = time.monotonic() + limits.total
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.received = 0
        self.verdict = ""

    def __enter__(self) -> _Watch:
        self._thread = threading.Thread(target=self._look, name="fetch-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        for sock in self._sockets:
            sock.close()

    def watched(self, sock: socket.socket) -> socket.socket:
        """Watch a socket, from before TLS takes it over."""
        self._sockets.append(sock.dup())
        return sock

    def _look(self) -> None:
        seen, due = 0, time.monotonic() + self._limits.quiet
        while not self._over.wait(min(_GLANCE, self._limits.quiet)):
            now = time.monotonic()
            if self._stopped():
                self.verdict = "it was stopped"
            elif now > self._end:
                self.verdict = f"it took longer than {self._limits.total:g} seconds"
            elif now < due:
                continue
            elif self.received - seen < self._limits.slow:
                self.verdict = f"the server sent too little in {self._limits.quiet:g} seconds"
            else:
                seen, due = self.received, now + self._limits.quiet
                continue
            for sock in self._sockets:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            return


def _pool(url: str, limits: Limits, watch: _Watch) -> urllib3.PoolManager:
    """A pool whose connections are watched; through the environment's proxy where it names one for this host."""

    class Plain(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return watch.watched(super()._new_conn())

    class Secure(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return watch.watched(super()._new_conn())

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    timeout = urllib3.Timeout(connect=limits.connect, read=limits.quiet)
    proxy = proxy_for(url, os.environ)
    pool: urllib3.PoolManager
    pool = urllib3.ProxyManager(proxy, timeout=timeout) if proxy else urllib3.PoolManager(timeout=timeout)
    pool.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return pool
