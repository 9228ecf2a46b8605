from __future__ import annotations

import hashlib
import io
import json
import socket
from itertools import count

import pytest
from tornado.httputil import HTTPServerRequest

from contextkernel.errors import (
    DigestMismatch,
    ImageNotFound,
    RegistryDenied,
    RegistryFailing,
    RegistryRateLimited,
    RegistryRefused,
    RegistryUnauthorized,
    RegistryUnreachable,
    SizeMismatch,
    StoreProblem,
)
from contextkernel.model import codec, oci
from contextkernel.model.digest import Digest
from contextkernel.registry import Registry, Repository, repositories
from contextkernel.registry.credentials import Credentials
from contextkernel.registry.retrying import Tries
from contextkernel.registry.settings import Endpoint
from contextkernel.testing.registry import Canned, ServedRegistry, Tokens, serve_registry

DATA = bytes(range(256)) * 5000
BLOB = oci.Descriptor(oci.MEDIA_LAYER, Digest.of(DATA), len(DATA))
ME = Credentials(username="ada", password="s3cr3t-pass")


def client(
    served: ServedRegistry, tries: Tries, path: str = "team/demo", credentials: Credentials | None = None
) -> Repository:
    return Repository(
        Endpoint(url=served.url, verify=False),
        served.address,
        path,
        access="pull,push",
        tries=tries,
        credentials=credentials,
    )


def pushed(repository: Repository) -> tuple[Digest, bytes]:
    """Push a manifest of one layer under ``v1``."""
    config = b"{}"
    described = oci.Descriptor(oci.MEDIA_CONFIG, Digest.of(config), len(config))
    repository.upload(described, io.BytesIO(config))
    repository.upload(BLOB, io.BytesIO(DATA))
    data = codec.to_json(
        oci.Manifest(schema_version=2, media_type=oci.MEDIA_MANIFEST, config=described, layers=(BLOB,))
    )
    return repository.put_manifest("v1", oci.MEDIA_MANIFEST, data), data


def test_what_is_pushed_is_there(registry: ServedRegistry, tries: Tries) -> None:
    repository = client(registry, tries)
    digest, data = pushed(repository)
    assert repository.manifest("v1") == (oci.MEDIA_MANIFEST, data)
    assert repository.manifest(digest) == (oci.MEDIA_MANIFEST, data)
    assert repository.head("v1") == oci.Descriptor(oci.MEDIA_MANIFEST, digest, len(data))
    assert repository.blob_size(BLOB.digest) == len(DATA)
    with repository.blob(BLOB.digest) as stream:
        assert (stream.offset, stream.size) == (0, len(DATA))
        assert stream.read(1000) + stream.read() == DATA
    with repository.blob(BLOB.digest, offset=1_000_000) as stream:
        assert (stream.offset, stream.size) == (1_000_000, len(DATA))
        assert stream.read(1 << 22) == DATA[1_000_000:]
    assert list(repository.tags()) == ["v1"]


def test_what_is_not_there(registry: ServedRegistry, tries: Tries) -> None:
    repository = client(registry, tries)
    assert repository.head("v9") is None
    assert repository.blob_size(BLOB.digest) is None
    with pytest.raises(ImageNotFound, match=r"team/demo:v9 does not exist in the registry"):
        repository.manifest("v9")
    with pytest.raises(ImageNotFound, match=BLOB.digest.hex), repository.blob(BLOB.digest):
        pass
    with pytest.raises(ImageNotFound):
        list(repository.tags())


def test_what_fails_here_is_not_the_connection(registry: ServedRegistry, tries: Tries) -> None:
    repository = client(registry, tries)
    repository.upload(BLOB, io.BytesIO(DATA))
    opened = repository.blob(BLOB.digest)
    opened.__enter__()
    full = OSError(28, "no room")
    assert not opened.__exit__(OSError, full, None)  # it is not made another error of


def test_connections_are_used_again(registry: ServedRegistry, tries: Tries) -> None:
    ports: set[int] = set()

    def answer(request: HTTPServerRequest) -> None:
        assert request.connection is not None
        ports.add(request.connection.stream.socket.getpeername()[1])  # type: ignore[attr-defined]

    registry.answer = answer
    repository = client(registry, tries)
    pushed(repository)
    repository.head("v1")
    repository.manifest("v1")
    assert repository.blob_size(BLOB.digest) == len(DATA)
    assert len(ports) == 1


