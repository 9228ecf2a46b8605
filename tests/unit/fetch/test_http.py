"""Downloads from servers that behave, and from servers that do not."""

from __future__ import annotations

import gzip
import hashlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contextkernel.errors import FetchFailed, InvalidInput
from contextkernel.fetch.http import download, shown
from contextkernel.fetch.limits import Limits
from contextkernel.model.events import StepProgress
from contextkernel.model.fetching import Credentials

from .conftest import SHORT, drip


def fetch(url: str, path: Path, limits: Limits = SHORT, **secrets: bytes) -> Any:
    named = {name.replace("__", "_").replace("LOCAL", "127.0.0.1"): value for name, value in secrets.items()}
    return download(url, str(path), Credentials(named), limits)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "got"


def test_a_file_with_what_the_server_says_of_it(site: Any, target: Path) -> None:
    site.page(
        "/a/x.txt",
        b"hello",
        ETag='W/"v1"',
        Last_Modified="Thu, 02 Jan 2020 03:04:05 GMT",
        Content_Disposition='attachment; filename="../../etc/other.txt"',
    )
    got = fetch(site.url("/a/x.txt?q=1#f"), target)
    assert target.read_bytes() == b"hello"
    assert got.digest == "sha256:" + hashlib.sha256(b"hello").hexdigest()
    assert (got.size, got.etag, got.modified, got.name) == (5, '"v1"', 1577934245, "other.txt")
    assert site.seen[0][1] == "/a/x.txt?q=1"


def test_room_is_left_at_the_start(site: Any, target: Path) -> None:
    site.page("/x", b"abc")
    download(site.url("/x"), str(target), Credentials(), SHORT, offset=512)
    assert target.read_bytes() == bytes(512) + b"abc"


def test_known_content_stays_where_it_is(site: Any, target: Path) -> None:
    site.page("/x", b"abc", ETag='"one"')
    asked: list[str] = []

    def known(etag: str) -> bool:
        asked.append(etag)
        return True

    got = download(site.url("/x"), str(target), Credentials(), SHORT, known=known)
    assert (got.digest, got.etag, asked) == ("", '"one"', ['"one"'])
    assert not target.exists()


def test_progress_is_told(site: Any, target: Path) -> None:
    site.page("/x", bytes(100))
    events: list[object] = []
    download(site.url("/x"), str(target), Credentials(), SHORT, report=events.append)
    assert events == [StepProgress(0, site.url("/x"), 100, 100)]


def test_content_encoding_is_undone(site: Any, target: Path) -> None:
    site.page("/x", gzip.compress(b"plain" * 1000), Content_Encoding="gzip")
    assert fetch(site.url("/x"), target).size == 5000
    assert target.read_bytes() == b"plain" * 1000


def test_a_bomb_in_the_encoding_is_refused(site: Any, target: Path) -> None:
    site.page("/x", gzip.compress(bytes(64 << 20)), Content_Encoding="gzip")
    with pytest.raises(FetchFailed, match="larger than 1048576 bytes"):
        fetch(site.url("/x"), target)
    assert target.stat().st_size <= SHORT.size


@pytest.mark.parametrize(
    ("encoding", "body"), [("br", b"x"), ("gzip", b"not gzip"), ("gzip", gzip.compress(b"a" * 99)[:-9])]
)
def test_other_and_damaged_encodings_are_refused(site: Any, target: Path, encoding: str, body: bytes) -> None:
    site.page("/x", body, Content_Encoding=encoding)
    with pytest.raises(FetchFailed, match="cannot fetch"):
        fetch(site.url("/x"), target)


# ---- redirects and credentials


