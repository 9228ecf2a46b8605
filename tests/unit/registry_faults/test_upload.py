"""Pushing to a registry, over a connection, that misbehaves: it succeeds later, or nothing can be seen of it."""

from __future__ import annotations

import io

import pytest
from judge import faulty
from judge.faulty import BASIC, REPOSITORY, Faulty, Page, incompressible, silent

from contextkernel.errors import (
    ContextKernelError,
    DigestMismatch,
    RegistryFailing,
    RegistryProblem,
    RegistryUnauthorized,
    RegistryUnreachable,
)
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor
from contextkernel.registry import repositories
from contextkernel.testing.registry import serve_registry

DATA = incompressible(300_000)
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))
UPLOADS = "/blobs/uploads/"


@pytest.fixture
def registry():
    with serve_registry() as made:
        yield made


@pytest.fixture
def server(registry):
    """The proxy before it."""
    with Faulty(registry.address) as made:
        yield made


@pytest.fixture
def repository(server, tries):
    (made,) = repositories(server.address, REPOSITORY, access="pull,push", tries=tries)
    return made


def send(repository, source=None) -> None:
    repository.upload(BLOB, source or io.BytesIO(DATA), lambda _count: None)


def there(registry) -> bytes | None:
    """The blob as the registry has it."""
    (direct,) = repositories(registry.address, REPOSITORY)
    if direct.blob_size(BLOB.digest) is None:
        return None
    with direct.blob(BLOB.digest) as stream:
        return stream.read()


def test_without_faults(registry, repository):
    send(repository)
    assert there(registry) == DATA


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("POST", {"status": 503}),
        ("POST", {"refuse": True}),
        ("PUT", {"status": 503}),
        ("PUT", {"status": 429}),
        ("PUT", {"refuse": True}),
        ("PUT", {"cut": 100_000, "asked": True}),
    ],
)
def test_what_passes_is_tried_again(registry, server, repository, waits, method, fault):
    server.fail(UPLOADS, method=method, times=2, **fault)
    send(repository)
    assert there(registry) == DATA
    assert len(waits) == 2


@pytest.mark.parametrize("fault", [{"status": 503}, {"refuse": True}, {"cut": 1 << 16, "asked": True}])
def test_a_failure_that_stays_leaves_nothing_to_be_seen(registry, server, repository, waits, fault):
    server.fail(UPLOADS, method="PUT", **fault)
    with pytest.raises((RegistryFailing, RegistryUnreachable)) as told:
        send(repository)
    assert told.value.hint
    assert 2 <= len(waits) <= 6
    assert there(registry) is None


def test_a_session_that_the_registry_forgot(registry, server, repository):
    server.fail(UPLOADS, method="PUT", status=404, times=1, body=b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
    send(repository)
    assert there(registry) == DATA


def test_a_proxy_that_takes_small_bodies_only(registry, server, repository, monkeypatch):
    monkeypatch.setattr("contextkernel.registry.uploading.PART", 100_000)
    monkeypatch.setattr("contextkernel.registry.uploading._LEAST", 100_000)
    server.fail(UPLOADS, method="PUT", status=413, times=1)
    send(repository)
    assert len(server.asked(UPLOADS, "PATCH")) == 3
    assert there(registry) == DATA


def test_a_part_that_breaks_begins_the_whole_again(registry, server, repository, monkeypatch):
    monkeypatch.setattr("contextkernel.registry.uploading.PART", 100_000)
    monkeypatch.setattr("contextkernel.registry.uploading._LEAST", 100_000)
    server.fail(UPLOADS, method="PUT", status=413, times=1)
    server.fail(UPLOADS, method="PATCH", cut=50_000, asked=True, skip=1, times=1)
    send(repository)
    assert there(registry) == DATA


def test_a_source_that_cannot_be_read_again_is_not(registry, server, repository):
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    server.fail(UPLOADS, method="PUT", cut=1 << 16, asked=True, times=1)
    with pytest.raises(RegistryProblem):
        send(repository, Pipe(DATA))
    assert there(registry) is None


def test_a_source_that_is_not_what_was_promised(registry, repository):
    for source in (DATA[:-1], bytes(len(DATA))):
        with pytest.raises(ContextKernelError):
            send(repository, io.BytesIO(source))
    assert there(registry) is None
    with pytest.raises(ContextKernelError):
        send(repository, io.BytesIO(DATA + b"x"))


@pytest.mark.parametrize("location", ["", "file:///etc/passwd", "http://", "//", "ftp://x/y"])
def test_an_upload_that_leads_nowhere(server, repository, location):
    server.fail(UPLOADS, method="POST", status=202, headers={"Location": location})
    with pytest.raises(RegistryProblem):
        send(repository)
    assert len(server.seen) < 20


def test_credentials_do_not_follow_an_upload_to_another_host(server, log_in, repository):
    """The registry lets a storage take the bytes."""
    log_in(server.address)
    server.fail("/v2/", method="POST", status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}, times=1)
    with Faulty() as storage:
        storage.pages["/put"] = Page(201, {}, b"")
        server.fail(
            UPLOADS, method="POST", status=202, headers={"Location": f"http://{storage.address}/put?sig=s1gned"}
        )
        send(repository)
        assert BASIC in str(server.asked(UPLOADS, "POST")[-1].headers)
        assert [seen.body for seen in storage.seen] == [DATA]
        assert BASIC not in str(storage.seen[0].headers)
        storage.fail("/put", status=403)
        with pytest.raises(RegistryProblem) as told:
            send(repository)
        silent(told.value, "s1gned")


def test_a_wrong_password_is_told_without_it(server, log_in, repository):
    log_in(server.address)
    server.fail("/v2/", status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with pytest.raises(RegistryUnauthorized) as told:
        send(repository)
    silent(told.value)
    assert "login" in f"{told.value.hint}"


def test_a_registry_that_says_it_has_something_else(server, repository):
    server.fail(UPLOADS, method="PUT", headers={"Docker-Content-Digest": "sha256:" + "0" * 64})
    with pytest.raises(DigestMismatch, match="0000"):
        send(repository)


def test_a_manifest_that_arrives_as_another_one(server, repository):
    config = b"{}"
    repository.upload(Descriptor(faulty.CONFIG, Digest.of(config), 2), io.BytesIO(config), lambda _count: None)
    document = (
        b'{"schemaVersion":2,"mediaType":"'
        + faulty.MANIFEST.encode()
        + b'","config":{"mediaType":"'
        + faulty.CONFIG.encode()
        + b'","digest":"'
        + Digest.of(config).encode()
        + b'","size":2},"layers":[]}'
    )
    server.fail("/manifests/", method="PUT", times=1, status=502)
    assert repository.put_manifest("v1", faulty.MANIFEST, document) == Digest.of(document)
    server.fail("/manifests/", method="PUT", headers={"Docker-Content-Digest": "sha256:" + "0" * 64})
    with pytest.raises(DigestMismatch):
        repository.put_manifest("v2", faulty.MANIFEST, document)
