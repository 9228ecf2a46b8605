"""Plain HTTP for a registry: connections, TLS, proxies, redirects without credentials. Knows nothing of logins."""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Protocol, cast
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import urllib3

from contextkernel.errors import (
    InvalidInput,
    RegistryNameUnknown,
    RegistryRefused,
    RegistryUnreachable,
    RegistryUntrusted,
)
from contextkernel.model.urls import origin, proxy_for, shown
from contextkernel.registry.lines import Lines
from contextkernel.registry.retrying import Tries
from contextkernel.registry.settings import Endpoint

_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 10
_BLOCK = 1 << 18  # bytes that are sent at once
_CONNECTIONS = 8  # to one host at a time that are kept open
_MAX_TEXT = 200
_PATIENCE_AFTER_PUT = 5
_LEFT = 1 << 14  # bytes of a redirect's body that are read, since nobody needs them

Headers = Mapping[str, str]


class Source(Protocol):
    """The body of a request that is read while it is sent."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; empty at the end."""
        ...

    def seekable(self) -> bool:
        """Whether it can be read again."""
        ...

    def tell(self) -> int:
        """Where it stands."""
        ...

    def seek(self, place: int, /) -> int:
        """Go to what :meth:`tell` said."""
        ...


class Web:
    """Sends requests to an endpoint, and to where it redirects.

    Args:
        endpoint: its TLS settings are for its own host alone.
        registry: name for messages.
        tries: how long to wait for a connection and for an answer.
        lines: to be ended together with those of another one.
    """

    def __init__(self, endpoint: Endpoint, registry: str, tries: Tries, lines: Lines | None = None) -> None:
        self.lines = lines or Lines()
        self._endpoint = endpoint
        self._registry = registry
        self._tries = tries
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._base = endpoint.url
        self._settled = not endpoint.other

    @property
    def base(self) -> str:
        """The endpoint's URL, by the scheme that it turned out to speak."""
        return self._base

    def absolute(self, location: str) -> str:
        """A URL below the endpoint from an absolute or relative one."""
        return urljoin(self._base + "/", location)

    def send(
        self, method: str, url: str, headers: Headers, authorization: str = "", body: bytes | Source | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send one request; redirects of GET and HEAD are followed.

        Args:
            method: HTTP method.
            url: absolute.
            headers: go everywhere.
            authorization: goes to the endpoint's own host only, and never from TLS to plain text.
            body: of the request; a file is read once.

        Returns:
            The answer, unread; the caller closes it.

        Raises:
            RegistryUnreachable, RegistryUntrusted: no answer. RegistryRefused: redirects that lead nowhere, or to a
                host that wants a login: what it asks for is not answered with the registry's. GivenUp: ``lines`` was
                ended.
        """
        if not self._settled:
            self._settle()
        here = start = self._own(url)
        for _ in range(_MAX_REDIRECTS + 1):
            own = origin(here) == origin(self._base)
            sent = {**headers, "Authorization": authorization} if own and authorization else dict(headers)
            response = self._once(method, here, sent, body)
            if response.status == 401 and origin(here) != origin(start):
                # its challenge would decide who gets the password
                response.close()
                raise RegistryRefused(
                    f"{self._registry}: {shown(here)}, which {shown(start)} redirects to, wants a login of its own",
                    status=401,
                )
            if response.status not in _REDIRECTS or method not in ("GET", "HEAD"):
                return response
            location = response.headers.get("Location", "")
            with suppress(urllib3.exceptions.HTTPError, OSError):
                response.read(_LEFT, decode_content=False)  # at its end the connection can be used again
            response.close()
            here = self._next(here, location)
        raise RegistryRefused(f"{self._registry}: {shown(url)} leads from one redirect to the next")

    def is_own(self, url: str) -> bool:
        """Whether a URL is the endpoint's own: scheme, host and port."""
        return origin(self._own(url)) == origin(self._base)

    def _own(self, url: str) -> str:
        """The URL by the scheme that was settled on, where it is the endpoint's."""
        old = self._endpoint.url
        return self._base + url.removeprefix(old) if url.startswith(f"{old}/") else url

    def _next(self, here: str, location: str) -> str:
        try:
            parts = urlsplit(urljoin(here, location))
            target = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
            usable = bool(location and parts.scheme in ("http", "https") and parts.hostname and origin(target)[2])
        except ValueError:
            usable, target = False, ""
        if not usable:
            raise RegistryRefused(f"{self._registry}: {shown(here)} redirects to nowhere that can be followed")
        if urlsplit(here).scheme == "https" and urlsplit(target).scheme == "http":
            raise RegistryRefused(
                f"{self._registry}: {shown(here)} redirects to {shown(target)}, which is not encrypted",
                hint="the registry, or a proxy before it, must be told that it is reached by https",
            )
        return target

    def _once(self, method: str, url: str, headers: Headers, body: bytes | Source | None) -> urllib3.BaseHTTPResponse:
        self.lines.check()
        try:
            return self._pool(url).request(
                method,
                url,
                headers={"User-Agent": "contextkernel", "Accept-Encoding": "identity", **headers},
                body=cast("IO[bytes] | bytes | None", body),
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(
                    connect=self._tries.connect,
                    # a registry looks at all of a blob before it answers
                    read=self._tries.silence * (_PATIENCE_AFTER_PUT if method == "PUT" else 1),
                ),
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as problem:
            self.lines.check()
            raise self.unreachable(problem, url) from None

    def _settle(self) -> None:
        """Find out which scheme a host speaks that may speak either, once."""
        with self._lock:
            if self._settled:
                return
            first, other = self._endpoint.url, self._endpoint.other
            try:
                response = self._once("GET", f"{first}/v2/", {}, None)
                text = response.read(_MAX_TEXT) if response.status == 400 else b""
                response.close()
                speaks = b"HTTPS server" not in text and b"HTTPS port" not in text
                problem: RegistryUnreachable | None = None
            except urllib3.exceptions.HTTPError:
                speaks, problem = True, None
            except RegistryUnreachable as failure:
                speaks, problem = False, failure
            if not speaks:
                try:
                    self._once("GET", f"{other}/v2/", {}, None).close()
                    self._base = other
                except RegistryUnreachable:
                    if problem is not None:
                        raise problem from None
            self._settled = True

    def unreachable(self, problem: BaseException, url: str = "") -> RegistryUnreachable:
        """The error for a connection that did not come about or broke."""
        host = urlsplit(url).hostname or "" if url else ""
        where = self._registry
        if host and host != urlsplit(self._base).hostname:
            where += f" (by way of {host})"
        elif self._endpoint.mirror:
            where += f" (its mirror {shown(self._base)})"
        inner = _inner(problem)
        text = reason(problem)
        if isinstance(inner, ssl.SSLCertVerificationError):
            return RegistryUntrusted(
                f"the certificate of {where} is not trusted: {inner.verify_message.lower() or text}",
                hint="name its authority with 'ca' in registries.toml, or in SSL_CERT_FILE",
            )
        if isinstance(inner, ssl.SSLError):
            return RegistryUntrusted(
                f"{where} does not speak TLS as expected: {text}",
                hint="a registry without TLS needs 'insecure = true' in registries.toml",
            )
        if isinstance(inner, socket.gaierror):
            kind = RegistryNameUnknown if inner.errno in _NO_NAME else RegistryUnreachable
            return kind(
                f"cannot reach {where}: its name is not known: {text}",
                hint="check the spelling and the network, or name a mirror in registries.toml",
            )
        if isinstance(problem, urllib3.exceptions.ProxyError):
            return RegistryUnreachable(
                f"cannot reach {where}: the proxy does not help: {text}", hint="check HTTPS_PROXY and NO_PROXY"
            )
        return RegistryUnreachable(
            f"cannot reach {where}: {text}", hint="check the network, or name a mirror in registries.toml"
        )

    def _pool(self, url: str) -> urllib3.PoolManager:
        own = origin(url)[1:] == origin(self._base)[1:]
        proxy = proxy_for(url, os.environ) or ""
        with _POOLS:
            pool = self._pools.get((proxy, own))
            if pool is None:
                pool = self._pools[proxy, own] = self._made(proxy, own)
            return pool

    def _made(self, proxy: str, own: bool) -> urllib3.PoolManager:
        settings = {
            "maxsize": _CONNECTIONS,
            "blocksize": _BLOCK,
            "ssl_context": _context(self._endpoint if own else Endpoint(url="")),
        }
        if own and not self._endpoint.verify:
            settings["assert_hostname"] = False
            # the settings say so, and the documentation what it means: not once more for each request
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if not proxy:
            return self._watched(urllib3.PoolManager(**settings))  # type: ignore[arg-type]
        parts = urlsplit(proxy)
        if parts.scheme not in ("http", "https"):
            raise InvalidInput(f"the proxy {shown(proxy)} is neither http nor https")
        extra = None
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            extra = urllib3.make_headers(proxy_basic_auth=pair)
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))
        return self._watched(urllib3.ProxyManager(bare, proxy_headers=extra, **settings))  # type: ignore[arg-type]

    def _watched(self, pool: urllib3.PoolManager) -> urllib3.PoolManager:
        pool.pool_classes_by_scheme = self.lines.pools
        return pool