def redirect(site: Any, path: str, to: str, status: int = 302) -> None:
    site.page(path, b"", status=status, Location=to)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site: Any, target: Path, status: int) -> None:
    redirect(site, "/a", "b/c", status)
    site.page("/b/c", b"there")
    fetch(site.url("/a"), target)
    assert target.read_bytes() == b"there"


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://h/x", "gopher://h", "//", "javascript:1", ""])
def test_redirects_elsewhere_are_not(site: Any, target: Path, to: str) -> None:
    redirect(site, "/a", to)
    with pytest.raises(FetchFailed, match="redirect"):
        fetch(site.url("/a"), target)
    assert not target.exists()


def test_redirects_in_a_circle_end(site: Any, target: Path) -> None:
    redirect(site, "/a", "/b")
    redirect(site, "/b", "/a")
    with pytest.raises(FetchFailed, match="more than 3 redirects"):
        fetch(site.url("/a"), target)


def test_credentials_do_not_follow_to_another_server(site: Any, other: Any, target: Path) -> None:
    redirect(site, "/a", "/b")
    redirect(site, "/b", other.url("/c"))
    redirect(other, "/c", site.url("/d"))
    site.page("/d", b"end")
    fetch(site.url("/a"), target, HTTP__AUTH__TOKEN__LOCAL=b"s3cret\n")
    assert [(path, headers.get("authorization")) for _, path, headers in site.seen] == [
        ("/a", "Bearer s3cret"),
        ("/b", "Bearer s3cret"),
        ("/d", None),
    ]
    assert "authorization" not in other.seen[0][2]


def test_secrets_are_for_their_host_only(site: Any, target: Path) -> None:
    site.page("/x", b"")
    fetch(site.url("/x", host="localhost"), target, HTTP__AUTH__TOKEN__LOCAL=b"s3cret")
    assert "authorization" not in site.seen[0][2]


def test_a_header_secret_and_user_information(site: Any, tmp_path: Path) -> None:
    site.page("/x", b"")
    fetch(site.url("/x"), tmp_path / "1", HTTP__AUTH__HEADER__LOCAL=b"Custom abc")
    fetch(site.url("/x").replace("//", "//me:p%40ss@"), tmp_path / "2")
    assert [headers["authorization"] for _, _, headers in site.seen] == ["Custom abc", "Basic bWU6cEBzcw=="]


def test_a_secret_cannot_smuggle_headers(site: Any, target: Path) -> None:
    site.page("/x", b"")
    with pytest.raises(FetchFailed) as problem:
        fetch(site.url("/x"), target, HTTP__AUTH__HEADER__LOCAL=b"a\r\nX-Evil: s3cret")
    assert "s3cret" not in str(problem.value)
    assert site.seen == []


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 418, 500, 503])
def test_refusals_say_so_without_secrets(site: Any, target: Path, status: int) -> None:
    site.page("/x", b"s3cret in the body", status=status)
    with pytest.raises(FetchFailed, match=f"the server answered {status}") as problem:
        fetch(site.url("/x?token=s3cret").replace("//", "//me:s3cret@"), target, HTTP__AUTH__TOKEN__LOCAL=b"s3cret")
    assert "s3cret" not in "".join(problem.value.lines())
    assert not target.exists()


def test_credentials_do_not_show_themselves() -> None:
    assert repr(Credentials({"HTTP_AUTH_TOKEN_h": b"s3cret"})) == "Credentials(HTTP_AUTH_TOKEN_h)"
    assert shown("https://me:s3cret@h:1/p?t=s3cret#s3cret") == "https://h:1/p"


# ---- servers that do not behave


def test_a_body_larger_than_allowed(site: Any, target: Path) -> None:
    site.page("/x", bytes(SHORT.size + 1))
    with pytest.raises(FetchFailed, match="larger than 1048576 bytes") as problem:
        fetch(site.url("/x"), target)
    assert problem.value.hint is not None
    assert not target.exists()


def test_a_body_without_end(wire: Any, target: Path) -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not over.is_set():
            connection.sendall(bytes(65536))

    with pytest.raises(FetchFailed, match="larger than"):
        fetch(f"http://127.0.0.1:{wire(talk).port}/", target)
    assert target.stat().st_size <= SHORT.size


