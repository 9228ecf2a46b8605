"""What images an archive has: docker's (old with ``layer.tar`` paths, new with blobs) and OCI image layouts.

Documents are read and checked here; layers are only named. Sources: moby, image/tarexport; image-spec, image-layout.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, Protocol

import msgspec

from contextkernel.errors import DigestMismatch, InvalidArchive, InvalidInput, InvalidReference, SizeMismatch
from contextkernel.model.codec import from_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import (
    MEDIA_CONFIG,
    MEDIA_DOCKER_CONFIG,
    MEDIA_DOCKER_LIST,
    MEDIA_DOCKER_MANIFEST,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
)
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.store.images import read_config
from contextkernel.store.loading import LayerSource

EXPECTED = "expected a file written by save, docker save, or skopeo copy (docker-archive:, oci-archive:)"
_HEX_NAME = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?\Z")
_ATTESTATION = "vnd.docker.reference.type"
_CONFIGS = {MEDIA_CONFIG, MEDIA_DOCKER_CONFIG}
_MAX_TYPE = 100
_MOST_DEPTH = 3
_MOST_CONFIGS = 64 << 20
_SHOWN_PLATFORMS = 12


class Archive(Protocol):
    """The files of an archive, by name; see ``ArchiveFile`` and ``ArchiveDirectory``."""

    def __contains__(self, name: str) -> bool:
        """Whether there is one."""
        ...

    def size(self, name: str) -> int:
        """Bytes of one."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """A reader of one."""
        ...

    def document(self, name: str) -> bytes:
        """The whole of a small one."""
        ...


class _DockerItem(msgspec.Struct, frozen=True, rename="pascal"):
    """One image in docker's ``manifest.json``."""

    config: str
    layers: tuple[str, ...] | None = None
    repo_tags: tuple[str, ...] | None = None


class FoundImage(msgspec.Struct, frozen=True):
    """An image of an archive.

    Attributes:
        config: the configuration document, verified.
        layers: base first.
        names: that the archive gives it.
        platform: that it is for.
    """

    config: bytes
    layers: tuple[LayerSource, ...]
    names: tuple[ImageRef, ...]
    platform: Platform


def images_in(archive: Archive, shown: str, platform: Platform | None = None) -> tuple[FoundImage, ...]:
    """The images of an archive.

    Args:
        archive: a tar file or a directory.
        shown: what to call it in messages.
        platform: only images for this one; without it of each index the one for this host, and all others whatever
            they are for.

    Raises:
        InvalidArchive: it is none, has no such image (the hint says for what it has some), or is damaged.
        DigestMismatch, SizeMismatch: a document is not what it is called.
    """
    reading = _Reading(archive, shown, platform)
    found: tuple[FoundImage, ...] = ()
    laid = "index.json" in archive and ("oci-layout" in archive or "manifest.json" not in archive)
    docker = "manifest.json" in archive
    if laid:  # says more than docker's list where there are both: digests of all, and several platforms of a name
        found = tuple(reading.layout())
    if docker and (not laid or (platform is None and not any(image.names for image in found))):
        found = tuple(reading.docker())
    if not laid and not docker:
        hint = EXPECTED
        if any(name in archive for name in ("etc/passwd", "bin/sh", "usr/bin/env", "etc/os-release")):
            hint = "it looks like a root file system: use import"
        raise InvalidArchive(f"{shown} is not an image archive: it has neither manifest.json nor index.json", hint=hint)
    if not found and reading.artifacts and not reading.others:
        types = ", ".join(sorted(reading.artifacts)[:_SHOWN_PLATFORMS])
        raise InvalidArchive(f"{shown} has no image, but {types}", hint="only images can be loaded")
    if not found:
        names = sorted(reading.others)
        more = ", ..." if len(names) > _SHOWN_PLATFORMS else ""
        raise InvalidArchive(
            f"{shown} has no image for {platform or Platform.host()}",
            hint=f"it has images for {', '.join(names[:_SHOWN_PLATFORMS])}{more}" if names else EXPECTED,
        )
    return found


def layout_images(archive: Archive, shown: str, platform: Platform | None = None) -> tuple[FoundImage, ...]:
    """The images of an OCI image layout, possibly none.

    As containerd has it (``images.Manifest``), a platform chooses from an index; what is no index is taken as it is.

    Raises:
        InvalidArchive, DigestMismatch, SizeMismatch: see :func:`images_in`.
    """
    return tuple(_Reading(archive, shown, platform, strict=False).layout())


