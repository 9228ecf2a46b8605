"""An image from a directory in OCI image layout (image-spec, image-layout.md), as ``oci-layout://`` names one."""

from __future__ import annotations

import os
from contextlib import ExitStack

from contextkernel.errors import ImageNotFound
from contextkernel.model.digest import Digest
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker, Reporter
from contextkernel.store.archive_directory import opened_directory
from contextkernel.store.archive_images import layout_images
from contextkernel.store.archive_load import loading
from contextkernel.store.store import Store


def split_layout(text: str) -> tuple[str, str]:
    """``DIRECTORY[:TAG]`` or ``DIRECTORY@DIGEST`` as directory, and tag or digest (``latest`` if there is neither)."""
    path, at, digest = text.rpartition("@")
    if at and ":" in digest:
        return path, digest
    path, colon, tag = text.rpartition(":")
    if colon and "/" not in tag:
        return path, tag
    return text, "latest"


def load_layout(
    store: Store,
    worker: LayerWorker,
    layout: str,
    *,
    platform: Platform | None = None,
    report: Reporter | None = None,
    limit: int | None = None,
) -> Digest:
    """Bring an image of a layout directory into the store, without a name.

    Args:
        store: where to.
        worker: unpacks the layers.
        layout: see :func:`split_layout`.
        platform: that the image must be for; by default this host's, where an index has several.
        report: receives ``LayerProgress`` per layer.
        limit: the most bytes that a layer may have when unpacked.

    Returns:
        The image.

    Raises:
        ImageNotFound: no such directory, or no such image in it. InvalidArchive, DigestMismatch, SizeMismatch: damaged.
    """
    directory, wanted = split_layout(layout)
    shown = f"the image layout {directory!r}"
    if not os.path.isfile(os.path.join(directory, "index.json")):
        raise ImageNotFound(f"{shown} has no index.json", hint="name a directory in OCI image layout")
    with ExitStack() as stack:
        archive = stack.enter_context(opened_directory(directory, shown))
        archive.keep_only(wanted)
        images = layout_images(archive, shown, platform)
        if not images:
            raise ImageNotFound(f"{shown} has no image {wanted!r} for {platform or Platform.host()}")
        image = images[0]
        brought = loading(store, worker, archive, report, limit, stack)
        try:
            brought.layers(list({layer.diff_id: layer for layer in image.layers}.values()))
            return store.add_image(image.config, origin="load")
        except BaseException:
            brought.undo()
            raise
