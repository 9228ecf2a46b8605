"""Making an image of one layer from a tar of a root file system, as ``docker import`` does."""

from __future__ import annotations

import time
from contextlib import ExitStack

import msgspec

from contextkernel.errors import InvalidArchive
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import History, ImageConfig, RootFS
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import ImageRef
from contextkernel.store.archive_file import opened, plain
from contextkernel.store.decompression import compression_of
from contextkernel.store.loading import add_unpacked
from contextkernel.store.store import Store
from contextkernel.store.times import format_time
from contextkernel.store.trash import empty_trash


def import_tar(
    store: Store,
    worker: LayerWorker,
    source: str | int,
    ref: ImageRef | None,
    *,
    config: ImageConfig | None = None,
    origin: str = "import",
    message: str = "",
    shown: str = "",
    limit: int | None = None,
) -> Digest:
    """Make an image from a root file system.

    Args:
        store: where to put it.
        worker: unpacks it.
        source: path, or open descriptor, of a tar file, plain or compressed with gzip, zstd, bzip2 or xz.
        ref: a name for the image, or ``None``.
        config: what the image is to start with; its layers are replaced, its history, creation time and platform
            are used where it has them.
        origin: see ``Store.add_image``.
        message: comment of the history entry; docker's ``Imported from -`` by default.
        shown: what to call the source in messages; by default its path.
        limit: the most bytes the file system may have when unpacked.

    Returns:
        The image.

    Raises:
        InvalidArchive: refused content. InvalidInput: the file cannot be read.
    """
    leased: list[Digest] = []
    try:
        with ExitStack() as stack:
            stream = stack.enter_context(opened(source, store))
            head = stream.read(8)
            stream.seek(0)
            if compression_of(head) in {"bzip2", "xz"}:  # no layer media types exist for these
                stream = stack.enter_context(plain(stream, store, limit))
            blob = store.write_blob(stream)
        leased.append(blob)
        diff_id = add_unpacked(store, worker, blob, None, limit)
        leased.append(diff_id)
        image = store.add_image(
            to_json(_config(diff_id, config or ImageConfig(), message)), origin=origin, names=(ref,) if ref else ()
        )
    except BaseException as problem:
        store.release(leased)
        empty_trash(store, worker)
        if isinstance(problem, InvalidArchive):
            name = shown or (repr(source) if isinstance(source, str) else "standard input")
            problem.problem = f"cannot import {name}: {problem.problem}"
            problem.hint = problem.hint or "import takes a tar of a root file system, plain or compressed"
        raise
    return image


def _config(diff_id: Digest, given: ImageConfig, message: str) -> ImageConfig:
    host = Platform.host()
    created = given.created or format_time(time.time_ns())
    history = given.history or (History(created=created, comment=message or "Imported from -"),)
    return msgspec.structs.replace(
        given,
        architecture=given.architecture or host.architecture,
        variant=given.variant or ("" if given.architecture else host.variant or ""),
        os=given.os or host.os,
        created=created,
        history=history,
        rootfs=RootFS("layers", (diff_id,)),
    )
