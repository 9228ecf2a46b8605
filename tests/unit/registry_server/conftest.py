"""A registry in a thread, and a client that says exactly what it is told to."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from contextkernel.testing.registry import ServedRegistry, serve_registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def codes(self) -> list[str]:
        return [error["code"] for error in json.loads(self.body)["errors"]]


class Client:
    """One connection for all requests, so that a confused one is noticed."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=30)

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body=body, headers=named)  # type: ignore[arg-type]
        response = self._connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def close(self) -> None:
        self._connection.close()

    def push_blob(self, name: str, data: bytes) -> str:
        digest = digest_of(data)
        answer = self("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201, answer
        return digest

    def push_image(self, name: str, reference: str, layer: bytes = b"layer", **more: object) -> tuple[str, bytes]:
        config = b'{"architecture":"amd64","os":"linux"}'
        for blob in (config, layer):
            self.push_blob(name, blob)
        data = manifest(config, layer, **more)
        answer = self("PUT", f"/v2/{name}/manifests/{reference}", data, Content_Type=MANIFEST)
        assert answer.status == 201, answer
        return digest_of(data), data


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def descriptor(data: bytes, media: str) -> dict[str, object]:
    return {"mediaType": media, "digest": digest_of(data), "size": len(data)}


def manifest(config: bytes, *layers: bytes, **more: object) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers],
            **more,
        }
    ).encode()


@pytest.fixture
def registry() -> Iterator[ServedRegistry]:
    with serve_registry() as served:
        yield served


@pytest.fixture
def connect() -> Iterator[Callable[[ServedRegistry], Client]]:
    made = []

    def one(served: ServedRegistry) -> Client:
        made.append(Client(served.address))
        return made[-1]

    yield one
    for client in made:
        client.close()


@pytest.fixture
def ask(registry: ServedRegistry, connect: Callable[[ServedRegistry], Client]) -> Client:
    return connect(registry)


@pytest.fixture(scope="session")
def made() -> object:
    """The makers of documents above, for tests that have them as a fixture."""

    class Makers:
        manifest = staticmethod(manifest)
        descriptor = staticmethod(descriptor)
        digest_of = staticmethod(digest_of)
        MANIFEST, INDEX = MANIFEST, INDEX

    return Makers
