"""Manifests, indexes and configurations as a registry sends them: read with bounds; what is no image is named. Pure.

Sources: OCI image-spec v1.1 (manifest.md, image-index.md), Docker's image manifest version 2, schema 2; what is taken
as an image's configuration is what docker takes (moby, distribution/registry.go).
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from contextkernel.errors import DigestMismatch, InvalidInput, RegistryRefused
from contextkernel.model import codec, oci
from contextkernel.model.digest import Digest

T = TypeVar("T")

MAX_DOCUMENT = 4 << 20
"""Bytes of a manifest or index; the specification asks registries to accept as much."""
MAX_CONFIG = 8 << 20
"""Bytes of an image's configuration, which is read into memory; the largest ones known have some hundred kilobytes."""
MAX_LAYERS = 1000
"""Layers of one image; overlay takes no more than 500, and docker 125."""
_MAX_NAME = 200

INDEXES = (oci.MEDIA_INDEX, oci.MEDIA_DOCKER_LIST)
MANIFESTS = (oci.MEDIA_MANIFEST, oci.MEDIA_DOCKER_MANIFEST)
CONFIGS = (
    oci.MEDIA_CONFIG,
    oci.MEDIA_DOCKER_CONFIG,
    # what registries made of it over the years
    "application/octet-stream",
    "application/json",
    "text/html",
    "",
)
"""What the configuration of an image calls itself."""
_VAGUE = ("", "application/json", "application/octet-stream", "text/plain")
_SCHEMA_1 = "an image of Docker's old kind, schema 1"
_KINDS = (
    ("application/vnd.docker.distribution.manifest.v1+", _SCHEMA_1),
    ("application/vnd.oci.artifact.manifest.v1+", "an artifact"),
    ("application/vnd.cncf.helm.", "a Helm chart"),
    ("application/vnd.docker.plugin.", "a Docker plugin"),
    ("application/vnd.buildkit.cacheconfig.", "a build cache of BuildKit"),
    ("application/vnd.dev.cosign.", "a signature of cosign"),
    ("application/vnd.dev.sigstore.", "a signature of sigstore"),
    ("application/vnd.cncf.notary.", "a signature of notation"),
    ("application/vnd.in-toto", "an attestation"),
    ("application/spdx", "a list of packages (SPDX)"),
    ("application/vnd.cyclonedx", "a list of packages (CycloneDX)"),
    ("application/vnd.wasm.", "a WebAssembly module"),
    ("application/vnd.module.wasm.", "a WebAssembly module"),
    ("application/vnd.cncf.flux.", "a Flux artifact"),
    ("application/vnd.compose.", "a compose application"),
    ("application/vnd.ollama.", "a model of Ollama"),
    ("application/vnd.docker.ai.", "a model of Docker's model runner"),
    ("application/vnd.cncf.model.", "a model"),
    (oci.MEDIA_EMPTY, "an artifact"),
    ("text/html", "a web page, no registry's answer"),
)
_HINTS = {_SCHEMA_1: "pull it with an older docker and push it again: nothing has made such images since 2017"}


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    """What a document says it is."""

    schema_version: int | None = None
    media_type: str | None = None
    artifact_type: str | None = None
    manifests: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    layers: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    config: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


def kind_of(media_type: str) -> str:
    """What a media type that is not an image's stands for, in a few words; ``an artifact`` for an unknown one."""
    return next((words for start, words in _KINDS if media_type.startswith(start)), "an artifact")


