"""Certificates: who is believed, and what is not sent to whom."""

from __future__ import annotations

import socket
import ssl

import pytest
from judge import faulty
from judge.faulty import BASIC, REPOSITORY, Faulty, Image, silent

from contextkernel.errors import (
    RegistryProblem,
    RegistryUntrusted,
)

from .test_interrupts import interrupted


@pytest.fixture
def certificate(tmp_path):
    import shutil

    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    with faulty.self_signed(tmp_path) as made:
        yield made


@pytest.fixture
def secure(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with Faulty(context=context) as made:
        Image.of({"one": b"1"}).publish(made, REPOSITORY, "v1")
        yield made


def settings(tmp_path, text: str) -> None:
    (tmp_path / "registries.toml").write_text(text)


# a name that is not loopback's, and leads there: loopback itself is not checked, as with docker
@pytest.fixture
def host(monkeypatch):
    real = socket.getaddrinfo

    def look_up(name, *words, **more):
        return real("127.0.0.1" if name in ("lab.example", b"lab.example") else name, *words, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return "lab.example"


def test_a_certificate_of_nobody_knows_whom(secure, host, pull, waits, nothing_left):
    with pytest.raises(RegistryUntrusted) as told:
        pull(f"{host}:{secure.port}/{REPOSITORY}:v1")
    assert "ca" in f"{told.value.hint}"
    assert secure.seen == [], "nothing was asked of it"
    assert waits == [], "it does not help to ask again"
    nothing_left()


def test_an_authority_of_ones_own_and_another_name(secure, host, certificate, tmp_path, pull, nothing_left):
    settings(tmp_path, f'[registry."{host}:{secure.port}"]\nca = "{certificate[0]}"\n')
    with pytest.raises(RegistryUntrusted, match=r"(?i)host|name|match"):
        pull(f"{host}:{secure.port}/{REPOSITORY}:v1")
    assert secure.seen == []
    nothing_left()


def test_an_authority_of_ones_own(tmp_path, host, pull, store):
    import shutil

    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with faulty.self_signed(tmp_path, host) as (certificate, key):
        context.load_cert_chain(certificate, key)
        with Faulty(context=context) as server:
            Image.of({"one": b"1"}).publish(server, REPOSITORY, "v1")
            settings(tmp_path, f'[registry."{host}:{server.port}"]\nca = "{certificate}"\n')
            pull(f"{host}:{server.port}/{REPOSITORY}:v1")
    assert len(store.image_rows()) == 1


def test_insecure_is_asked_for(secure, host, tmp_path, pull):
    settings(tmp_path, f'[registry."{host}:{secure.port}"]\ninsecure = true\n')
    pull(f"{host}:{secure.port}/{REPOSITORY}:v1")
    assert secure.seen


def test_no_tls_where_it_is_expected(server, host, pull, nothing_left):
    """A registry that is not on loopback is not spoken to in the open, unless the settings say so."""
    with pytest.raises(RegistryProblem) as told:
        pull(f"{host}:{server.port}/{REPOSITORY}:v1")
    assert "insecure" in f"{told.value.hint} {told.value.problem}"
    assert server.seen == []
    nothing_left()


def test_the_password_is_not_sent_in_the_open(secure, other, host, tmp_path, pull, log_in, nothing_left):
    """A registry behind TLS that sends who logs in to a token server without it."""
    settings(tmp_path, f'[registry."{host}:{secure.port}"]\ninsecure = true\n')
    log_in(f"{host}:{secure.port}")
    secure.fail("/v2/", status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{other.address}/token"'})
    with pytest.raises(RegistryProblem) as told:
        pull(f"{host}:{secure.port}/{REPOSITORY}:v1")
    silent(told.value)
    assert all(BASIC not in str(seen) for seen in other.seen)
    nothing_left()


# the configuration passes: a layer is waited for by another thread than the one that is interrupted
@pytest.mark.parametrize(("page", "skip"), [("/manifests/", 0), ("/blobs/", 1)])
def test_an_interrupt_ends_what_waits_for_a_silent_registry(secure, pull, nothing_left, page, skip):
    secure.fail(page, mute=True, skip=skip)
    with interrupted(secure):
        pull(f"127.0.0.1:{secure.port}/{REPOSITORY}:v1", silence=3600.0)
    nothing_left()
