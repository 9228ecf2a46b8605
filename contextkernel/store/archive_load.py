"""Reading image archives: docker's (old with ``layer.tar`` paths, new with blobs) and OCI image layouts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import msgspec

from contextkernel.errors import (
    DigestMismatch,
    InvalidArchive,
    InvalidInput,
    InvalidReference,
    SizeMismatch,
)
from contextkernel.model.codec import from_json
from contextkernel.model.digest import Digest
from contextkernel.model.events import StepProgress
from contextkernel.model.labels import stand_in
from contextkernel.model.oci import (
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
from contextkernel.model.ports import LayerWorker, Reporter
from contextkernel.model.reference import ImageRef
from contextkernel.store.archive_file import ArchiveFile, opened, plain
from contextkernel.store.images import read_config
from contextkernel.store.loading import LayerSource, Loading, add_unpacked
from contextkernel.store.store import Store

_EXPECTED = "expected a file written by save, docker save, or skopeo copy (docker-archive:, oci-archive:)"
_HEX_NAME = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?\Z")
_ATTESTATION = "vnd.docker.reference.type"


class _DockerItem(msgspec.Struct, frozen=True, rename="pascal"):
    """One image in docker's ``manifest.json``."""

    config: str
    layers: tuple[str, ...] | None = None
    repo_tags: tuple[str, ...] | None = None


class _Found(msgspec.Struct, frozen=True):
    """An image of the archive."""

    config: bytes
    layers: tuple[LayerSource, ...]
    names: tuple[ImageRef, ...]


def load(
    store: Store, worker: LayerWorker, source: str | int, report: Reporter | None = None, *, limit: int | None = None
) -> tuple[str, ...]:
    """Load all images of an archive; none if anything is wrong with one of them.

    Args:
        store: where to put them.
        worker: unpacks the layers.
        source: path, or open descriptor, of a tar file; it may be compressed with gzip, zstd, bzip2 or xz.
        report: receives ``StepProgress`` per layer.
        limit: the most bytes that a layer, or a compressed archive, may have when unpacked.

    Returns:
        Per image and tag the tag in docker's short form, or the id of an image without one.

    Raises:
        InvalidArchive: not an image archive, or damaged. DigestMismatch, SizeMismatch: content is not what it is
        called. InvalidInput: the file cannot be read.
    """
    shown = repr(source) if isinstance(source, str) else "the archive"
    with ExitStack() as stack:
        packed = stack.enter_context(opened(source, store))
        archive = ArchiveFile(stack.enter_context(plain(packed, store, limit)), shown)
        images = list(_images(archive, shown))
        if not images:
            raise InvalidArchive(f"{shown} has no image for {Platform.host()}", hint=_EXPECTED)
        brought = loading(store, worker, archive, report, limit, stack)
        try:
            brought.layers(list({layer.diff_id: layer for image in images for layer in image.layers}.values()))
            lines: list[str] = []
            for image in images:
                added = store.add_image(image.config, origin=_origin(image.config, shown), names=image.names)
                lines += [name.familiar for name in image.names] or [str(added)]
        except BaseException:
            brought.undo()
            raise
    return tuple(lines)


# ---- what is in the archive


def _images(archive: ArchiveFile, shown: str) -> Iterator[_Found]:
    if "manifest.json" in archive:
        yield from _docker_images(archive, shown)
    elif "index.json" in archive:
        yield from oci_images(archive, shown)
    else:
        hint = _EXPECTED
        if any(name in archive for name in ("etc/passwd", "bin/sh", "usr/bin/env", "etc/os-release")):
            hint = "it looks like a root file system: use import"
        raise InvalidArchive(f"{shown} is not an image archive: it has neither manifest.json nor index.json", hint=hint)


def _decoded(archive: ArchiveFile, name: str, kind: Any) -> Any:
    try:
        return from_json(archive.document(name), kind)
    except (msgspec.DecodeError, InvalidInput, UnicodeDecodeError) as problem:
        if isinstance(problem, InvalidArchive):
            raise
        raise InvalidArchive(f"{name!r} in the archive cannot be understood: {str(problem).lower()}") from None


def _docker_images(archive: ArchiveFile, shown: str) -> Iterator[_Found]:
    for item in _decoded(archive, "manifest.json", tuple[_DockerItem, ...]):
        config = archive.document(item.config)
        named = _HEX_NAME.match(item.config)
        if named and named[1] != Digest.of(config).hex:
            raise DigestMismatch(f"{item.config!r} in {shown} has digest {Digest.of(config)}", hint="it was damaged")
        document = _config(config, item.config)
        members = item.layers or ()
        if len(members) != len(document.rootfs.diff_ids):
            raise InvalidArchive(
                f"{item.config!r} in {shown} names {len(document.rootfs.diff_ids)} layers, manifest.json {len(members)}"
            )
        layers = tuple(map(LayerSource, members, document.rootfs.diff_ids))
        yield _Found(config, layers, tuple(_name(text) for text in item.repo_tags or ()))


