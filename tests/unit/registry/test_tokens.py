from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from contextkernel.registry.credentials import Credentials
from contextkernel.registry.tokens import (
    Challenge,
    TokenAnswer,
    join_scopes,
    parse_challenges,
    token_form,
    token_of,
    token_query,
)


def test_challenges_are_read() -> None:
    header = (
        'Negotiate, Bearer realm="https://auth.example.org/token?a=b",service="registry \\"x\\"",'
        'scope="repository:a/b:pull,push registry:catalog:*",error="invalid_token", Basic realm=plain'
    )
    negotiate, bearer, basic = parse_challenges(header)
    assert negotiate == Challenge(scheme="negotiate")
    assert bearer == Challenge(
        scheme="bearer",
        realm="https://auth.example.org/token?a=b",
        service='registry "x"',
        scopes=("repository:a/b:pull,push", "registry:catalog:*"),
        error="invalid_token",
    )
    assert basic == Challenge(scheme="basic", realm="plain")


@pytest.mark.parametrize("header", ["", ",,,", '"', "=", "Bearer realm=" + '"' * 9000, "\x00", "B" * 100_000])
def test_no_header_is_too_odd(header: str) -> None:
    assert isinstance(parse_challenges(header), tuple)


def test_scopes_are_joined() -> None:
    assert join_scopes(("repository:a:push,pull",), ("repository:b:pull", "repository:a:delete"), ("nonsense",)) == (
        "repository:a:delete,pull,push",
        "repository:b:pull",
    )
    assert join_scopes(("repository:lab:5000/a:pull",)) == ("repository:lab:5000/a:pull",)


def test_what_is_asked_of_a_token_server() -> None:
    challenge = Challenge(scheme="bearer", realm="https://x/token", service="the registry")
    query = token_query(challenge, ("repository:a:pull", "repository:b:pull"), user="ada", offline=True)
    assert parse_qs(query) == {
        "service": ["the registry"],
        "scope": ["repository:a:pull", "repository:b:pull"],
        "account": ["ada"],
        "offline_token": ["true"],
        "client_id": ["contextkernel"],
    }
    form = parse_qs(token_form(challenge, ("a:b", "c:d"), Credentials(identity_token="t&t"), offline=False).decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["t&t"]
    assert form["scope"] == ["a:b c:d"]
    form = parse_qs(token_form(challenge, (), Credentials(username="ada", password="p"), offline=True).decode())
    assert (form["grant_type"], form["access_type"]) == (["password"], ["offline"])


@pytest.mark.parametrize(
    ("answer", "until"),
    [
        (TokenAnswer(token="t"), 1050.0),
        (TokenAnswer(access_token="t", expires_in=300), 1290.0),
        (TokenAnswer(token="t", expires_in=-5), 1050.0),
        (TokenAnswer(token="t", expires_in=300, issued_at="1970-01-01T00:16:30Z"), 1280.0),
        (TokenAnswer(token="t", expires_in=300, issued_at="2070-01-01T00:00:00Z"), 1290.0),
        (TokenAnswer(token="t", expires_in=300, issued_at="yesterday"), 1290.0),
    ],
)
def test_how_long_a_token_is_good(answer: TokenAnswer, until: float) -> None:
    token = token_of(answer, 1000.0)
    assert token is not None
    assert token.until == until
    assert "'t'" not in repr(token)


@pytest.mark.parametrize("text", [None, "", "a b", "a\r\nX-Evil: 1", "ä"])
def test_what_is_no_token(text: str | None) -> None:
    assert token_of(TokenAnswer(token=text), 0.0) is None