def test_mounting_takes_a_blob_over(registry: ServedRegistry, tries: Tries) -> None:
    client(registry, tries, "other/place").upload(BLOB, io.BytesIO(DATA))
    repository = client(registry, tries)
    assert repository.mount(BLOB.digest, "other/place")
    assert repository.blob_size(BLOB.digest) == len(DATA)
    absent = Digest.of(b"absent")
    assert not repository.mount(absent, "other/place")
    begun = len(registry.requests)
    repository.upload(oci.Descriptor(oci.MEDIA_LAYER, absent, 6), io.BytesIO(b"absent"))
    # the session that the registry began instead is used
    assert [one.method for one in registry.requests[begun:]] == ["PUT"]


def test_an_upload_that_begins_nowhere_is_no_mount(registry: ServedRegistry, tries: Tries) -> None:
    registry.answer = lambda request: Canned(202) if "mount=" in request.uri else None
    assert not client(registry, tries).mount(BLOB.digest, "other/place")


def test_removing(registry: ServedRegistry, tries: Tries) -> None:
    repository = client(registry, tries)
    digest, _ = pushed(repository)
    repository.delete_manifest(digest)
    assert repository.head("v1") is None
    repository.delete_blob(BLOB.digest)
    assert repository.blob_size(BLOB.digest) is None
    with pytest.raises(ImageNotFound):
        repository.delete_manifest(digest)


def test_lists_come_in_pages(registry: ServedRegistry, tries: Tries) -> None:
    pages = {"": (["a", "b"], 'rel="next"'), "b": (["c"], "")}

    def answer(request: HTTPServerRequest) -> Canned | None:
        if request.path != "/v2/_catalog":
            return None
        last = request.query_arguments.get("last", [b""])[0].decode()
        found, more = pages[last]
        link = {"Link": f"</v2/_catalog?last={found[-1]}&n=2>; {more}"} if more else {}
        return Canned(200, link, json.dumps({"repositories": found}).encode())

    registry.answer = answer
    assert list(Registry(Endpoint(url=registry.url), registry.address, tries=tries).catalog()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("</v2/team/demo/tags/list?n=1000>; rel=next", "does not end"),
        ("<http://elsewhere.example.org/v2/team/demo/tags/list?last=x>; rel=next", "goes on elsewhere"),
    ],
)
def test_a_list_that_never_ends_or_leads_away(registry: ServedRegistry, tries: Tries, link: str, text: str) -> None:
    registry.answer = lambda _: Canned(200, {"Link": link}, b'{"tags": ["x"]}')
    with pytest.raises(RegistryRefused, match=text):
        list(client(registry, tries).tags())


def test_referrers_with_and_without_the_registrys_help(registry: ServedRegistry, tries: Tries) -> None:
    repository = client(registry, tries)
    digest, data = pushed(repository)
    subject = oci.Descriptor(oci.MEDIA_MANIFEST, digest, len(data))
    described = oci.Descriptor("application/vnd.example+json", Digest.of(b"{}"), 2)
    about = codec.to_json(
        oci.Manifest(
            schema_version=2,
            media_type=oci.MEDIA_MANIFEST,
            artifact_type="application/vnd.example",
            config=described,
            layers=(),
            subject=subject,
        )
    )
    found = repository.put_manifest(Digest.of(about), oci.MEDIA_MANIFEST, about)
    listed = repository.referrers(digest).manifests
    assert [(one.digest, one.artifact_type) for one in listed] == [(found, "application/vnd.example")]
    assert repository.referrers(digest, "application/vnd.other").manifests == ()
    # a registry without the list: the tag stands in for it
    registry.answer = lambda request: Canned(404) if "/referrers/" in request.path else None
    assert repository.referrers(digest).manifests == ()
    from contextkernel.registry.referrers import list_referrer

    list_referrer(repository, oci.MEDIA_MANIFEST, about)
    list_referrer(repository, oci.MEDIA_MANIFEST, about)
    assert [one.digest for one in repository.referrers(digest).manifests] == [found]


