"""Bringing the images of an archive in: a tar file, packed or not, or a directory that holds the same."""

from __future__ import annotations

import os
from contextlib import ExitStack

import msgspec

from contextkernel.errors import ImageNotFound
from contextkernel.model.digest import Digest
from contextkernel.model.events import LayerPhase, LayerProgress, StepNote
from contextkernel.model.labels import stand_in
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker, Reporter
from contextkernel.model.reference import ImageRef
from contextkernel.store.archive_directory import opened_directory
from contextkernel.store.archive_file import ArchiveFile, opened, plain
from contextkernel.store.archive_images import Archive, FoundImage, images_in
from contextkernel.store.images import read_config
from contextkernel.store.loading import Loading, add_unpacked
from contextkernel.store.store import Store

__all__ = ["add_unpacked", "load", "loading"]


def load(
    store: Store,
    worker: LayerWorker,
    source: str | int,
    report: Reporter | None = None,
    *,
    limit: int | None = None,
    platform: Platform | None = None,
    only: ImageRef | None = None,
) -> tuple[str, ...]:
    """Load the images of an archive; none if anything is wrong with one of them.

    Args:
        store: where to put them.
        worker: unpacks the layers.
        source: path, or open descriptor, of a tar file, which may be compressed with gzip, zstd, bzip2 or xz; or path
            of a directory in OCI image layout, or with what ``docker save`` writes.
        report: receives ``LayerProgress`` per layer, and a ``StepNote`` in docker's words for each name that another
            image had before.
        limit: the most bytes that a layer, or a compressed archive, may have when unpacked.
        platform: only images for this one. An image for another platform than this host's takes no name away from one
            for a different platform: both are found by it, see ``Store.for_platform``.
        only: nothing but the image of this name.

    Returns:
        Per image and tag the tag in docker's short form, or the id of an image without one.

    Raises:
        InvalidArchive: not an image archive, damaged, or without images for the platform. ImageNotFound: none is
        called ``only``. DigestMismatch, SizeMismatch: content is not what it is called. InvalidInput: it cannot be
        read.
    """
    shown = repr(source) if isinstance(source, str) else "the archive"
    with ExitStack() as stack:
        archive: Archive
        if isinstance(source, str) and os.path.isdir(source):
            archive = stack.enter_context(opened_directory(source, shown))
        else:
            packed = stack.enter_context(opened(source, store))
            archive = ArchiveFile(stack.enter_context(plain(packed, store, limit)), shown)
        images = images_in(archive, shown, platform)
        if only is not None:
            images = _named(images, only, shown)
        brought = loading(store, worker, archive, report, limit, stack)
        try:
            brought.layers(list({layer.diff_id: layer for image in images for layer in image.layers}.values()))
            lines = [line for image in images for line in _added(store, image, platform, report)]
        except BaseException:
            brought.undo()
            raise
    return tuple(lines)


def _named(images: tuple[FoundImage, ...], wanted: ImageRef, shown: str) -> tuple[FoundImage, ...]:
    found = tuple(msgspec.structs.replace(image, names=(wanted,)) for image in images if wanted in image.names)
    if not found:
        names = sorted({name.familiar for image in images for name in image.names})
        raise ImageNotFound(
            f"{shown} has no image {wanted.familiar}", hint=f"it has {', '.join(names[:20])}" if names else None
        )
    return found


def _added(store: Store, image: FoundImage, platform: Platform | None, report: Reporter | None) -> list[str]:
    """Record one image and its names; returns what it is to be called."""
    new = Digest.of(image.config)
    taken, beside = [], []
    for name in image.names:
        before = _holder(store, name)
        if before is None or before == new:
            taken.append(name)
        elif platform not in (None, Platform.host()) and _made_for(store, before) not in (None, image.platform):
            beside.append(name)
        else:
            taken.append(name)
            if report is not None:
                text = (
                    f"The image {name.familiar} already exists, renaming the old one with ID {before} to empty string"
                )
                report(StepNote(0, text))
    added = store.add_image(image.config, origin=_origin(image.config), names=taken)
    for name in beside:
        store.remember_platform(name, platform or image.platform, added)
    return [name.familiar for name in image.names] or [str(added)]


def _holder(store: Store, name: ImageRef) -> Digest | None:
    try:
        return store.resolve(str(name))
    except ImageNotFound:
        return None


def _made_for(store: Store, image: Digest) -> Platform | None:
    try:
        config = store.config(image)
    except ImageNotFound:  # removed just now: nobody has the name any more
        return None
    return Platform.of(config.os, config.architecture, config.variant)


def _origin(config: bytes) -> str:
    """A stand-in stays one when it travels as a file."""
    made = stand_in(read_config(config))
    return "load" if made is None else f"stand-in: loaded, {made}"


def loading(
    store: Store,
    worker: LayerWorker,
    archive: Archive,
    report: Reporter | None,
    limit: int | None,
    stack: ExitStack,
) -> Loading:
    """What brings the layers of an archive in and reports ``LayerProgress`` of each.

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
            phase: LayerPhase = "loaded" if current >= total else "loading"
            report(LayerProgress(0, layer.short, phase, current, total))

    return Loading(store, worker, archive, tell, limit, stack)
