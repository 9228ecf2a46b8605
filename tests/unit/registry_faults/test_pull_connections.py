"""Connections that break, fall silent or lead to somebody else: an error that says so, or success later."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from judge import faulty
from judge.faulty import REPOSITORY, Image, Page, incompressible

from contextkernel.errors import (
    ContextKernelError,
    RegistryProblem,
    RegistryUnreachable,
)
from contextkernel.model.digest import Digest


def test_a_connection_that_is_cut_at_every_64_kib(server, store, name, pull):
    """Each time some more arrives: the pull ends well, and nothing is fetched twice where the server can go on."""
    big = Image.of({"one": incompressible(600_000)}, {"two": incompressible(300_000)})
    big.publish(server, REPOSITORY, "v1")
    server.fail("/blobs/", cut=1 << 16)
    assert pull(name) == Digest.of(big.config)
    assert server.sent < 2 * sum(map(len, big.layers)) + (1 << 17)
    assert store.check() == ()


def test_a_server_that_cannot_go_on_and_breaks_once(server, name, pull):
    """No ranges: from the start, and not mixed with what was there."""
    big = Image.of({"one": incompressible(200_000)})
    big.publish(server, REPOSITORY, "v1")
    path = f"/v2/{REPOSITORY}/blobs/{faulty.digest_of(big.layers[0])}"
    server.pages[path] = Page(200, {}, big.layers[0])
    server.fail(path, cut=1 << 16, times=1)
    assert pull(name) == Digest.of(big.config)


@pytest.mark.parametrize("lie", ["bytes 0-9/10", "bytes 5-999999999/1000000000", "bytes */1", "nonsense", None])
def test_a_server_that_goes_on_somewhere_else(server, name, pull, nothing_left, lie):
    """It answers with another part than asked for: found out, at the latest by the digest."""
    big = Image.of({"one": incompressible(200_000)})
    big.publish(server, REPOSITORY, "v1")
    path = f"/v2/{REPOSITORY}/blobs/{faulty.digest_of(big.layers[0])}"
    server.fail(path, cut=1 << 16, times=1)
    server.fail(path, status=206, headers={"Content-Range": lie}, body=big.layers[0][:5000])
    with pytest.raises(ContextKernelError):
        pull(name)
    assert server.sent < 20 << 20
    nothing_left()


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_a_server_that_falls_silent(server, name, pull, nothing_left, path):
    server.fail(path, stall=10)
    with pytest.raises(RegistryUnreachable) as told:
        pull(name, silence=0.3)
    assert told.value.hint
    nothing_left()


def test_a_server_that_falls_silent_once(server, image, name, pull):
    server.fail("/blobs/", stall=10, times=1)
    assert pull(name, silence=0.3) == Digest.of(image.config)


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_a_server_that_hangs_up_once(server, image, name, pull, path):
    server.fail(path, refuse=True, times=1)
    assert pull(name) == Digest.of(image.config)


def test_a_server_that_always_hangs_up(server, name, pull, nothing_left):
    server.fail("/v2/", refuse=True)
    with pytest.raises(RegistryUnreachable, match=server.address):
        pull(name)
    nothing_left()


def test_nobody_listens(pull, nothing_left):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(RegistryUnreachable, match=address) as told:
        pull(f"{address}/team/app:v1")
    assert told.value.hint
    nothing_left()


def test_a_name_that_no_server_knows(pull, nothing_left):
    with pytest.raises(RegistryUnreachable, match=r"registry\.invalid") as told:
        pull("registry.invalid/team/app:v1")
    assert told.value.hint
    nothing_left()


def test_a_server_that_speaks_another_language(pull, nothing_left):
    """Something else listens there: what it says is not repeated at length."""
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"220 mail.example ESMTP ready\r\n" + b"x" * 100_000)

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        with pytest.raises(RegistryProblem) as told:
            pull(f"127.0.0.1:{listener.getsockname()[1]}/team/app:v1", silence=0.3)
        assert len(str(told.value)) < 2000
    nothing_left()


@pytest.mark.parametrize("header", ["X" * 300_000, "\x00", "a\r\n b"])
def test_headers_without_sense(server, name, pull, header):
    """Whatever it is: an error of ours, or it does not matter."""
    server.fail("/manifests/", headers={"Docker-Content-Digest": header.replace("\r\n", "")}, times=1)
    with suppress(RegistryProblem):
        pull(name)
    assert len(server.seen) < 20