def test_referrers_come_in_pages(registry: ServedRegistry, tries: Tries) -> None:
    entries = [oci.Descriptor(oci.MEDIA_MANIFEST, Digest.of(bytes([number])), number) for number in range(5)]
    path = f"/v2/team/demo/referrers/{BLOB.digest}"
    last = [""]

    def answer(request: HTTPServerRequest) -> Canned | None:
        if request.path != path:
            return None
        start = int(request.arguments.get("last", [b"0"])[0])
        page = oci.Index(schema_version=2, media_type=oci.MEDIA_INDEX, manifests=tuple(entries[start : start + 2]))
        link = f'<{path}?last={start + 2}>; rel="next"' if start + 2 < len(entries) else last[0]
        return Canned(200, {"Content-Type": oci.MEDIA_INDEX, "Link": link}, codec.to_json(page))

    registry.answer = answer
    assert list(client(registry, tries).referrers(BLOB.digest).manifests) == entries
    last[0] = f'<{path}?last=0>; rel="next"'
    with pytest.raises(RegistryRefused, match="list of referrers does not end"):
        client(registry, tries).referrers(BLOB.digest)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_codes_that_are_tried_again(registry: ServedRegistry, tries: Tries, waits: list[float], status: int) -> None:
    digest, data = pushed(client(registry, tries))
    turn = count()
    registry.answer = lambda request: Canned(status) if "manifests" in request.path and next(turn) < 2 else None
    told: list[float] = []
    repository = client(registry, tries)
    repository.told = lambda _problem, wait: told.append(wait)
    assert repository.manifest(digest)[1] == data
    assert waits == told == [0.25, 0.5]


@pytest.mark.parametrize(("status", "kind"), [(400, RegistryRefused), (403, RegistryDenied), (416, RegistryRefused)])
def test_codes_that_are_final(
    registry: ServedRegistry, tries: Tries, waits: list[float], status: int, kind: type[Exception]
) -> None:
    registry.answer = lambda _: Canned(status, {}, b'{"errors":[{"code":"DENIED","message":"no <b>\\nway"}]}')
    with pytest.raises(kind, match=rf"the registry answered {status}: DENIED: no <b> way"):
        client(registry, tries).manifest("v1")
    assert waits == []


def test_giving_up(registry: ServedRegistry, tries: Tries, waits: list[float]) -> None:
    registry.answer = lambda _: Canned(503, {}, b"<html>busy</html>")
    with pytest.raises(RegistryFailing, match=r"answered 503\n") as caught:
        client(registry, tries).manifest("v1")
    assert len(waits) == 4
    assert caught.value.hint == "something is wrong on the registry's side; try again later"


def test_retry_after_is_kept_to(registry: ServedRegistry, tries: Tries, waits: list[float]) -> None:
    turn = count()
    registry.answer = lambda _: Canned(429, {"Retry-After": "7"}) if next(turn) < 1 else None
    assert client(registry, tries).head("v1") is None
    assert waits == [7.0]


@pytest.mark.parametrize("after", ["7200", "1800007200", "Fri, 15 Jan 2027 10:00:00 GMT"])
def test_a_rate_limit_that_lasts_is_told_with_its_reset(
    registry: ServedRegistry, tries: Tries, waits: list[float], after: str
) -> None:
    registry.answer = lambda _: Canned(
        429, {"Retry-After": after, "RateLimit-Limit": "100;w=21600"}, b"toomanyrequests"
    )
    with pytest.raises(RegistryRateLimited) as caught:
        client(registry, tries).manifest("v1")
    assert "100 requests in 6 hours; the limit is reset at" in caught.value.problem
    assert caught.value.problem.endswith("in 2 hours (toomanyrequests)")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("log in")
    assert caught.value.retry_after == 7200.0
    assert waits == []


def test_nobody_answers(tries: Tries, waits: list[float]) -> None:
    repository = Repository(Endpoint(url="http://127.0.0.1:9"), "127.0.0.1:9", "x", tries=tries)
    with pytest.raises(RegistryUnreachable, match=r"cannot reach 127\.0\.0\.1:9: connection refused"):
        repository.manifest("v1")
    assert len(waits) == 4


