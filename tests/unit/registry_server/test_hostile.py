"""Requests that are wrong, too large, cut off, or meant to harm."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contextkernel.registry_server.manifests import MAX_MANIFEST
from contextkernel.registry_server.names import checked_name, checked_reference
from contextkernel.registry_server.ranges import Unsatisfiable, byte_range, chunk_range
from contextkernel.registry_server.refusals import Refusal
from contextkernel.registry_server.requests_content import Blobs


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "Team/demo", "_blobs", "team/_tags", "a//b", "a/", "a%2F..%2F..", "a" * 300, "%00", "%ff"]
)
def test_names_that_are_none(ask, registry, name):
    before = sorted(os.walk(registry.storage.root))
    assert ask("POST", f"/v2/{name}/blobs/uploads/").status in (400, 404)
    assert ask("PUT", f"/v2/{name}/manifests/v1", b"{}").status in (400, 404)
    assert sorted(os.walk(registry.storage.root)) == before


@pytest.mark.parametrize("reference", ["..", ".hidden", "-x", "a" * 129, "sha256:abc", "md5:" + "0" * 32, "%2e%2e"])
def test_references_that_are_none(ask, reference):
    ask.push_image("team/demo", "v1")
    answer = ask("PUT", f"/v2/team/demo/manifests/{reference}", b"{}")
    assert answer.status == 400
    assert answer.codes in (["MANIFEST_INVALID"], ["DIGEST_INVALID"])


@pytest.mark.parametrize(
    ("body", "media", "says"),
    [
        (b"", None, "not a manifest"),
        (b"[]", None, "not a manifest"),
        (b"\xff", None, "not a manifest"),
        (b"[" * 100_000, None, "not a manifest"),
        (b'{"schemaVersion":2}', "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        (b'{"schemaVersion":2}', "text/plain", "not a type of manifest"),
        (b'{"schemaVersion":2}', None, "has a config"),
        (b'{"schemaVersion":1,"config":{"digest":"sha256:%s","size":1}}' % (b"0" * 64), None, "schemaVersion"),
        (b'{"schemaVersion":2,"mediaType":"x"}', None, "mediaType is not"),
        (b'{"schemaVersion":2,"config":{"digest":"sha256:0","size":1}}', None, "not a digest"),
    ],
)
def test_documents_that_are_no_manifests(ask, made, body, media, says):
    answer = ask("PUT", "/v2/team/demo/manifests/v1", body, Content_Type=media or made.MANIFEST)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])
    assert says in answer.body.decode()


def test_a_blob_that_cannot_be_read_to_its_end_is_cut_off(ask, monkeypatch):
    data = os.urandom(3 << 20)
    digest = ask.push_blob("team/demo", data)
    run, pieces = Blobs.run, []

    async def failing(handler, act, *arguments):
        if getattr(act, "__name__", "") == "read":
            pieces.append(arguments)
            if len(pieces) == 2:
                raise OSError(errno.EIO, "the disk is broken")
        return await run(handler, act, *arguments)

    monkeypatch.setattr(Blobs, "run", failing)
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask("GET", f"/v2/team/demo/blobs/{digest}")
    assert cut.value.partial == data[: 1 << 20], "and nothing else: a client may go on from there"
    assert len(pieces) == 2


def test_a_manifest_names_only_what_is_there(ask, made):
    ask.push_blob("team/demo", b"{}")
    missing = ask("PUT", "/v2/team/demo/manifests/v1", made.manifest(b"{}", b"layer"), Content_Type=made.MANIFEST)
    assert (missing.status, missing.codes) == (404, ["MANIFEST_BLOB_UNKNOWN"])
    assert made.digest_of(b"layer") in missing.body.decode()
    ask.push_blob("team/demo", b"layer")
    lying = made.manifest(b"{}", b"layer").replace(b'"size": 5', b'"size": 6')
    answer = ask("PUT", "/v2/team/demo/manifests/v1", lying, Content_Type=made.MANIFEST)
    assert answer.codes == ["MANIFEST_INVALID"]
    assert "has 5 bytes, not 6" in answer.body.decode()


def test_a_manifest_that_is_too_large(ask, made):
    big = b" " * (MAX_MANIFEST + 1)
    answer = ask("PUT", "/v2/team/demo/manifests/v1", big, Content_Type=made.MANIFEST)
    assert (answer.status, answer.codes) == (413, ["SIZE_INVALID"])
    assert ask("GET", "/v2/").status == 200, "the connection goes on"


@pytest.mark.parametrize("digits", [10, 15, 5000])
def test_a_body_that_is_announced_as_endless(registry, digits):
    """Neither taken nor waited for."""
    with contextlib.closing(connection(registry)) as sock:
        head = f"PUT /v2/team/demo/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: {'9' * digits}\r\n\r\n{{}}"
        sock.sendall(head.encode())
        sock.settimeout(30)
        answer = sock.recv(65536)
        assert b" 413 " in answer.splitlines()[0]
        assert b"Connection: close" in answer


def test_wrong_content(ask, made):
    other = made.digest_of(b"other")
    answer = ask("POST", f"/v2/team/demo/blobs/uploads/?digest={other}", b"content")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    place = ask("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
    assert ask("PUT", f"{place}?digest={other}", b"content").codes == ["DIGEST_INVALID"]
    assert ask("GET", f"/v2/team/demo/blobs/{other}").status == 404
    assert ask("GET", place).status == 404
    data = made.manifest(b"{}")
    ask.push_blob("team/demo", b"{}")
    answer = ask("PUT", f"/v2/team/demo/manifests/{other}", data, Content_Type=made.MANIFEST)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [("0-9", 400, "SIZE_INVALID"), ("x", 400, "BLOB_UPLOAD_INVALID"), ("5-1", 400, "BLOB_UPLOAD_INVALID")],
)
def test_chunks_that_say_something_else(ask, header, status, code):
    place = ask("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
    answer = ask("PATCH", place, b"hello", Content_Range=header)
    assert (answer.status, answer.codes) == (status, [code])


def test_a_connection_that_is_cut_can_be_gone_on_with(ask, registry, made):
    place = ask("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
    with contextlib.closing(connection(registry)) as sock:
        sock.sendall(f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello".encode())
        while ask("GET", place).headers["range"] != "0-4":
            pass
    done = ask("PUT", f"{place}?digest={made.digest_of(b'hello world')}", b" world", Content_Range="5-10")
    assert done.status == 201


def test_a_new_request_takes_over_from_a_dead_one(ask, registry, made):
    place = ask("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
    with contextlib.closing(connection(registry)) as sock:
        sock.sendall(f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello".encode())
        while ask("GET", place).headers["range"] != "0-4":
            pass
        assert ask("PUT", f"{place}?digest={made.digest_of(b'hello!')}", b"!", Content_Range="5-5").status == 201
        sock.sendall(b"later")
        sock.settimeout(30)
        assert b" 404 " in sock.recv(65536).splitlines()[0]


def test_too_many_uploads(ask):
    last = [ask("POST", "/v2/team/demo/blobs/uploads/") for _ in range(257)][-1]
    assert (last.status, last.codes, last.headers["retry-after"]) == (429, ["TOOMANYREQUESTS"], "10")


def test_too_many_connections_are_cut(registry, monkeypatch):
    monkeypatch.setattr("contextkernel.registry_server.server._CONNECTIONS", 3)
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(contextlib.closing(connection(registry))) for _ in range(4)]
        many[-1].settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert many[-1].recv(1) == b""
        many[0].sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert many[0].recv(12) == b"HTTP/1.1 200"


def test_what_is_no_http(registry, ask):
    with contextlib.closing(connection(registry)) as sock:
        sock.sendall(b"hello there\r\n\r\n")
        sock.settimeout(30)
        assert b"400" in sock.recv(1000)
    assert ask("GET", "/v2/").status == 200


def test_tls_is_refused_at_once(registry, ask):
    """Clients that try it first fall back only then; a handshake has no end that one could wait for."""
    with contextlib.closing(connection(registry)) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01")
        sock.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1000) == b""
    assert ask("GET", "/v2/").status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v2/"),
        ("POST", "/v2/team/demo/tags/list"),
        ("PATCH", "/v2/a/blobs/uploads/"),
        ("DELETE", "/v2/_catalog"),
    ],
)
def test_methods_that_do_not_exist(ask, method, path):
    assert (ask(method, path).status, ask(method, path).codes) == (405, ["UNSUPPORTED"])


def test_elsewhere_there_is_nothing(ask):
    for path in ("/", "/v1/", "/v2/x", "/v3/../v2/", "//v2//"):
        assert ask("GET", path).status == 404


def connection(registry) -> socket.socket:
    host, _, port = registry.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_names_never_lead_out(text):
    with contextlib.suppress(Refusal):
        name = checked_name(text)
        assert os.path.normpath(f"/root/{name}") == f"/root/{name}"
        assert not any(part.startswith((".", "_")) for part in name.split("/"))
    with contextlib.suppress(Refusal):
        reference = checked_reference(text)
        assert "/" not in reference
        assert not reference.startswith(".")


@given(st.text(alphabet="bytes=-0123456789,/* ", max_size=30), st.integers(0, 50))
@settings(max_examples=500, deadline=None)
def test_ranges_stay_inside(header, size):
    with contextlib.suppress(Unsatisfiable):
        wanted = byte_range(header, size)
        assert wanted is None or 0 <= wanted[0] < wanted[1] <= size
    chunk = chunk_range(header)
    assert chunk is None or 0 <= chunk[0] < chunk[1]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["config", "layers", "manifests", "subject", "digest", "size", "mediaType", "annotations"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_document_is_taken_or_refused(document):
    from contextkernel.model.oci import MEDIA_INDEX
    from contextkernel.registry_server.manifests import check_manifest, named_by

    data = json.dumps(document).encode()
    with contextlib.suppress(Refusal):
        check_manifest(data, MEDIA_INDEX, "sha256", lambda _: 1, lambda _: True)
    named_by(data)
