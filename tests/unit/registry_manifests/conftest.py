"""A registry in a thread, and images in it that are small enough to count every byte."""

import json
from collections.abc import Iterator
from io import BytesIO

import pytest

from contextkernel.engine import Engine
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import (
    MEDIA_CONFIG,
    MEDIA_DOCKER_CONFIG,
    MEDIA_DOCKER_LAYER_GZIP,
    MEDIA_DOCKER_MANIFEST,
    MEDIA_INDEX,
    MEDIA_LAYER_GZIP,
    MEDIA_MANIFEST,
    REFERENCE_DIGEST,
    REFERENCE_TYPE,
    Descriptor,
    Index,
    PlatformField,
)
from contextkernel.registry import repositories
from contextkernel.testing.registry import ServedRegistry, serve_registry


class Pushed:
    """Puts images into a registry."""

    def __init__(self, registry: ServedRegistry) -> None:
        self.registry = registry
        self.address = registry.address

    def client(self, path):
        return repositories(self.address, path, access="pull,push")[-1]

    def blob(self, path, media, data):
        descriptor = Descriptor(media, Digest.of(data), len(data))
        self.client(path).upload(descriptor, BytesIO(data))
        return descriptor

    def image(self, path, tag, architecture="amd64", variant=None, layers=(b"base", b"script"), docker=False):
        """An image of that many layers under a tag; gives the descriptor that an index would have."""
        kinds = (MEDIA_DOCKER_CONFIG, MEDIA_DOCKER_LAYER_GZIP, MEDIA_DOCKER_MANIFEST)
        config_kind, layer_kind, kind = kinds if docker else (MEDIA_CONFIG, MEDIA_LAYER_GZIP, MEDIA_MANIFEST)
        config = {
            "created": "2026-03-01T10:00:00Z",
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/greet"], "Labels": {"a": "b"}},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(b"plain" + layer)) for layer in layers]},
            "history": [
                *({"created": "2026-03-01T10:00:00Z", "created_by": f"ADD {n}"} for n in range(len(layers))),
                {"created": "2026-03-01T10:00:00Z", "created_by": "CMD", "empty_layer": True},
            ],
        }
        if variant:
            config["variant"] = variant
        document = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": kind,
                "config": json.loads(to_json(self.blob(path, config_kind, json.dumps(config).encode()))),
                "layers": [json.loads(to_json(self.blob(path, layer_kind, layer))) for layer in layers],
            },
            indent=2,
        ).encode()
        digest = self.client(path).put_manifest(tag, kind, document)
        platform = PlatformField(architecture, "linux", variant=variant)
        return Descriptor(kind, digest, len(document), platform=platform)

    def index(self, path, tag, *entries, **more):
        document = to_json(Index(schema_version=2, media_type=MEDIA_INDEX, manifests=entries, **more))
        return self.client(path).put_manifest(tag, MEDIA_INDEX, document)

    def attestation(self, path, subject):
        """Provenance of an image."""
        statement = {"_type": "x", "predicateType": "https://slsa.dev/provenance/v1", "predicate": {"by": "test"}}
        layer = json.loads(to_json(self.blob(path, "application/vnd.in-toto+json", json.dumps(statement).encode())))
        layer["annotations"] = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}
        config = json.loads(to_json(self.blob(path, "application/vnd.oci.empty.v1+json", b"{}")))
        document = json.dumps(
            {"schemaVersion": 2, "mediaType": MEDIA_MANIFEST, "config": config, "layers": [layer]}
        ).encode()
        self.client(path).put_manifest(str(Digest.of(document)), MEDIA_MANIFEST, document)
        return Descriptor(
            MEDIA_MANIFEST,
            Digest.of(document),
            len(document),
            annotations={REFERENCE_DIGEST: str(subject.digest), REFERENCE_TYPE: "attestation-manifest"},
            platform=PlatformField("unknown", "unknown"),
        )


@pytest.fixture(scope="module")
def _registry() -> Iterator[ServedRegistry]:
    with serve_registry() as registry:
        yield registry


@pytest.fixture
def pushed(_registry: ServedRegistry) -> Pushed:
    _registry.requests.clear()
    return Pushed(_registry)


@pytest.fixture
def elsewhere() -> Iterator[Pushed]:
    """Another registry."""
    with serve_registry() as registry:
        yield Pushed(registry)


@pytest.fixture
def engine(tmp_path) -> Iterator[Engine]:
    with Engine(tmp_path / "store") as made:
        yield made