@pytest.mark.parametrize(
    ("answer", "tried"), [(socket.EAI_NONAME, 2), (socket.EAI_AGAIN, 5)], ids=["nobody knows it", "nobody answers"]
)
def test_a_name_without_an_address(
    answer: int, tried: int, tries: Tries, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_up(*_: object, **__: object) -> None:
        raise socket.gaierror(answer, "No such name")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    repository = Repository(Endpoint(url="https://registry.invalid"), "registry.invalid", "x", tries=tries)
    with pytest.raises(
        RegistryUnreachable, match=r"cannot reach registry\.invalid: its name is not known: no such name"
    ):
        repository.manifest("v1")
    assert len(waits) == tried - 1


class TestLogin:
    def test_basic(self, tries: Tries) -> None:
        with serve_registry(user="ada", password=ME.password) as served:
            pushed(client(served, tries, credentials=ME))
            with pytest.raises(RegistryUnauthorized, match="it wants a login") as caught:
                client(served, tries).manifest("v1")
            assert caught.value.hint == f"log in: login {served.address}"
            wrong = Credentials(username="ada", password="wr0ng-pass")
            with pytest.raises(RegistryUnauthorized) as caught:
                client(served, tries, credentials=wrong).manifest("v1")
            assert "wr0ng" not in str(caught.value)
            assert caught.value.hint == f"log in again: login {served.address}"

    def test_tokens_have_the_scope_that_is_needed(self, tries: Tries) -> None:
        tokens = Tokens(users={"ada": ME.password})
        with serve_registry(tokens=tokens) as served:
            repository = client(served, tries, credentials=ME)
            pushed(repository)
            assert tokens.given == ["repository:team/demo:pull,push"]
            repository.mount(BLOB.digest, "other/place")
            assert tokens.given[1:] == ["repository:other/place:pull repository:team/demo:pull,push"]

    def test_nobody_may_pull_and_not_push(self, tries: Tries) -> None:
        tokens = Tokens(users={"ada": ME.password})
        with serve_registry(tokens=tokens) as served:
            pushed(client(served, tries, credentials=ME))
            assert client(served, tries).head("v1") is not None
            with pytest.raises(RegistryUnauthorized, match="it wants a login"):
                client(served, tries).upload(BLOB, io.BytesIO(DATA))

    def test_tokens_that_are_not_good_any_more_are_replaced(self, tries: Tries) -> None:
        tokens = Tokens(users={"ada": ME.password}, uses=2)
        with serve_registry(tokens=tokens) as served:
            repository = client(served, tries, credentials=ME)
            digest, data = pushed(repository)
            assert len(tokens.given) > 2
            assert repository.manifest(digest)[1] == data

    def test_a_token_server_that_is_down_is_tried_as_often_as_a_registry(
        self, tries: Tries, waits: list[float]
    ) -> None:
        tokens = Tokens()
        with serve_registry(tokens=tokens) as served:
            served.answer = lambda request: Canned(503) if request.path == "/token" else None
            with pytest.raises(RegistryFailing, match="token: the registry answered 503"):
                client(served, tries).manifest("v1")
            assert len(waits) == 4

    def test_a_token_that_ends_soon_is_not_shown(self) -> None:
        tokens, now = Tokens(users={"ada": ME.password}, lifetime=300), [1_800_000_000.0]
        with serve_registry(tokens=tokens) as served:
            repository = client(served, Tries(now=lambda: now[0]), credentials=ME)
            repository.head("v1")
            repository.head("v1")
            assert len(tokens.given) == 1
            now[0] += 295
            repository.head("v1")
            assert len(tokens.given) == 2
            assert [one.status for one in served.requests if one.status == 401] == [401]

    def test_an_identity_token(self, tries: Tries) -> None:
        tokens = Tokens(users={"ada": ME.password}, refresh="refresh-me-please")
        with serve_registry(tokens=tokens) as served:
            known = Credentials(identity_token="refresh-me-please")
            pushed(client(served, tries, credentials=known))
            assert served.requested("POST", "/token") == [200]
            with pytest.raises(RegistryUnauthorized) as caught:
                client(served, tries, credentials=Credentials(identity_token="no-such-token")).manifest("v1")
            assert "no-such-token" not in str(caught.value)

    def test_what_a_registry_repeats_of_a_secret_is_not_repeated(self, tries: Tries) -> None:
        with serve_registry(user="ada", password=ME.password) as served:
            served.answer = lambda request: (
                Canned(400, {}, f"you said {request.headers['Authorization']} {ME.password}".encode())
                if "Authorization" in request.headers
                else None
            )
            with pytest.raises(RegistryRefused, match=r"you said Basic \*\*\* \*\*\*"):
                client(served, tries, credentials=ME).manifest("v1")

    def test_nor_is_the_beginning_of_one_that_is_cut_off(self, tries: Tries) -> None:
        known = Credentials(username="ada", password="s3cr3t-" * 20)
        with serve_registry(user="ada", password=known.password) as served:
            served.answer = lambda request: (
                Canned(400, {}, f"{'no ' * 150}{known.password}".encode())
                if "Authorization" in request.headers
                else None
            )
            with pytest.raises(RegistryRefused, match=r"no \*\*\*") as caught:
                client(served, tries, credentials=known).manifest("v1")
            assert "s3cr3t" not in str(caught.value)

    def test_a_token_server_that_is_not_there_is_no_missing_image(self, registry: ServedRegistry, tries: Tries) -> None:
        registry.answer = lambda request: (
            Canned(404, {}, b"no such page")
            if request.path == "/token"
            else Canned(401, {"WWW-Authenticate": f'Bearer realm="{registry.url}/token"'})
        )
        with pytest.raises(RegistryRefused, match=r"the token server .*/token answered 404: no such page"):
            client(registry, tries).head("v1")

    def test_an_unknown_kind_of_login(self, registry: ServedRegistry, tries: Tries) -> None:
        registry.answer = lambda _: Canned(401, {"WWW-Authenticate": "Negotiate"})
        with pytest.raises(RegistryUnauthorized, match="a login of a kind that is not known: 'negotiate'"):
            client(registry, tries).manifest("v1")


class TestRedirects:
    def test_credentials_do_not_follow(self, registry: ServedRegistry, tries: Tries) -> None:
        seen: list[dict[str, str]] = []

        def elsewhere(request: HTTPServerRequest) -> Canned:
            seen.append(dict(request.headers.get_all()))
            return Canned(200, {}, DATA)

        registry.answer = elsewhere
        with serve_registry(user="ada", password=ME.password) as served:
            served.answer = lambda request: (
                Canned(307, {"Location": f"{registry.url}/store?X-Signature=abc"})
                if "/blobs/" in request.path and "Authorization" in request.headers
                else None
            )
            with client(served, tries, credentials=ME).blob(BLOB.digest, offset=10) as stream:
                assert stream.offset == 0
                assert hashlib.sha256(stream.read()).hexdigest() == BLOB.digest.hex
        assert [("Authorization" in headers, headers["Range"]) for headers in seen] == [(False, "bytes=10-")]

    @pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
    def test_where_they_lead_does_not_decide_who_gets_the_password(
        self, registry: ServedRegistry, tries: Tries, scheme: str
    ) -> None:
        challenge = {"WWW-Authenticate": f'{scheme} realm="{registry.url}/token",service="lab"'}
        registry.answer = lambda _: Canned(401, challenge)
        with serve_registry(user="ada", password=ME.password) as served:
            served.answer = lambda request: (
                Canned(307, {"Location": f"{registry.url}/store"}) if "/blobs/" in request.path else None
            )
            repository = client(served, tries, credentials=ME)
            with (
                pytest.raises(RegistryRefused, match="redirects to, wants a login of its own"),
                repository.blob(BLOB.digest),
            ):
                pass
            assert served.requested("GET", f"/v2/team/demo/blobs/{BLOB.digest}") == [307]
        assert [one.path for one in registry.requests] == ["/store"]

    def test_endless_ones(self, registry: ServedRegistry, tries: Tries) -> None:
        registry.answer = lambda request: Canned(307, {"Location": request.path + "x"})
        with pytest.raises(RegistryRefused, match="leads from one redirect to the next"):
            client(registry, tries).manifest("v1")

    @pytest.mark.parametrize("location", ["", "ftp://example.org/x", "http://[::1"])
    def test_to_nowhere(self, registry: ServedRegistry, tries: Tries, location: str) -> None:
        registry.answer = lambda _: Canned(307, {"Location": location})
        with pytest.raises(RegistryRefused, match="redirects to nowhere"):
            client(registry, tries).manifest("v1")


class TestUpload:
    def test_it_is_told_how_much_is_sent(self, registry: ServedRegistry, tries: Tries) -> None:
        told: list[int] = []
        client(registry, tries).upload(BLOB, io.BytesIO(DATA), told.append)
        assert told[-1] == len(DATA)

    def test_a_failure_is_followed_by_another_try_from_the_start(self, registry: ServedRegistry, tries: Tries) -> None:
        turn = count()
        registry.answer = lambda request: Canned(502) if request.method == "PUT" and next(turn) < 2 else None
        source = io.BytesIO(b"before" + DATA)
        source.seek(6)
        repository = client(registry, tries)
        repository.upload(BLOB, source)
        assert repository.blob_size(BLOB.digest) == len(DATA)

    def test_a_source_that_cannot_be_read_again_is_not(
        self, registry: ServedRegistry, tries: Tries, waits: list[float]
    ) -> None:
        class Pipe(io.BytesIO):
            def seekable(self) -> bool:
                return False

        registry.answer = lambda request: Canned(502) if request.method == "PUT" else None
        with pytest.raises(RegistryFailing):
            client(registry, tries).upload(BLOB, Pipe(DATA))
        assert waits == []
        registry.answer = lambda _: None
        client(registry, tries).upload(BLOB, Pipe(DATA))

    def test_in_parts_where_a_large_body_is_refused(self, registry: ServedRegistry, tries: Tries) -> None:
        large = 1_000_000

        def answer(request: HTTPServerRequest) -> Canned | None:
            too_large = int(request.headers.get("Content-Length", "0")) > large
            return Canned(413) if request.method == "PUT" and too_large else None

        registry.answer = answer
        repository = client(registry, tries)
        repository.upload(BLOB, io.BytesIO(DATA))
        assert "PATCH" in {one.method for one in registry.requests}
        repository.chunk = 300_000
        other = DATA[1:]
        repository.upload(oci.Descriptor(oci.MEDIA_LAYER, Digest.of(other), len(other)), io.BytesIO(other))
        with repository.blob(Digest.of(other)) as stream:
            assert stream.read() == other

    @pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b""])
    def test_a_source_of_another_size(self, registry: ServedRegistry, tries: Tries, data: bytes) -> None:
        with pytest.raises(SizeMismatch):
            client(registry, tries).upload(BLOB, io.BytesIO(data))

    def test_a_source_that_cannot_be_read(self, registry: ServedRegistry, tries: Tries, waits: list[float]) -> None:
        class Broken(io.BytesIO):
            def read(self, _size: int | None = -1, /) -> bytes:
                raise OSError(5, "Input/output error")

        with pytest.raises(StoreProblem, match="input/output error"):
            client(registry, tries).upload(BLOB, Broken(DATA))
        assert waits == []

    def test_a_wrong_content(self, registry: ServedRegistry, tries: Tries) -> None:
        with pytest.raises(RegistryRefused, match="DIGEST_INVALID"):
            client(registry, tries).upload(BLOB, io.BytesIO(DATA[::-1]))

    def test_a_manifest_whose_blobs_are_missing(self, registry: ServedRegistry, tries: Tries) -> None:
        data = codec.to_json(oci.Manifest(schema_version=2, config=BLOB, layers=()))
        with pytest.raises(RegistryRefused, match=r"manifest v1 is not taken \(MANIFEST_BLOB_UNKNOWN"):
            client(registry, tries).put_manifest("v1", oci.MEDIA_MANIFEST, data)

    def test_a_repository_that_cannot_be_written(self, registry: ServedRegistry, tries: Tries) -> None:
        registry.answer = lambda _: Canned(404, {}, b'{"errors":[{"code":"NAME_UNKNOWN","message":"no project"}]}')
        with pytest.raises(RegistryRefused, match=r"nothing can be sent there: .*NAME_UNKNOWN: no project"):
            client(registry, tries).upload(BLOB, io.BytesIO(DATA))

    def test_a_registry_that_has_something_else(self, registry: ServedRegistry, tries: Tries) -> None:
        registry.answer = lambda request: (
            Canned(201, {"Docker-Content-Digest": Digest.of(b"other")}) if request.method == "PUT" else None
        )
        with pytest.raises(DigestMismatch):
            client(registry, tries).put_manifest("v1", oci.MEDIA_MANIFEST, b"{}")


def test_mirrors_are_for_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_MIRROR", "http://127.0.0.1:5055")
    assert [one.mirror for one in repositories("docker.io", "library/x")] == [True, False]
    assert [one.mirror for one in repositories("docker.io", "library/x", access="pull,push")] == [False]


def test_ping(registry: ServedRegistry, tries: Tries) -> None:
    assert Registry(Endpoint(url=registry.url), registry.address, tries=tries).ping()
    assert not Registry(Endpoint(url="http://127.0.0.1:9"), "127.0.0.1:9", tries=tries).ping()