def read_document(media_type: str, data: bytes, shown: str) -> oci.Index | oci.Manifest:
    """An index, or the manifest of an image.

    Args:
        media_type: as the registry said; where that says nothing, the document itself does.
        data: the document.
        shown: its name, for messages.

    Raises:
        RegistryRefused: it is neither; the message says what it is.
    """
    head = decode(data, _Head, f"the registry sent an invalid manifest of {shown}") if data[:1] != b"<" else _Head()
    if head.manifests and (head.layers or head.config):
        # one digest for two images: which one it is would depend on who asks (CVE-2021-41190)
        raise RegistryRefused(f"{shown} is an index and a manifest at once", hint="it was not made by an honest tool")
    said = media_type.partition(";")[0].strip().lower()
    kind = (head.media_type or "") if said in _VAGUE else said
    if kind in _VAGUE:
        kind = oci.MEDIA_INDEX if head.manifests else oci.MEDIA_MANIFEST if head.schema_version == 2 else kind
    if kind in INDEXES:
        return decode(data, oci.Index, f"the registry sent an invalid index of {shown}")
    if kind in MANIFESTS:
        return _image(decode(data, oci.Manifest, f"the registry sent an invalid manifest of {shown}"), shown)
    if head.schema_version == 1:
        raise _refused(shown, kind or "manifest", _SCHEMA_1)
    raise _refused(shown, kind, kind_of(kind))


def _image(manifest: oci.Manifest, shown: str) -> oci.Manifest:
    if manifest.config.media_type not in CONFIGS:
        kind = manifest.artifact_type or manifest.config.media_type
        raise _refused(shown, kind, kind_of(kind) if kind != oci.MEDIA_EMPTY else "an artifact")
    if manifest.config.size > MAX_CONFIG:
        raise RegistryRefused(f"{shown}: the configuration is larger than {MAX_CONFIG} bytes")
    if len(manifest.layers) > MAX_LAYERS:
        raise RegistryRefused(f"{shown}: {len(manifest.layers)} layers are more than {MAX_LAYERS}")
    for layer in (manifest.config, *manifest.layers):
        if layer.size < 0:
            raise RegistryRefused(f"{shown}: blob {layer.digest} has the size {layer.size}")
        if layer.media_type.endswith("+encrypted"):
            raise RegistryRefused(f"{shown}: layer {layer.digest} is encrypted", hint="decrypt it with skopeo copy")
    return manifest


def read_image_config(data: bytes, manifest: oci.Manifest, shown: str) -> oci.ImageConfig:
    """The configuration of an image.

    Raises:
        RegistryRefused: it is none, or has not as many layers as the manifest.
    """
    config = decode(data, oci.ImageConfig, f"the registry sent an invalid config of {shown}")
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        raise RegistryRefused(
            f"{shown}: {len(manifest.layers)} layers but {len(config.rootfs.diff_ids)} diff ids in the config"
        )
    return config


def verify(data: bytes, reference: str) -> Digest:
    """The digest of a document, which must be ``reference`` if that is one.

    Raises:
        DigestMismatch: it is another one. InvalidDigest: the reference is no digest that can be checked.
    """
    if ":" not in reference:
        return Digest.of(data)
    wanted = Digest(reference)
    found = wanted.computed(data)
    if found != wanted:
        raise DigestMismatch(f"the registry sent {found} instead of {wanted}", hint="it was damaged or exchanged")
    return wanted


def decode(data: bytes, kind: type[T], problem: str) -> T:
    """A document as a value.

    Args:
        data: JSON.
        kind: what it must be.
        problem: what is wrong if it is not, to go before a colon.

    Raises:
        RegistryRefused: it is not.
    """
    try:
        return codec.from_json(data, kind)
    except (msgspec.MsgspecError, InvalidInput, UnicodeDecodeError) as found:
        raise RegistryRefused(f"{problem}: {str(found)[:_MAX_NAME].lower()}") from None
    except RecursionError:
        raise RegistryRefused(f"{problem}: it is nested too deeply") from None


def _refused(shown: str, media_type: str, kind: str) -> RegistryRefused:
    return RegistryRefused(
        f"{shown} is not an image but {kind} (the unknown type {media_type[:_MAX_NAME]!r})",
        hint=_HINTS.get(kind, "only images can be pulled"),
    )
