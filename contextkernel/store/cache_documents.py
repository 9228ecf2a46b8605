"""The documents of a build cache, wherever it is kept: what they look like when written, and what they say when read.

Source: BuildKit's ``cache/remotecache/export.go``: a manifest whose configuration is the document of keys, or (before
BuildKit 0.21, and with Docker's media types) an index with the document behind the layers.
"""

from __future__ import annotations

from typing import Any

import msgspec

from contextkernel.errors import InvalidArchive, InvalidInput
from contextkernel.model.cache_transport import MEDIA_CACHE_CONFIG, CacheConfig
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import (
    MEDIA_DOCKER_LAYER,
    MEDIA_DOCKER_LAYER_GZIP,
    MEDIA_DOCKER_LIST,
    MEDIA_INDEX,
    MEDIA_LAYER,
    MEDIA_LAYER_GZIP,
    MEDIA_MANIFEST,
    Descriptor,
    Index,
    Manifest,
)

MAX_DOCUMENT = 16 << 20
"""Bytes that a document may have."""
_DOCKER = {MEDIA_LAYER: MEDIA_DOCKER_LAYER, MEDIA_LAYER_GZIP: MEDIA_DOCKER_LAYER_GZIP}


def cache_document(config: CacheConfig) -> tuple[Descriptor, bytes]:
    """The document of keys, and what it is called by."""
    data = to_json(config)
    return Descriptor(MEDIA_CACHE_CONFIG, Digest.of(data), len(data)), data


def top_document(
    config: Descriptor, layers: tuple[Descriptor, ...], *, index: bool, oci: bool = True
) -> tuple[str, bytes]:
    """The manifest of a cache.

    Args:
        config: the document of keys.
        layers: with their digests as they are kept.
        index: as an index.
        oci: with OCI's media types, else with Docker's (an index always).

    Returns:
        Its media type and its bytes.
    """
    if index or not oci:
        media = MEDIA_INDEX if oci else MEDIA_DOCKER_LIST
        if not oci:
            layers = tuple(
                msgspec.structs.replace(layer, media_type=_DOCKER.get(layer.media_type, layer.media_type))
                for layer in layers
            )
        return media, to_json(Index(schema_version=2, media_type=media, manifests=(*layers, config)))
    manifest = Manifest(schema_version=2, media_type=MEDIA_MANIFEST, config=config, layers=layers)
    return MEDIA_MANIFEST, to_json(manifest)


def config_of(document: bytes, media_type: str, shown: str) -> tuple[Descriptor, tuple[Descriptor, ...]] | None:
    """Where the document of keys is, and the layers.

    Args:
        document: the manifest or index.
        media_type: what it is said to be.
        shown: name for messages.

    Returns:
        ``None`` if it is not that of a cache.

    Raises:
        InvalidArchive: it cannot be understood.
    """
    if media_type == MEDIA_MANIFEST or b'"config"' in document[:4096]:
        manifest = decoded(document, Manifest, shown)
        if manifest.config.media_type != MEDIA_CACHE_CONFIG:
            return None
        return manifest.config, manifest.layers
    found = decoded(document, Index, shown).manifests
    configs = [one for one in found if one.media_type == MEDIA_CACHE_CONFIG]
    if not configs:
        return None
    return configs[0], tuple(one for one in found if one.media_type != MEDIA_CACHE_CONFIG)


def decoded_config(data: bytes, shown: str) -> CacheConfig:
    """The document of keys; raises InvalidArchive if it is none."""
    found: CacheConfig = decoded(data, CacheConfig, shown)
    return found


def decoded(data: bytes, kind: Any, shown: str) -> Any:
    """A document as a value; raises InvalidArchive if it does not fit."""
    try:
        return from_json(data, kind)
    except (msgspec.DecodeError, InvalidInput, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidArchive(f"{shown} cannot be understood: {str(problem).lower()}") from None
