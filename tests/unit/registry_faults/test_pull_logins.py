"""Tokens, challenges and redirects: who gets which secret, and what an odd server makes of it."""

from __future__ import annotations

import json

import pytest
from judge import faulty
from judge.faulty import BASIC, REPOSITORY, Faulty, Page, Seen, silent

from contextkernel.errors import (
    ContextKernelError,
    RegistryProblem,
    RegistryUnauthorized,
)
from contextkernel.model.digest import Digest


class Tokens:
    """A token server before a registry.

    Attributes:
        good: tokens that the registry takes, each for so many requests.
    """

    def __init__(self, registry: Faulty, service: Faulty) -> None:
        self.registry, self.service = registry, service
        self.good: dict[str, int] = {}
        self.life = 10**9
        self.wanted = ""
        self._real = dict(registry.pages)
        for path in self._real:
            registry.pages[path] = self._guarded(path)
        service.pages["/token"] = self._token

    def _token(self, seen: Seen) -> Page:
        if self.wanted and seen.headers.get("authorization") != self.wanted:
            return faulty.error_page(401, "UNAUTHORIZED", "no")
        token = f"t0ken-secret-{len(self.good)}"
        self.good[token] = self.life
        return Page(200, {"Content-Type": "application/json"}, json.dumps({"token": token, "expires_in": 300}).encode())

    def _guarded(self, path: str):
        page = self._real[path]

        def answer(seen: Seen) -> Page:
            token = seen.headers.get("authorization", "").removeprefix("Bearer ")
            if self.good.get(token, 0) <= 0:
                challenge = (
                    f'Bearer realm="http://{self.service.address}/token",service="here",'
                    f'scope="repository:{REPOSITORY}:pull"'
                )
                return faulty.error_page(
                    401, "UNAUTHORIZED", "authentication required", **{"WWW-Authenticate": challenge}
                )
            self.good[token] -= 1
            return page(seen) if callable(page) else page

        return answer


def test_anonymous_tokens(server, other, name, pull):
    Tokens(server, other)
    pull(name)
    assert len(other.asked("/token")) == 1
    assert "authorization" not in other.asked("/token")[0].headers


def test_a_token_that_expires_on_the_way_is_replaced(server, other, image, name, pull):
    """Every second request finds that the token is not good any more."""
    tokens = Tokens(server, other)
    tokens.life = 2
    assert pull(name) == Digest.of(image.config)
    assert len(tokens.good) >= 2


def test_a_registry_that_takes_no_token_is_not_asked_for_ever(server, other, name, pull, nothing_left):
    tokens = Tokens(server, other)
    tokens.life = 0
    with pytest.raises(RegistryProblem) as told:
        pull(name)
    assert len(server.seen) < 20
    silent(told.value, "t0ken-secret")
    nothing_left()


def test_the_password_is_for_the_token_server_alone(server, other, name, pull, log_in):
    log_in(server.address)
    tokens = Tokens(server, other)
    tokens.wanted = f"Basic {BASIC}"
    pull(name)
    assert all(BASIC not in str(seen) for seen in server.seen)


def test_a_wrong_password_is_told_without_it(server, other, name, pull, log_in, nothing_left):
    log_in(server.address)
    tokens = Tokens(server, other)
    tokens.wanted = "Basic another"
    with pytest.raises(RegistryUnauthorized) as told:
        pull(name)
    silent(told.value)
    assert "login" in f"{told.value.hint}"
    nothing_left()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"token": 5}', b'{"token": ""}', b'{"token": "a\\r\\nX: y"}', b"\xff", b"[" * 100_000, b"null"],
)
def test_a_token_server_without_sense(server, other, name, pull, nothing_left, body):
    Tokens(server, other)
    other.pages["/token"] = Page(200, {}, body)
    with pytest.raises(RegistryProblem):
        pull(name)
    nothing_left()