def oci_images(archive: ArchiveFile, shown: str) -> Iterator[_Found]:
    """The images of an OCI image layout that are for this host."""
    if "oci-layout" in archive:
        version = _decoded(archive, "oci-layout", dict[str, Any]).get("imageLayoutVersion")
        if version != "1.0.0":
            raise InvalidArchive(f"{shown} is an OCI image layout of version {version!r}", hint="expected 1.0.0")
    names: dict[Descriptor, list[ImageRef]] = {}
    for descriptor in _decoded(archive, "index.json", Index).manifests:
        found = _manifest(archive, descriptor, depth=0)
        if found is not None:
            name = _annotated(descriptor)
            names.setdefault(found, []).extend([name] if name else [])
    for descriptor, refs in names.items():
        manifest = _checked(archive, descriptor, Manifest)
        config = _content(archive, manifest.config)
        document = _config(config, str(manifest.config.digest))
        if len(manifest.layers) != len(document.rootfs.diff_ids):
            raise InvalidArchive(
                f"image {manifest.config.digest} in {shown} names {len(document.rootfs.diff_ids)} layers,"
                f" its manifest {len(manifest.layers)}"
            )
        layers = tuple(
            LayerSource(_blob(layer.digest), diff_id, layer.digest, layer.size)
            for layer, diff_id in zip(manifest.layers, document.rootfs.diff_ids, strict=True)
        )
        yield _Found(config, layers, tuple(dict.fromkeys(refs)))


def _manifest(archive: ArchiveFile, descriptor: Descriptor, depth: int) -> Descriptor | None:
    """The manifest that a descriptor stands for on this host; ``None`` for attestations and the like."""
    bare = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
    if (descriptor.annotations or {}).get(_ATTESTATION):
        return None
    if descriptor.media_type in {MEDIA_MANIFEST, MEDIA_DOCKER_MANIFEST}:
        return bare
    if descriptor.media_type not in {MEDIA_INDEX, MEDIA_DOCKER_LIST} or depth > 3:
        return None
    host = Platform.host()
    entries = [entry for entry in _checked(archive, bare, Index).manifests if _blob(entry.digest) in archive]
    for entry in entries:
        platform = entry.platform
        fits = platform is None or (platform.os, platform.architecture) == (host.os, host.architecture)
        if fits and (found := _manifest(archive, entry, depth + 1)):
            return found
    return None


def _checked(archive: ArchiveFile, descriptor: Descriptor, kind: Any) -> Any:
    _content(archive, descriptor)
    return _decoded(archive, _blob(descriptor.digest), kind)


def _content(archive: ArchiveFile, descriptor: Descriptor) -> bytes:
    data = archive.document(_blob(descriptor.digest))
    if len(data) != descriptor.size:
        raise SizeMismatch(f"blob {descriptor.digest} has {len(data)} bytes instead of {descriptor.size}")
    if descriptor.digest.algorithm == "sha256" and Digest.of(data) != descriptor.digest:
        raise DigestMismatch(f"blob {descriptor.digest} has digest {Digest.of(data)}", hint="the archive was damaged")
    return data


def _annotated(descriptor: Descriptor) -> ImageRef | None:
    notes = descriptor.annotations or {}
    full = notes.get("io.containerd.image.name")
    if full:
        return _name(full)
    short = notes.get("org.opencontainers.image.ref.name", "")
    # a lone word is a tag of a name that the archive does not have
    return _name(short) if ":" in short or "/" in short else None


def _name(text: str) -> ImageRef:
    try:
        return ImageRef.parse(text)
    except InvalidReference as problem:
        raise InvalidArchive(f"the archive has an image with a bad name: {problem.problem}") from None


def _config(data: bytes, shown: str) -> ImageConfig:
    try:
        config = read_config(data)
    except InvalidInput as problem:
        raise InvalidArchive(f"{shown!r} in the archive is {problem.problem}") from None
    if config.os not in {"", "linux"}:
        raise InvalidArchive(f"image {Digest.of(data)} is for {config.os!r}", hint="only linux images can be loaded")
    return config


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _origin(config: bytes, shown: str) -> str:
    """A stand-in stays one when it travels as a file."""
    made = stand_in(_config(config, shown))
    return "load" if made is None else f"stand-in: loaded, {made}"


# ---- bringing it in


def loading(
    store: Store,
    worker: LayerWorker,
    archive: ArchiveFile,
    report: Reporter | None,
    limit: int | None,
    stack: ExitStack,
) -> Loading:
    """What brings the layers of an archive in and reports ``StepProgress`` of each.

    Args:
        store: where to.
        worker: unpacks.
        archive: where from.
        report: receives the events.
        limit: the most bytes that a layer may have when unpacked.
        stack: the layers stay until its end, whether anything refers to them or not.
    """

    def tell(layer: Digest, current: int, total: int) -> None:
        if report is not None:
            report(StepProgress(step=0, item=layer.short, current=current, total=total))

    return Loading(store, worker, archive, tell, limit, stack)


__all__ = ["add_unpacked", "load", "loading", "oci_images"]
