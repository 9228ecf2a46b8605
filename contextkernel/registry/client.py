"""A client for one repository of one registry: manifests and blobs, with anonymous or basic-auth bearer tokens.

Sources: OCI distribution-spec v1.1 ("Pull"), and Docker's token authentication specification.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import urllib3

from contextkernel.errors import ImageNotFound, RegistryRefused, RegistryUnreachable
from contextkernel.model import oci

if TYPE_CHECKING:
    from contextkernel.registry.settings import Endpoint

_ACCEPT = f"{oci.MEDIA_INDEX}, {oci.MEDIA_DOCKER_LIST}, {oci.MEDIA_MANIFEST}, {oci.MEDIA_DOCKER_MANIFEST}"
_CONNECT_TIMEOUT = 5.0  # seconds; an unreachable registry must not hold up a notebook
_READ_TIMEOUT = 60.0
_MAX_DOCUMENT = 4 << 20  # bytes; the specification asks registries to accept manifests of at least 4 MiB
_MAX_ERROR = 500  # characters of a registry's error text that are repeated
_RETRIES = urllib3.Retry(
    total=4, connect=0, read=2, status=3, status_forcelist=(429, 500, 502, 503, 504), backoff_factor=0.3,
    allowed_methods=("GET", "HEAD"), raise_on_status=False,
)  # fmt: skip
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Repository:
    """One repository at one endpoint.

    Args:
        endpoint: where the registry answers.
        registry: its name, for credentials and messages.
        path: the repository, e.g. ``library/ubuntu``.
    """

    def __init__(self, endpoint: Endpoint, registry: str, path: str) -> None:
        self._base = f"{endpoint.url}/v2/{path}"
        self._where = f"{registry}/{path}"
        self._registry = registry
        self._mirror = endpoint.mirror
        self._headers = {"User-Agent": "contextkernel"}
        self._pool = _pool()

    def manifest(self, reference: str) -> tuple[str, bytes]:
        """The document under a tag or digest.

        Returns:
            Its media type and its exact bytes.

        Raises:
            ImageNotFound: the registry has no such manifest. RegistryRefused, RegistryUnreachable: see there.
        """
        with self._get(f"{self._base}/manifests/{reference}", {"Accept": _ACCEPT}) as response:
            if response.status == 404:
                raise ImageNotFound(f"{self._where}:{reference} does not exist in the registry")
            self._check(response, f"manifest {reference}")
            data = response.read(_MAX_DOCUMENT + 1, decode_content=True)
            if len(data) > _MAX_DOCUMENT:
                raise RegistryRefused(f"{self._where}: manifest {reference} is larger than {_MAX_DOCUMENT} bytes")
            return response.headers.get("Content-Type", "").partition(";")[0].strip(), data

    @contextmanager
    def blob(self, digest: str) -> Iterator[urllib3.BaseHTTPResponse]:
        """A blob as a readable stream; verifying it is the caller's part."""
        with self._get(f"{self._base}/blobs/{digest}", {}) as response:
            if response.status == 404:
                raise ImageNotFound(f"{self._where}: the registry has no blob {digest}")
            self._check(response, f"blob {digest}")
            yield response

    @contextmanager
    def _get(self, url: str, headers: dict[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        response = self._request(url, headers)
        if response.status == 401:
            challenge = response.headers.get("WWW-Authenticate", "")
            response.close()
            self._authenticate(challenge)
            response = self._request(url, headers)
        try:
            yield response
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise RegistryUnreachable(f"the connection to {self._registry} broke: {_reason(problem)}") from None
        finally:
            response.release_conn()
            response.close()

    def _request(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            # redirects to a storage host must not carry the registry's token: urllib3 strips Authorization there
            return self._pool.request("GET", url, headers={**self._headers, **headers}, preload_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise RegistryUnreachable(
                f"cannot reach {self._registry}: {_reason(problem)}",
                hint="check the network, or name a mirror in registries.toml",
            ) from None

    def _authenticate(self, challenge: str) -> None:
        """Answer a ``WWW-Authenticate`` challenge with a bearer token or basic credentials."""
        scheme, _, rest = challenge.partition(" ")
        credentials = _credentials(self._registry)
        if scheme.lower() == "basic":
            if credentials is None:
                raise RegistryRefused(f"{self._where}: the registry wants a login")
            self._headers["Authorization"] = f"Basic {credentials}"
            return
        fields = dict(_CHALLENGE.findall(rest))
        realm = fields.get("realm", "")
        if scheme.lower() != "bearer" or urlsplit(realm).scheme not in ("http", "https"):
            raise RegistryRefused(f"{self._where}: the registry asks for an unknown kind of login {scheme!r}")
        query = urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
        if credentials and realm.startswith("http:") and not self._base.startswith("http:"):
            raise RegistryRefused(
                f"{self._where}: the registry asks for the password over an open connection to {realm!r}"
            )
        headers = {"Authorization": f"Basic {credentials}"} if credentials else {}
        response = self._request(f"{realm}{'&' if '?' in realm else '?'}{query}", headers)
        try:
            self._check(response, "token")
            document = json.loads(response.read(_MAX_DOCUMENT, decode_content=True))
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError):
            token = None
        finally:
            response.close()
        if not token:
            raise RegistryRefused(f"{self._where}: the token server gave no token")
        self._headers["Authorization"] = f"Bearer {token}"

    def _check(self, response: urllib3.BaseHTTPResponse, what: str) -> None:
        if response.status == 200:
            return
        text = response.read(4 * _MAX_ERROR, decode_content=True).decode("utf-8", "replace")
        with suppress(ValueError, KeyError, TypeError):
            text = "; ".join(f"{error['code']}: {error.get('message', '')}" for error in json.loads(text)["errors"])
        raise RegistryRefused(
            f"{self._where}: {what}: the registry answered {response.status}: {text[:_MAX_ERROR].strip()}"
        )


def _pool() -> urllib3.PoolManager:
    timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT)
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if proxy:
        return urllib3.ProxyManager(proxy, timeout=timeout, retries=_RETRIES)
    return urllib3.PoolManager(timeout=timeout, retries=_RETRIES)


def _credentials(registry: str) -> str | None:
    """Base64 ``user:password`` from docker's ``config.json``, where it holds one directly."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            auths = json.load(file).get("auths", {})
        keys = ["https://index.docker.io/v1/", "docker.io"] if registry == "docker.io" else [registry]
        auth = next((auths[key].get("auth") for key in keys if key in auths), None)
        return auth if auth and b":" in base64.b64decode(auth) else None
    except (OSError, ValueError, AttributeError):
        return None


def _reason(problem: BaseException) -> str:
    """The innermost cause, without urllib3's wrapping and without the URL (which may hold a token)."""
    inner: BaseException = problem
    while isinstance(reason := getattr(inner, "reason", None), BaseException):
        inner = reason
    text = re.sub(r"\[Errno -?\d+\] ", "", str(inner).rpartition(": ")[2])[:_MAX_ERROR]
    return text[:1].lower() + text[1:] or type(problem).__name__