def test_a_token_without_end(server, other, name, pull, nothing_left):
    Tokens(server, other)
    other.fail("/token", endless=True, body=b'{"token": "' + b"a" * 60000)
    with pytest.raises(RegistryProblem):
        pull(name)
    assert other.sent < 20 << 20
    nothing_left()


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "gopher://x", "", "http://", "http://user:pw@", "//x/y"])
def test_a_realm_that_is_no_place(server, name, pull, nothing_left, realm):
    server.fail("/v2/", status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'})
    with pytest.raises(RegistryProblem):
        pull(name)
    nothing_left()


@pytest.mark.parametrize(
    "challenge",
    ["", "Negotiate", "Digest realm=x", "Bearer", "Bearer realm", "Basic" * 5000, 'Bearer realm="' + "a" * 60000],
)
def test_a_challenge_that_cannot_be_answered(server, name, pull, nothing_left, challenge):
    server.fail("/v2/", status=401, headers={"WWW-Authenticate": challenge})
    with pytest.raises(RegistryProblem) as told:
        pull(name)
    assert len(str(told.value)) < 2000
    nothing_left()


def redirect_blobs(server: Faulty, target: str, status: int = 307) -> None:
    server.fail("/blobs/", status=status, headers={"Location": target + "?X-Signature=s1gned-secret"})


def test_credentials_do_not_follow_a_redirect_to_another_host(server, other, image, name, pull, log_in):
    log_in(server.address)
    for data in (image.config, *image.layers):
        path = f"/v2/{REPOSITORY}/blobs/{faulty.digest_of(data)}"
        other.pages[path] = server.pages[path]
        guarded(server, path, Page(307, {"Location": f"http://{other.address}{path}?X-Signature=s1gned-secret"}, b""))
    pull(name)
    assert len(other.seen) == 3
    assert all("authorization" not in seen.headers for seen in other.seen)
    assert any("authorization" in seen.headers for seen in server.asked("/blobs/"))


def guarded(server: Faulty, path: str, page: Page) -> None:
    """The page for who shows the password."""
    refused = faulty.error_page(401, "UNAUTHORIZED", "log in", **{"WWW-Authenticate": 'Basic realm="here"'})
    server.pages[path] = lambda seen: page if seen.headers.get("authorization") == f"Basic {BASIC}" else refused


def test_what_a_redirect_leads_to_is_not_in_a_message(server, other, name, pull, nothing_left):
    """The address of a storage has a signature in it, which is as good as a password."""
    redirect_blobs(server, f"http://{other.address}/storage")
    other.fail("/storage", status=403, body=b"<Error>denied</Error>")
    with pytest.raises(RegistryProblem) as told:
        pull(name)
    silent(told.value, "s1gned-secret")
    nothing_left()


def test_a_redirect_with_a_body_without_end(server, other, image, name, pull, nothing_left):
    """The body of a redirect is of no interest: neither read to its end nor waited for."""
    for data in (image.config, *image.layers):
        path = f"/v2/{REPOSITORY}/blobs/{faulty.digest_of(data)}"
        other.pages[path] = server.pages[path]
    server.fail(
        "/blobs/", status=307, headers={"Location": f"http://{other.address}/"}, body=b"x" * 60000, endless=True
    )
    other.pages["/"] = Page(404, {}, b"")
    with pytest.raises(ContextKernelError):
        pull(name)
    assert server.sent < 20 << 20
    nothing_left()


def test_redirects_in_a_circle(server, image, name, pull, nothing_left):
    path = f"/v2/{REPOSITORY}/blobs/{faulty.digest_of(image.config)}"
    server.pages[path] = Page(307, {"Location": f"http://{server.address}{path}"}, b"")
    with pytest.raises(RegistryProblem):
        pull(name)
    assert len(server.seen) < 60
    nothing_left()


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "\\\\x", "http://[::1", "//"])
def test_a_redirect_that_leads_nowhere(server, name, pull, nothing_left, target):
    redirect_blobs(server, target)
    with pytest.raises(RegistryProblem) as told:
        pull(name)
    silent(told.value, "s1gned-secret")
    nothing_left()
