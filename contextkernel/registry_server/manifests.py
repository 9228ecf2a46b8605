"""Manifests that are pushed: what they are, what they name, and whether that is here. Pure.

Rules: distribution-spec v1.1 ("Pushing manifests"), image-spec v1.1 (manifest.md, image-index.md), and Docker's image
manifest version 2, schema 2.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from contextkernel.errors import InvalidDigest
from contextkernel.model.codec import from_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import (
    MEDIA_DOCKER_LIST,
    MEDIA_DOCKER_MANIFEST,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
)
from contextkernel.registry_server.content import Entry
from contextkernel.registry_server.refusals import Refusal, invalid_manifest

#: the specification asks for 4 MiB at least
MAX_MANIFEST = 4 << 20
INDEXES = (MEDIA_INDEX, MEDIA_DOCKER_LIST)
MANIFESTS = (MEDIA_MANIFEST, MEDIA_DOCKER_MANIFEST)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
#: layers of these types, and those with URLs, may lie elsewhere (image-spec, layer.md, "Non-Distributable Layers")
_ELSEWHERE = ("application/vnd.oci.image.layer.nondistributable.", "application/vnd.docker.image.rootfs.foreign.")

#: what an index may name besides manifests
_NO_MANIFESTS = (
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.buildkit.cacheconfig.",
)


class Part(msgspec.Struct, frozen=True, rename="camel"):
    """A descriptor in a manifest, as far as a registry looks at it."""

    digest: Digest
    size: int
    media_type: str = ""
    urls: tuple[str, ...] | None = None

    @property
    def elsewhere(self) -> bool:
        """It need not be in the registry."""
        return bool(self.urls) or self.media_type.startswith(_ELSEWHERE)


class _Document(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    schema_version: int = 2
    media_type: str | None = None
    artifact_type: str | None = None
    config: Part | None = None
    layers: tuple[Part, ...] = ()
    manifests: tuple[Part, ...] = ()
    subject: Part | None = None
    annotations: dict[str, str] | None = None


class Named(msgspec.Struct, frozen=True):
    """What a manifest names.

    Attributes:
        blobs: configuration and layers.
        manifests: of an index.
        subject: the manifest that it refers to.
    """

    blobs: tuple[Part, ...] = ()
    manifests: tuple[Part, ...] = ()
    subject: Digest | None = None


def named_by(data: bytes) -> Named:
    """What a manifest that was taken names; nothing if it cannot be read any more."""
    try:
        return _named(_decoded(data))
    except Refusal:
        return Named()


def check_manifest(
    data: bytes,
    content_type: str,
    algorithm: str,
    size_of: Callable[[Digest], int | None],
    has: Callable[[Digest], bool],
) -> tuple[Entry, Named]:
    """Look at a manifest that is pushed.

    Args:
        data: its bytes.
        content_type: of the request, maybe with parameters.
        algorithm: of the digest that it gets, ``sha256`` or ``sha512``.
        size_of: size in bytes of a blob of the repository; ``None`` if it has none such.
        has: whether the repository has a manifest.

    Returns:
        The manifest, and what it names.

    Raises:
        Refusal: MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN.
    """
    document = _decoded(data)
    media = content_type.partition(";")[0].strip() or document.media_type or ""
    if document.media_type is not None and document.media_type != media:
        raise invalid_manifest("mediaType is not the Content-Type of the request", {"mediaType": document.media_type})
    if media.startswith(_SCHEMA_1):
        raise invalid_manifest("manifests of schema 1 are not taken; push with a docker of this decade")
    if media not in (*INDEXES, *MANIFESTS):
        raise invalid_manifest("not a type of manifest", {"mediaType": media[:200]})
    if document.schema_version != 2:
        raise invalid_manifest("schemaVersion must be 2")
    if media in MANIFESTS and document.config is None:
        raise invalid_manifest("an image manifest has a config")
    named = _named(document)
    _check_parts(named, size_of, has)
    config_type = document.config.media_type if document.config is not None else None
    entry = Entry(
        media_type=media,
        digest=_digest(data, algorithm),
        size=len(data),
        artifact_type=document.artifact_type or (config_type if media in MANIFESTS else None) or None,
        annotations=document.annotations,
    )
    return entry, named


def _check_parts(named: Named, size_of: Callable[[Digest], int | None], has: Callable[[Digest], bool]) -> None:
    missing = []
    for part in named.blobs:
        size = size_of(part.digest)
        if size is None and not part.elsewhere:
            missing.append(part.digest)
        if size is not None and size != part.size:
            raise invalid_manifest(
                f"{part.digest} has {size} bytes, not {part.size}", {"digest": part.digest, "size": part.size}
            )
    missing += [part.digest for part in named.manifests if not has(part.digest)]
    if missing:
        raise Refusal(
            404,
            "MANIFEST_BLOB_UNKNOWN",
            "the manifest names what this repository does not have",
            detail=[{"digest": digest} for digest in missing[:100]],
        )


def _named(document: _Document) -> Named:
    blobs = (*(() if document.config is None else (document.config,)), *document.layers)
    # BuildKit's caches are indexes of layers
    blobs += tuple(part for part in document.manifests if part.media_type.startswith(_NO_MANIFESTS))
    manifests = tuple(part for part in document.manifests if not part.media_type.startswith(_NO_MANIFESTS))
    return Named(blobs, manifests, None if document.subject is None else document.subject.digest)


def _decoded(data: bytes) -> _Document:
    try:
        return from_json(data, _Document)
    except InvalidDigest as problem:
        raise invalid_manifest(problem.problem[:300]) from None
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        raise invalid_manifest(f"not a manifest: {str(problem)[:300]}") from None


def _digest(data: bytes, algorithm: str) -> Digest:
    import hashlib

    return Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")