#: final answers of getaddrinfo(3); EAI_AGAIN is none
_NO_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_POOLS = threading.Lock()
_contexts: dict[tuple[bool, str, str, str], ssl.SSLContext] = {}


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    """TLS settings; made once for each endpoint's own, since reading the system's authorities takes a while."""
    key = (endpoint.verify, endpoint.ca, endpoint.certificate, endpoint.key)
    if key in _contexts and not any(key[1:]):
        return _contexts[key]
    context = ssl.create_default_context()
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    name = endpoint.ca
    try:
        if endpoint.ca:
            context.load_verify_locations(endpoint.ca)
        name = endpoint.certificate
        if endpoint.certificate:
            context.load_cert_chain(endpoint.certificate, endpoint.key or None, password=_no_password)
    except (OSError, ValueError) as problem:  # ssl.SSLError is an OSError
        text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        raise InvalidInput(f"cannot use {name} for TLS: {text.lower()}", hint="PEM files are expected") from None
    _contexts[key] = context
    return context


def _no_password() -> str:
    raise ValueError("its key is encrypted")


def _inner(problem: BaseException) -> BaseException:
    inner = problem
    for _ in range(10):
        below = getattr(inner, "reason", None)
        if not isinstance(below, BaseException):
            below = getattr(inner, "original_error", None)
        if not isinstance(below, BaseException):
            below = next((arg for arg in inner.args if isinstance(arg, BaseException)), None)
        below = below if isinstance(below, BaseException) else inner.__cause__
        if below is None:
            break
        inner = below
    return inner


def reason(problem: BaseException) -> str:
    """The innermost cause of a failed connection, without urllib3's wrapping and the URL, which may hold a token."""
    inner = _inner(problem)
    if isinstance(inner, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(inner, urllib3.exceptions.IncompleteRead):
        return "the connection broke before the end"
    if isinstance(inner, ValueError) and not isinstance(inner, OSError | urllib3.exceptions.HTTPError):
        return "the request has characters that cannot be sent"  # the text of the error would repeat them
    if isinstance(inner, OSError) and inner.strerror and not isinstance(inner, ssl.SSLError):
        text = inner.strerror
    else:
        text = re.sub(r"\[[^\]]*\] |^.*?>: |\(_ssl\.c:\d+\)|<[^>]*>|https?://\S+", "", str(inner)).strip()
        text = re.sub(r"\[Errno -?\d+\] ", "", text).rpartition(": [")[0] or text
    text = text[:_MAX_TEXT]
    return text[:1].lower() + text[1:] or type(inner).__name__