class _Reading:
    """One look through an archive; ``others`` gathers the platforms that were passed over."""

    def __init__(self, archive: Archive, shown: str, platform: Platform | None, *, strict: bool = True) -> None:
        self._archive = archive
        self._shown = shown
        self._platform = platform
        self._strict = strict
        self.others: set[str] = set()
        self.artifacts: set[str] = set()
        # what an archive refers to a hundred thousand times is read once
        self._chosen: dict[Descriptor, Descriptor | None] = {}
        self._configs: dict[str, tuple[bytes, ImageConfig]] = {}
        self._kept = 0

    def docker(self) -> Iterator[FoundImage]:
        """What docker's ``manifest.json`` names."""
        for item in self._decoded("manifest.json", tuple[_DockerItem, ...]):
            config, document = self._configured(item.config, item.config, partial(self._named_config, item.config))
            members = item.layers or ()
            if len(members) != len(document.rootfs.diff_ids):
                raise InvalidArchive(
                    f"{item.config!r} in {self._shown} names {len(document.rootfs.diff_ids)} layers,"
                    f" manifest.json {len(members)}"
                )
            made_for = _platform(document, item.config)
            if self._wanted(made_for):
                layers = tuple(map(LayerSource, members, document.rootfs.diff_ids))
                yield FoundImage(config, layers, tuple(_name(text) for text in item.repo_tags or ()), made_for)

    def layout(self) -> Iterator[FoundImage]:
        """What ``index.json`` names."""
        if "oci-layout" in self._archive:
            version = self._decoded("oci-layout", dict[str, Any]).get("imageLayoutVersion")
            if version != "1.0.0":
                raise InvalidArchive(
                    f"{self._shown} is an OCI image layout of version {version!r}", hint="expected 1.0.0"
                )
        names: dict[Descriptor, list[ImageRef]] = {}
        for descriptor in self._decoded("index.json", Index).manifests:
            found = self._manifest(descriptor, depth=0)
            if found is not None:
                name = _annotated(descriptor)
                names.setdefault(found, []).extend([name] if name else [])
        for descriptor, refs in names.items():
            manifest = self._checked(descriptor, Manifest)
            if manifest.config.media_type not in _CONFIGS:
                self.artifacts.add((manifest.artifact_type or manifest.config.media_type)[:_MAX_TYPE])
                continue
            config, document = self._configured(
                f"{manifest.config.digest} {manifest.config.size}",
                str(manifest.config.digest),
                partial(self._content, manifest.config),
            )
            if len(manifest.layers) != len(document.rootfs.diff_ids):
                raise InvalidArchive(
                    f"image {manifest.config.digest} in {self._shown} names {len(document.rootfs.diff_ids)} layers,"
                    f" its manifest {len(manifest.layers)}"
                )
            made_for = _platform(document, str(manifest.config.digest))
            if self._wanted(made_for):
                layers = tuple(
                    LayerSource(_blob(layer.digest), diff_id, layer.digest, layer.size)
                    for layer, diff_id in zip(manifest.layers, document.rootfs.diff_ids, strict=True)
                )
                yield FoundImage(config, layers, tuple(dict.fromkeys(refs)), made_for)

    def _configured(self, key: str, name: str, read: Callable[[], bytes]) -> tuple[bytes, ImageConfig]:
        """A configuration and what it says; all of an archive's are in memory until it is loaded."""
        known = self._configs.get(key)
        if known is None:
            data = read()
            self._kept += len(data)
            if self._kept > _MOST_CONFIGS:
                raise InvalidArchive(f"the configurations of {self._shown} have more than {_MOST_CONFIGS} bytes")
            known = self._configs[key] = (data, _config(data, name))
        return known

    def _named_config(self, name: str) -> bytes:
        data = self._archive.document(name)
        named = _HEX_NAME.match(name)
        if named and named[1] != Digest.of(data).hex:
            raise DigestMismatch(f"{name!r} in {self._shown} has digest {Digest.of(data)}", hint="it was damaged")
        return data

    def _wanted(self, made_for: Platform) -> bool:
        if not self._strict or self._platform is None or _rank(made_for, self._platform) is not None:
            return True
        self.others.add(str(made_for))
        return False

    def _manifest(self, descriptor: Descriptor, depth: int) -> Descriptor | None:
        """The manifest that a descriptor stands for; ``None`` for attestations and the like."""
        bare = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
        if (descriptor.annotations or {}).get(_ATTESTATION):
            return None
        if descriptor.media_type in {MEDIA_MANIFEST, MEDIA_DOCKER_MANIFEST}:
            return bare
        if descriptor.media_type not in {MEDIA_INDEX, MEDIA_DOCKER_LIST}:
            self.artifacts.add(descriptor.media_type[:_MAX_TYPE])
            return None
        if depth > _MOST_DEPTH:
            return None
        if bare not in self._chosen:
            self._chosen[bare] = self._of_index(bare, depth)
        return self._chosen[bare]

    def _of_index(self, bare: Descriptor, depth: int) -> Descriptor | None:
        wanted = self._platform or Platform.host()
        ranked: list[tuple[int, Descriptor]] = []
        for entry in self._checked(bare, Index).manifests:
            if _blob(entry.digest) not in self._archive or (entry.annotations or {}).get(_ATTESTATION):
                continue  # a layout may have a part of an index only
            if entry.platform is None:
                ranked.append((len(wanted.acceptable()) + 1, entry))
                continue
            made_for = _known(entry.platform.os, entry.platform.architecture, entry.platform.variant)
            rank = _rank(made_for, wanted) if made_for is not None else None
            if rank is not None:
                ranked.append((rank, entry))
            elif made_for is not None:
                self.others.add(str(made_for))
        for _, entry in sorted(ranked, key=lambda one: one[0]):
            if found := self._manifest(entry, depth + 1):
                return found
        return None

    # ---- documents

    def _decoded(self, name: str, kind: Any) -> Any:
        try:
            return from_json(self._archive.document(name), kind)
        except (msgspec.DecodeError, InvalidInput, UnicodeDecodeError, RecursionError) as problem:
            if isinstance(problem, InvalidArchive):
                raise
            raise InvalidArchive(f"{name!r} in the archive cannot be understood: {str(problem).lower()}") from None

    def _checked(self, descriptor: Descriptor, kind: Any) -> Any:
        self._content(descriptor)
        return self._decoded(_blob(descriptor.digest), kind)

    def _content(self, descriptor: Descriptor) -> bytes:
        data = self._archive.document(_blob(descriptor.digest))
        if len(data) != descriptor.size:
            raise SizeMismatch(f"blob {descriptor.digest} has {len(data)} bytes instead of {descriptor.size}")
        found = descriptor.digest.computed(data)
        if found != descriptor.digest:
            raise DigestMismatch(f"blob {descriptor.digest} has digest {found}", hint="the archive was damaged")
        return data


