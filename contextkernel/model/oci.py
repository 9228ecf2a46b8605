"""OCI image documents as values (image-spec v1.1: descriptor.md, manifest.md, image-index.md, config.md).

Field order is the order in which they are written, which is Docker's, so that configs made here look
like docker's. ``Healthcheck``, ``Shell``, ``OnBuild`` and ``StopSignal`` are Docker's additions (image spec v1.2).
"""

from __future__ import annotations

from typing import Any

import msgspec

from contextkernel.model.digest import Digest

MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_LAYER = "application/vnd.oci.image.layer.v1.tar"
MEDIA_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
MEDIA_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
MEDIA_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MEDIA_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MEDIA_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
MEDIA_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
MEDIA_DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MEDIA_EMPTY = "application/vnd.oci.empty.v1+json"
MEDIA_IN_TOTO = "application/vnd.in-toto+json"
MEDIA_INDEXES = (MEDIA_INDEX, MEDIA_DOCKER_LIST)
MEDIA_MANIFESTS = (MEDIA_MANIFEST, MEDIA_DOCKER_MANIFEST)
REFERENCE_TYPE = "vnd.docker.reference.type"
"""Annotation of an index entry that is about another one: what it is, ``attestation-manifest``."""
REFERENCE_DIGEST = "vnd.docker.reference.digest"
"""Annotation of an index entry that is about another one: which."""
ATTESTATION_ARTIFACT = "application/vnd.docker.attestation.manifest.v1+json"


class PlatformField(msgspec.Struct, frozen=True, omit_defaults=True):
    """The ``platform`` object of an index entry, fields in Go's order."""

    architecture: str
    os: str
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: tuple[str, ...] | None = msgspec.field(default=None, name="os.features")
    variant: str | None = None


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A typed, sized, digested pointer to content."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] | None = None
    annotations: dict[str, str] | None = None
    data: str | None = None
    platform: PlatformField | None = None
    artifact_type: str | None = None


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """An image manifest."""

    schema_version: int
    media_type: str | None = None
    artifact_type: str | None = None
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """An image index (Docker: manifest list)."""

    schema_version: int
    media_type: str | None = None
    artifact_type: str | None = None
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Healthcheck(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """Docker's health check; durations are in nanoseconds."""

    test: tuple[str, ...] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RunConfig(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """The ``config`` object: what a container of this image starts with.

    ``None`` and absent mean the same; maps of empty objects (``ExposedPorts``, ``Volumes``) are Go sets.
    """

    user: str = ""
    exposed_ports: dict[str, dict[str, Any]] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str = ""
    on_build: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    shell: tuple[str, ...] | None = None


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of an image's history; ``created`` is RFC 3339."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, frozen=True):
    """The layers, by digest of their uncompressed tar, base first."""

    type: str
    diff_ids: tuple[Digest, ...]


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """The image configuration document; its digest is the image id.

    ``inline_cache``: a build cache for whoever builds the same again (BuildKit's ``moby.buildkit.cache.v0``), base64.
    """

    architecture: str = ""
    os: str = ""
    config: RunConfig = msgspec.field(default_factory=RunConfig)
    rootfs: RootFS = msgspec.field(default_factory=lambda: RootFS("layers", ()))
    history: tuple[History, ...] = ()
    created: str | None = None
    author: str = ""
    variant: str = ""
    inline_cache: str | None = msgspec.field(default=None, name="moby.buildkit.cache.v0")