def answer(data: bytes) -> Any:
    def talk(connection: socket.socket, _over: threading.Event) -> None:
        connection.sendall(data)

    return talk


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
        b"not http at all\r\n\r\n",
        b"",
    ],
)
def test_answers_that_are_none(wire: Any, target: Path, data: bytes) -> None:
    with pytest.raises(FetchFailed, match="cannot fetch"):
        fetch(f"http://127.0.0.1:{wire(answer(data)).port}/", target)


@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"],
    ids=["nothing", "headers", "body"],
)
def test_a_server_that_drips(wire: Any, target: Path, data: bytes) -> None:
    server = wire(drip(data, 0.2))
    limits = msgspec.structs.replace(SHORT, slow=1000)
    with pytest.raises(FetchFailed, match=r"sent too little|no answer in time"):
        fetch(f"http://127.0.0.1:{server.port}/", target, limits)


def test_a_server_that_falls_silent(wire: Any, target: Path) -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + bytes(4000))
        over.wait()

    with pytest.raises(FetchFailed, match=r"sent too little|no answer in time"):
        fetch(f"http://127.0.0.1:{wire(talk).port}/", target)


def test_a_transfer_that_takes_too_long(wire: Any, target: Path) -> None:
    server = wire(drip(b"HTTP/1.1 200 OK\r\n\r\n", 0.05))
    limits = msgspec.structs.replace(SHORT, quiet=0.5, slow=1, total=0.7)
    with pytest.raises(FetchFailed, match="took longer than"):
        fetch(f"http://127.0.0.1:{server.port}/", target, limits)


def test_nobody_there(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FetchFailed, match="refused"):
        fetch(f"http://127.0.0.1:{port}/", target)


def test_a_server_without_tls_spoken_to_with_it(site: Any, target: Path) -> None:
    with pytest.raises(FetchFailed, match="cannot fetch https://"):
        fetch(site.url("/x").replace("http:", "https:"), target)


@pytest.mark.parametrize("url", ["http://", "http://h:port/x", "http://[::1/x", "http:///x"])
def test_what_is_no_url(url: str, target: Path) -> None:
    with pytest.raises(FetchFailed):
        fetch(url, target)


# ---- settings


@pytest.mark.parametrize(("text", "size"), [("", 16 << 30), ("500m", 500 << 20), ("2GiB", 2 << 30), ("1000", 1000)])
def test_the_limit_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_FETCH_LIMIT", text)
    assert Limits.from_environment().size == size


@pytest.mark.parametrize("text", ["much", "-1", "0", "1.5g"])
def test_a_limit_that_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_FETCH_LIMIT", text)
    with pytest.raises(InvalidInput, match="is not a size"):
        Limits.from_environment()


def test_a_transfer_is_stopped(wire: Any, target: Path) -> None:
    server = wire(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nx", 0.05))
    limits = msgspec.structs.replace(SHORT, quiet=300.0, total=600.0)
    with pytest.raises(FetchFailed, match="it was stopped"):
        download(f"http://127.0.0.1:{server.port}/", str(target), Credentials(), limits, stopped=target.exists)


# ---- TLS; localhost.pem is a key that nobody trusts, made for these tests

CERTIFICATE = Path(__file__).with_name("localhost.pem")


@pytest.fixture
def secure(wire: Any) -> str:
    def talk(connection: socket.socket, _over: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            encrypted.recv(65536)
            encrypted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return f"https://127.0.0.1:{wire(talk, greet=False).port}/x"


def test_a_certificate_that_nobody_trusts(secure: str, target: Path) -> None:
    with pytest.raises(FetchFailed, match="certificate") as problem:
        fetch(secure, target)
    assert problem.value.hint is not None
    assert "SSL_CERT_FILE" in problem.value.hint
    assert not target.exists()


def test_a_certificate_that_is_trusted(secure: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    assert fetch(secure, target).size == 2