def _rank(made_for: Platform, wanted: Platform) -> int | None:
    """How well an image will do, 0 is best; ``None``: not at all."""
    acceptable = wanted.acceptable()
    if made_for in acceptable:
        return acceptable.index(made_for)
    return len(acceptable) if wanted.takes(made_for) else None


def _annotated(descriptor: Descriptor) -> ImageRef | None:
    notes = descriptor.annotations or {}
    full = notes.get("io.containerd.image.name")
    if full:
        return _name(full, descriptor.digest)
    short = notes.get("org.opencontainers.image.ref.name", "")
    # a lone word is a tag of a name that the archive does not have
    return _name(short, descriptor.digest) if ":" in short or "/" in short else None


def _name(text: str, digest: Digest | None = None) -> ImageRef:
    """A name that an archive gives; a digest in it must be that of the manifest or index, which was verified."""
    try:
        ref = ImageRef.parse(text)
    except InvalidReference as problem:
        raise InvalidArchive(f"the archive has an image with a bad name: {problem.problem}") from None
    if ref.digest is not None and ref.digest != digest:
        raise InvalidArchive(f"the archive has an image with a bad name: {text!r} is not its digest")
    return ref


def _config(data: bytes, shown: str) -> ImageConfig:
    try:
        config = read_config(data)
    except InvalidInput as problem:
        raise InvalidArchive(f"{shown!r} in the archive is {problem.problem}") from None
    if config.os not in {"", "linux"}:
        raise InvalidArchive(f"image {Digest.of(data)} is for {config.os!r}", hint="only linux images can be loaded")
    return config


def _platform(config: ImageConfig, shown: str) -> Platform:
    found = _known(config.os, config.architecture, config.variant)
    if found is None:
        raise InvalidArchive(f"{shown!r} in the archive is for no platform that there is: {config.architecture!r}")
    return found


def _known(os: str, architecture: str, variant: str | None) -> Platform | None:
    try:
        return Platform.of(os, architecture, variant)
    except InvalidInput:
        return None


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
