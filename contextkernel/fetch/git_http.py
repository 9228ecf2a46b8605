"""Git over HTTP: the client of dulwich with our bounds, and with credentials that stay with their server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import urllib3
from dulwich.client import HttpGitClient
from dulwich.config import ConfigFile
from dulwich.errors import GitProtocolError

from contextkernel.fetch.git_messages import Job

_MAX_REDIRECTS = 5


def http_client(remote: str, authorization: str, job: Job, count: Callable[[int], None]) -> HttpGitClient:
    """A client for ``remote``.

    Args:
        remote: URL without user information.
        authorization: header value for the remote's own host; empty for none.
        job: for its bounds.
        count: told the size of everything that comes.
    """
    timeout = urllib3.Timeout(connect=job.connect, read=job.quiet)
    parts = urlsplit(remote)
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    pool: urllib3.PoolManager
    if proxy and not proxy_bypass(parts.hostname or ""):
        pool = urllib3.ProxyManager(proxy, timeout=timeout)
    else:
        pool = urllib3.PoolManager(timeout=timeout)
    pool.headers = {"User-Agent": "git/contextkernel"}
    return _Client(remote, pool, authorization, count)


class _Client(HttpGitClient):
    """Sends the Authorization header to one server, follows redirects to http and https, and counts bytes."""

    def __init__(
        self, remote: str, pool: urllib3.PoolManager, authorization: str, count: Callable[[int], None]
    ) -> None:
        super().__init__(remote, pool_manager=pool, config=ConfigFile(), quiet=True)
        self._authorization = authorization
        self._home = self._origin(remote)
        self._count = count

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> tuple[Any, Callable[[int], bytes]]:
        asked = dict(headers or {})
        if self._authorization and self._origin(url) == self._home:
            asked["Authorization"] = self._authorization
        # its own redirects would be followed by the pool with these headers: strip them for other servers
        retries = urllib3.Retry(
            total=None,
            connect=0,
            read=0,
            status=0,
            other=0,
            redirect=_MAX_REDIRECTS,
            remove_headers_on_redirect=["Authorization", "Cookie", "Proxy-Authorization"],
        )
        manager = self.pool_manager
        self.pool_manager = _WithRetries(manager, retries)  # type: ignore[assignment]
        try:
            response, read = super()._http_request(url, asked, data, raise_for_status)
        finally:
            self.pool_manager = manager
        landed = urlsplit(response.geturl() or url)
        if landed.scheme not in {"http", "https", ""}:
            response.close()
            raise GitProtocolError(f"it redirects to {landed.scheme}://, only http and https are followed")

        def counted(size: int) -> bytes:
            block = read(size)
            self._count(len(block))
            return block

        return response, counted


class _WithRetries:
    """A pool manager with a rule for redirects added to each request."""

    def __init__(self, pool: Any, retries: urllib3.Retry) -> None:
        self._pool = pool
        self._retries = retries
        self.headers = pool.headers

    def request(self, method: str, url: str, **options: Any) -> Any:
        """See urllib3."""
        return self._pool.request(method, url, retries=self._retries, **options)
