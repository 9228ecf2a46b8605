"""Who is answered: passwords, tokens, other users of the machine, browsers."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
from urllib.parse import urlencode

import pytest

from contextkernel.registry_server.access import PasswordGuard, PasswordHash, Peers, check_browser
from contextkernel.registry_server.refusals import Refusal
from contextkernel.testing.registry import Tokens, serve_registry


def basic(user, password):
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def test_a_password(connect):
    with serve_registry(user="student", password="a lesson") as registry:
        ask = connect(registry)
        for header in ({}, {"Authorization": basic("student", "wrong")}, {"Authorization": basic("other", "a lesson")}):
            answer = ask("GET", "/v2/", **header)
            assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
            assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert ask("GET", "/v2/", Authorization=basic("student", "a lesson")).status == 200
        assert ask("PUT", "/v2/team/demo/manifests/v1", b"x" * 100_000).status == 401


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", "Basic eHg=", "Bearer x", basic("student", "")])
def test_headers_that_do_not_fit(header):
    guard = PasswordGuard(PasswordHash.of("student", "a lesson"))
    with pytest.raises(Refusal, match="401"):
        guard.check(header, "GET", "")


def test_a_password_cannot_be_read_back():
    kept = PasswordHash.of("student", "a lesson")
    assert "lesson" not in repr(kept)
    assert kept.fits(b"student", b"a lesson")
    assert PasswordHash.of("student", "a lesson") != kept, "salted"


def test_a_password_of_any_bytes():
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert PasswordHash.of(odd, odd).fits(b"caf\xe9", b"caf\xe9")


def test_bearer_tokens(connect):
    tokens = Tokens(users={"student": "a lesson"}, uses=2)
    with serve_registry(tokens=tokens) as registry:
        ask = connect(registry)
        answer = ask("GET", "/v2/team/demo/manifests/v1")
        assert answer.headers["www-authenticate"] == (
            f'Bearer realm="{registry.url}/token",service="{registry.address}",scope="repository:team/demo:pull"'
        )
        token = json.loads(ask("GET", "/token?scope=repository:team/demo:pull,push").body)["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        assert ask("GET", "/v2/team/demo/manifests/v1", **bearer).status == 404
        assert ask("POST", "/v2/team/demo/blobs/uploads/", **bearer).status == 401, "nobody may push"
        assert ask("GET", "/v2/team/demo/manifests/v1", **bearer).status == 401, "used up"
        assert tokens.given == ["repository:team/demo:pull"]
        login = {"Authorization": basic("student", "a lesson")}
        token = json.loads(ask("GET", "/token?scope=repository:team/demo:pull,push", **login).body)["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        assert ask("POST", "/v2/team/demo/blobs/uploads/", **bearer).status == 202
        assert ask("POST", "/v2/team/other/blobs/uploads/", **bearer).status == 401, "another repository"
        assert ask("GET", "/token", Authorization=basic("student", "wrong")).status == 401


def test_tokens_by_post(connect):
    tokens = Tokens(users={"student": "a lesson"}, refresh="identity")
    with serve_registry(tokens=tokens) as registry:
        ask = connect(registry)

        def post(**form):
            return ask("POST", "/token", urlencode({"service": "x", "client_id": "y", **form}))

        scope = "repository:team/demo:pull,push"
        first = post(grant_type="password", username="student", password="a lesson", access_type="offline", scope=scope)
        assert json.loads(first.body)["refresh_token"] == "identity"
        again = post(grant_type="refresh_token", refresh_token="identity", scope=scope)
        bearer = {"Authorization": f"Bearer {json.loads(again.body)['access_token']}"}
        assert ask("POST", "/v2/team/demo/blobs/uploads/", **bearer).status == 202
        for wrong in (
            {"grant_type": "refresh_token", "refresh_token": "no"},
            {"grant_type": "password", "username": "student", "password": "no"},
            {},
        ):
            assert post(**wrong).status == 401


def test_tokens_end(connect):
    now = [0.0]
    tokens = Tokens(lifetime=60, clock=lambda: now[0])
    with serve_registry(tokens=tokens) as registry:
        ask = connect(registry)
        bearer = {"Authorization": f"Bearer {json.loads(ask('GET', '/token').body)['token']}"}
        now[0] = 59.0
        assert ask("GET", "/v2/", **bearer).status == 200
        now[0] = 60.0
        assert ask("GET", "/v2/", **bearer).status == 401


def test_tls(tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serve_registry(tls=context) as registry:
        from urllib.request import urlopen

        trusting = ssl.create_default_context(cafile=certificate)
        with urlopen(f"{registry.url}/v2/", context=trusting) as answer:  # noqa: S310
            assert answer.read() == b"{}"


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost", "LOCALHOST:1", "[::1]:5000", "127.0.0.1"])
def test_names_of_loopback(host):
    check_browser({"Host": host})


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.org"},
        {"Host": "evil.example.org:5000"},
        {"Host": "127.0.0.1.evil.example.org:5000"},
        {},
        {"Host": "127.0.0.1:5000", "Origin": "https://evil.example.org"},
        {"Host": "127.0.0.1:5000", "Origin": "null"},
    ],
)
def test_what_browsers_send(headers):
    with pytest.raises(Refusal, match="403"):
        check_browser(headers)


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1"), (socket.AF_INET6, "::1")],
)
def test_whose_a_connection_is(family, address):
    """By the kernel's real tables: this user's own connection, also by a socket that speaks both kinds of IP."""
    there, kind = ("::1", socket.AF_INET6) if address == "::1" else ("127.0.0.1", socket.AF_INET)
    with socket.create_server((there, 0), family=kind) as listener, socket.socket(family) as client:
        client.connect((address, listener.getsockname()[1]))
        server, theirs = listener.accept()
        with server:
            ours, theirs = server.getsockname()[:2], theirs[:2]
            assert Peers([os.geteuid()]).allowed(ours, theirs)
            if os.geteuid() != 0:
                assert not Peers([os.geteuid() + 1]).allowed(ours, theirs)
            assert not Peers([os.geteuid()]).allowed(ours, ("127.0.0.1", 1)), "no such connection"
            client.close()
            assert not Peers([os.geteuid()]).allowed(ours, theirs), "nobody has it open any more"


LINE = (
    "   1: 0100007F:{theirs:04X} 0100007F:{ours:04X} {state} 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1"
)


@pytest.mark.parametrize(
    ("state", "uid", "inode", "allowed"),
    [
        ("01", 1000, 77, True),
        ("01", 0, 77, True),
        ("01", 1001, 77, False),
        ("04", 0, 0, False),  # closed by its program: the kernel says root
        ("01", 0, 0, False),
        ("06", 0, 0, False),
    ],
)
@pytest.mark.skipif(__import__("sys").byteorder != "little", reason="the line is of a little-endian machine")
def test_lines_of_the_table(tmp_path, state, uid, inode, allowed):
    table = tmp_path / "tcp"
    line = LINE.format(theirs=40000, ours=5000, state=state, uid=uid, inode=inode)
    table.write_text(f"  sl  local_address ...\n{line}\n")
    peers = Peers([1000], (str(table), str(tmp_path / "none")))
    assert peers.allowed(("127.0.0.1", 5000), ("127.0.0.1", 40000)) is allowed
