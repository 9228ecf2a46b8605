"""TLS, proxies and the choice of a scheme."""

from __future__ import annotations

import io
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from contextkernel.errors import ImageNotFound, InvalidInput, RegistryRefused, RegistryUnreachable, RegistryUntrusted
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_LAYER, Descriptor
from contextkernel.registry import Registry, Repository, repositories
from contextkernel.registry.credentials import Credentials
from contextkernel.registry.retrying import Tries
from contextkernel.registry.settings import Endpoint
from contextkernel.testing.registry import Canned, ServedRegistry, serve_registry

PEM = Path(__file__).parents[1] / "fetch" / "localhost.pem"
"""A certificate that is its own authority, for ``localhost``."""


@pytest.fixture
def secure() -> Iterator[ServedRegistry]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    with serve_registry(tls=context) as served:
        yield served


def port(served: ServedRegistry) -> str:
    return served.address.rpartition(":")[2]


def test_an_unknown_authority_is_not_trusted_and_not_tried_again(
    secure: ServedRegistry, tries: Tries, waits: list[float]
) -> None:
    url = f"https://localhost:{port(secure)}"
    with pytest.raises(RegistryUntrusted, match="the certificate of lab is not trusted") as caught:
        Repository(Endpoint(url=url), "lab", "x", tries=tries).manifest("v1")
    assert "'ca' in registries.toml" in str(caught.value.hint)
    assert waits == []
    assert Repository(Endpoint(url=url, ca=str(PEM)), "lab", "x", tries=tries).head("v1") is None
    assert Repository(Endpoint(url=url, verify=False), "lab", "x", tries=tries).head("v1") is None


def test_plain_http_where_tls_was_expected(registry: ServedRegistry, tries: Tries) -> None:
    endpoint = Endpoint(url=f"https://{registry.address}")
    with pytest.raises(RegistryUntrusted, match="does not speak TLS as expected") as caught:
        Repository(endpoint, "lab", "x", tries=tries).manifest("v1")
    assert "insecure = true" in str(caught.value.hint)


def test_files_that_are_no_certificates(registry: ServedRegistry, tries: Tries, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "absent.pem"):
        endpoint = Endpoint(url=registry.url, ca=str(tmp_path / name))
        with pytest.raises(InvalidInput, match=rf"cannot use .*{name} for TLS"):
            Repository(endpoint, "lab", "x", tries=tries).manifest("v1")


def test_this_machine_s_registry_may_speak_tls(secure: ServedRegistry, tries: Tries) -> None:
    (repository,) = repositories(secure.address, "x", tries=tries)
    assert repository.head("v1") is None
    assert repository.url.startswith("https://")


def test_an_insecure_registry_may_speak_neither(registry: ServedRegistry, tries: Tries) -> None:
    endpoint = Endpoint(url=f"https://{registry.address}", other=registry.url, verify=False)
    assert Repository(endpoint, "lab", "x", tries=tries).head("v1") is None
    nobody = Endpoint(url="https://127.0.0.1:9", other="http://127.0.0.1:9", verify=False)
    with pytest.raises(RegistryUnreachable, match="cannot reach lab: connection refused"):
        Repository(nobody, "lab", "x", tries=tries).head("v1")


@pytest.mark.parametrize("base", ["/v2/x/tags/list", ""])
def test_its_lists_come_in_pages_too(registry: ServedRegistry, tries: Tries, base: str) -> None:
    registry.answer = lambda request: (
        Canned(200, {}, b'{"tags": ["b"]}')
        if "last=a" in request.query
        else Canned(200, {"Link": f'<{base}?last=a>; rel="next"'}, b'{"tags": ["a"]}')
        if request.path.endswith("/list")
        else None
    )
    endpoint = Endpoint(url=f"https://{registry.address}", other=registry.url, verify=False)
    assert list(Repository(endpoint, "lab", "x", tries=tries).tags()) == ["a", "b"]


def test_tls_is_not_left_by_a_redirect(secure: ServedRegistry, registry: ServedRegistry, tries: Tries) -> None:
    secure.answer = lambda _: Canned(307, {"Location": f"{registry.url}/x"})
    endpoint = Endpoint(url=secure.url, verify=False)
    with pytest.raises(RegistryRefused, match="which is not encrypted"):
        Repository(endpoint, "lab", "x", tries=tries).manifest("v1")
    assert registry.requests == []


def test_nor_by_what_a_mount_becomes(secure: ServedRegistry, registry: ServedRegistry, tries: Tries) -> None:
    secure.answer = lambda request: (
        Canned(202, {"Location": f"{registry.url}/up"}) if request.method == "POST" else None
    )
    repository = Repository(Endpoint(url=secure.url, verify=False), "lab", "x", access="pull,push", tries=tries)
    layer = Descriptor(MEDIA_LAYER, Digest.of(b"x"), 1)
    assert not repository.mount(layer.digest, "y")
    with pytest.raises(RegistryRefused, match="which is not encrypted"):
        repository.upload(layer, io.BytesIO(b"x"))
    assert registry.requests == []


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_a_password_is_not_asked_for_over_an_open_connection(
    secure: ServedRegistry, registry: ServedRegistry, tries: Tries, scheme: str
) -> None:
    realm = f"{scheme}{registry.url.removeprefix('http')}/token"
    secure.answer = lambda _: Canned(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'})
    endpoint, ada = Endpoint(url=secure.url, verify=False), Credentials(username="ada", password="hush-hush")
    with pytest.raises(RegistryRefused, match="asks for the password over an open connection"):
        Registry(endpoint, "lab", tries=tries, credentials=ada).login()
    assert registry.requests == []


class _Proxy(BaseHTTPRequestHandler):
    """Answers every request itself, and remembers it."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Proxy-Authorization", "")))
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def proxy() -> Iterator[str]:
    _Proxy.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_proxy_with_a_password(proxy: str, tries: Tries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://ada:hush@{proxy}")
    repository = Repository(Endpoint(url="http://registry.invalid"), "lab", "x", tries=tries)
    with pytest.raises(ImageNotFound, match="does not exist") as caught:
        repository.manifest("v1")
    assert "hush" not in str(caught.value)
    assert _Proxy.seen[-1] == ("http://registry.invalid/v2/x/manifests/v1", "Basic YWRhOmh1c2g=")
    monkeypatch.setenv("NO_PROXY", ".invalid")
    other = Repository(Endpoint(url="http://registry.invalid"), "lab", "x", tries=tries)
    with pytest.raises(RegistryUnreachable, match="its name is not known"):
        other.manifest("v1")


def test_a_proxy_that_is_not_there(tries: Tries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:hush@127.0.0.1:9")
    repository = Repository(Endpoint(url="https://registry.invalid"), "lab", "x", tries=tries)
    with pytest.raises(RegistryUnreachable, match="cannot reach lab: the proxy does not help") as caught:
        repository.manifest("v1")
    assert "hush" not in str(caught.value)
