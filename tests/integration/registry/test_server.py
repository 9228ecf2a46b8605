"""The workflows of the distribution-spec, against our own registry and the real one; and our own with other tools."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from judge.base import BASE, write_base

from contextkernel import Engine
from contextkernel.testing.registry import serve_registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(params=["ours", "real"])
def ours(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "ours")


@pytest.fixture
def ask(request: pytest.FixtureRequest, ours: bool) -> Iterator[Callable[..., Any]]:
    """One connection to the registry; what was answered has its body in ``data``."""
    if ours:
        with serve_registry() as served:
            yield from talking(served.address)
    else:
        yield from talking(request.getfixturevalue("real_registry").address)


def talking(address: str) -> Iterator[Callable[..., Any]]:
    connection = http.client.HTTPConnection(address, timeout=30)

    def one(method: str, path: str, body: object = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        place = path.removeprefix("http://").removeprefix(address)
        connection.request(method, place, body=body, headers=named)  # type: ignore[arg-type]
        response: Any = connection.getresponse()
        response.data = response.read()
        return response

    yield one
    connection.close()


def get(address: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status
    finally:
        connection.close()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(media: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media, "digest": digest_of(data), "size": len(data)}


def closing(place: str, data: bytes) -> str:
    return f"{place}{'&' if '?' in place else '?'}digest={digest_of(data)}"


def test_the_workflows_of_the_specification(ask: Callable[..., Any], ours: bool) -> None:
    """Push in one piece, in chunks and by mount; pull by tag, digest and range; lists; deletion. As end-1 to end-11."""
    layer, config = b"layer" * 5000, b'{"architecture":"amd64","os":"linux"}'
    assert ask("GET", "/v2/").status == 200

    # nothing yet
    assert ask("GET", "/v2/spec/one/manifests/v1", Accept=MANIFEST).status == 404
    assert ask("HEAD", f"/v2/spec/one/blobs/{digest_of(layer)}").status == 404
    assert ask("GET", "/v2/spec/one/tags/list").status == 404

    # in one piece
    begun = ask("POST", "/v2/spec/one/blobs/uploads/")
    assert begun.status == 202
    octets = "application/octet-stream"
    done = ask("PUT", closing(begun.headers["Location"], config), config, Content_Type=octets)
    assert done.status == 201
    assert ask("GET", done.headers["Location"]).data == config

    # in chunks, with one that does not fit
    begun = ask("POST", "/v2/spec/one/blobs/uploads/")
    first = ask("PATCH", begun.headers["Location"], layer[:10_000], Content_Range="0-9999", Content_Type=octets)
    assert (first.status, first.headers["Range"]) == (202, "0-9999")
    if ours:  # docker-registry 2.8 does not look at where a chunk belongs
        apart = ask("PATCH", first.headers["Location"], b"x", Content_Range="10001-10001", Content_Type=octets)
        assert (apart.status, apart.headers["Range"]) == (416, "0-9999")
    last = ask(
        "PUT",
        closing(first.headers["Location"], layer),
        layer[10_000:],
        Content_Range=f"10000-{len(layer) - 1}",
        Content_Type=octets,
    )
    assert last.status == 201

    # a blob that is something else
    begun = ask("POST", "/v2/spec/one/blobs/uploads/")
    assert ask("PUT", closing(begun.headers["Location"], b"other"), b"this", Content_Type=octets).status == 400

    # by mount
    mounted = ask("POST", f"/v2/spec/two/blobs/uploads/?mount={digest_of(layer)}&from=spec/one")
    assert mounted.status == 201
    assert ask("HEAD", f"/v2/spec/two/blobs/{digest_of(layer)}").headers["Content-Length"] == str(len(layer))

    # manifests
    missing = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(octets, b"?"), "layers": []})
    refused = ask("PUT", "/v2/spec/one/manifests/v1", missing.encode(), Content_Type=MANIFEST)
    assert refused.status in (400, 404)
    assert json.loads(refused.data)["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    ).encode()
    for reference in (digest_of(manifest), "v1", "v2", "latest"):
        put = ask("PUT", f"/v2/spec/one/manifests/{reference}", manifest, Content_Type=MANIFEST)
        assert (put.status, put.headers["Docker-Content-Digest"]) == (201, digest_of(manifest))
    for reference in ("v1", digest_of(manifest)):
        got = ask("GET", f"/v2/spec/one/manifests/{reference}", Accept=MANIFEST)
        assert (got.data, got.headers["Content-Type"]) == (manifest, MANIFEST)
        head = ask("HEAD", f"/v2/spec/one/manifests/{reference}", Accept=MANIFEST)
        assert (head.status, head.headers["Docker-Content-Digest"]) == (200, digest_of(manifest))
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, manifest)]}).encode()
    assert ask("PUT", "/v2/spec/one/manifests/all", index, Content_Type=INDEX).status == 201
    assert ask("GET", "/v2/spec/one/manifests/all", Accept=f"{MANIFEST}, {INDEX}").data == index

    # a range, as a broken download asks for
    part = ask("GET", f"/v2/spec/one/blobs/{digest_of(layer)}", Range="bytes=20000-")
    assert (part.status, part.data) == (206, layer[20_000:])

    # lists
    listed = json.loads(ask("GET", "/v2/spec/one/tags/list").data)["tags"]
    assert sorted(listed) == ["all", "latest", "v1", "v2"]
    if ours:  # docker-registry 2.8 neither sorts tags nor gives them in pages
        assert listed == sorted(listed)
        page = ask("GET", "/v2/spec/one/tags/list?n=3")
        assert json.loads(page.data)["tags"] == ["all", "latest", "v1"]
        assert 'rel="next"' in page.headers["Link"]
        assert json.loads(ask("GET", "/v2/spec/one/tags/list?n=3&last=v1").data)["tags"] == ["v2"]
    assert "spec/one" in json.loads(ask("GET", "/v2/_catalog").data)["repositories"]

    # deletion
    assert ask("DELETE", f"/v2/spec/one/manifests/{digest_of(manifest)}").status == 202
    assert ask("GET", "/v2/spec/one/manifests/v1", Accept=MANIFEST).status == 404
    assert ask("DELETE", f"/v2/spec/two/blobs/{digest_of(layer)}").status == 202
    assert ask("HEAD", f"/v2/spec/two/blobs/{digest_of(layer)}").status == 404


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store") as one:
        yield one
        for row in one.registries():
            one.remove_registry(row.name, force=True)


def test_images_of_the_store_are_shown(engine: Engine, skopeo: Callable[..., str], tmp_path: Path) -> None:
    """Read-only; with the store's own ids and layer digests; skopeo copies it to a registry that can be pushed to."""
    write_base(tmp_path / "base.tar")
    image = engine.import_image(str(tmp_path / "base.tar"), BASE)
    engine.tag(BASE, "team/base:v1")
    show, put = engine.start_registry("show", port=0, images=True), engine.start_registry(port=0)
    shown = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{show.address}/team/base:v1"))
    assert shown["config"]["digest"] == image
    (document,) = engine.inspect([BASE])
    assert [layer["digest"] for layer in shown["layers"]] == document["RootFS"]["Layers"]
    target = f"docker://{put.address}/copied:v1"
    copied = ("copy", "--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo(*copied, "--preserve-digests", f"docker://{show.address}/team/base:v1", target)
    with pytest.raises(AssertionError, match="read-only"):
        skopeo(*copied, target, f"docker://{show.address}/pushed:v1")
    (row,) = engine.registry_images()
    assert (row.repository, row.tag) == ("copied", "v1")
    with Engine(tmp_path / "other") as other:
        other.pull(f"{put.address}/copied:v1")
        assert [one.id for one in other.images()] == [image]
        assert other.run(f"{put.address}/copied:v1", ["true"], network="none", remove=True).exit_code == 0
    # the files are a layout for whoever has no server
    layout = f"oci:{tmp_path}/store/registry/registry/layout:copied:v1"
    assert json.loads(skopeo("inspect", "--raw", layout)) == shown


ASK = """
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=30).status)
except urllib.error.HTTPError as problem:
    print(problem.code)
"""


@pytest.mark.root
def test_another_user_is_kept_out(engine: Engine, user: str) -> None:
    row = engine.start_registry(port=0)
    secret = engine.start_registry("secret", port=0, user="student", password="a lesson")

    def status(words: list[str], address: str) -> str:
        done = subprocess.run(
            [*words, sys.executable, "-I", "-c", ASK, f"http://{address}/v2/"],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert status([], row.address) == "200"
    assert status(["runuser", "-u", user, "--"], row.address) == "403"
    assert status(["runuser", "-u", user, "--"], secret.address) == "401", "asked for the password"


STARTER = """
import os, sys
from contextkernel import Engine
print(Engine(sys.argv[1]).start_registry(port=0).address, flush=True)
os.kill(os.getpid(), 9)
"""


def test_it_goes_on_when_its_starter_is_killed(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    done = subprocess.run([sys.executable, "-c", STARTER, root], stdout=subprocess.PIPE, text=True, check=False)
    with Engine(root) as engine:
        try:
            assert done.returncode == -9
            assert get(done.stdout.strip()) == 200
            assert engine.registries()[0].running
        finally:
            engine.remove_registry("registry", force=True)
    assert not os.path.exists(f"{root}/registry/registry")
