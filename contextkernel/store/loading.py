"""Bringing layers in: from archives that somebody handed in, several at a time, and from blobs of the store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import IO, Protocol

import msgspec

from contextkernel.errors import ContextKernelError, DigestMismatch, SizeMismatch
from contextkernel.model.digest import Digest
from contextkernel.model.layers import LayerFacts
from contextkernel.model.oci import MEDIA_LAYER, MEDIA_LAYER_GZIP, MEDIA_LAYER_ZSTD, Descriptor
from contextkernel.model.ports import LayerWorker
from contextkernel.store.blobs import CHUNK
from contextkernel.store.side_by_side import News, side_by_side
from contextkernel.store.store import Store
from contextkernel.store.streaming import StreamedUnpack
from contextkernel.store.trash import empty_trash

_MOST = 4  # layers at a time
#: media types of packed layers by compression
MEDIA = {"": MEDIA_LAYER, "gzip": MEDIA_LAYER_GZIP, "zstd": MEDIA_LAYER_ZSTD}

#: is told the layer, bytes so far, and all bytes
Tell = Callable[[Digest, int, int], None]


class LayerSource(msgspec.Struct, frozen=True):
    """Where a layer is in an archive, and what is promised of it.

    Attributes:
        member: name of the file that holds it, plain or packed.
        diff_id: of the layer.
        digest, size: of the file, where the archive says so.
    """

    member: str
    diff_id: Digest
    digest: Digest | None = None
    size: int | None = None


class Members(Protocol):
    """The files of an archive."""

    def size(self, name: str) -> int:
        """Bytes of one."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """A reader of one; several are used at the same time, by several threads."""
        ...


class Loading:
    """Brings layers in, and knows what to give up when one is refused.

    Args:
        store: where to.
        worker: unpacks.
        archive: where from.
        tell: hears of the progress, in the thread that calls :meth:`layers`; may raise to stop.
        limit: the most bytes that a layer may have when unpacked.
        stack: the layers stay until its end, whether anything refers to them or not.
    """

    def __init__(
        self, store: Store, worker: LayerWorker, archive: Members, tell: Tell, limit: int | None, stack: ExitStack
    ) -> None:
        self._store = store
        self._worker = worker
        self._archive = archive
        self._tell = tell
        self._limit = limit
        self._expected = stack.enter_context(ExitStack())
        self._leased: list[Digest] = []

    def layers(self, sources: Sequence[LayerSource]) -> None:
        """Have layers in the store; they stay until the images refer to them.

        Args:
            sources: each once.

        Raises:
            InvalidArchive: refused content. DigestMismatch, SizeMismatch: it is not what it is called.
        """
        # whatever others of this process give up meanwhile
        files = [source.digest for source in sources if source.digest is not None]
        self._expected.enter_context(self._store.expect([source.diff_id for source in sources], files))
        missing = [source for source in sources if not self._store.has_layer(source.diff_id)]
        jobs = [partial(self._bring, source) for source in missing]
        side_by_side(jobs, lambda event: self._tell(*event), at_once())

    def _bring(self, source: LayerSource, news: News[tuple[Digest, int, int]]) -> None:
        total = self._archive.size(source.member)
        news.tell((source.diff_id, 0, total))

        def feed(unpacking: StreamedUnpack) -> None:
            done = 0
            with self._archive.open(source.member) as content:
                while part := content.read(CHUNK):
                    news.check()
                    unpacking.write(part)
                    done += len(part)
                    if done < total:
                        news.tell((source.diff_id, done, total))

        self._leased.extend([source.diff_id, *([source.digest] if source.digest else [])])
        directory = self._store.new_layer_dir()
        try:
            facts = self._unpacked(source, directory, feed)
            self._add(source, directory, facts)
        except BaseException:
            self._store.discard_layer_dir(directory)
            raise
        remember_packed(self._store, facts)
        news.tell((source.diff_id, total, total))

    def _unpacked(self, source: LayerSource, directory: str, feed: Callable[[StreamedUnpack], None]) -> LayerFacts:
        try:
            limit = self._store.bound.unpacking(self._limit)
            with StreamedUnpack(self._worker, directory, limit=limit) as unpacking:
                feed(unpacking)
                facts = unpacking.finish()
        except ContextKernelError:
            self._verify(source)  # the better reason, if it is one
            raise
        if source.size is not None and facts.packed_size != source.size:
            raise SizeMismatch(
                f"content of {source.digest or source.member!r} has {facts.packed_size} bytes"
                f" instead of the promised {source.size}"
            )
        if source.digest is not None and facts.packed != source.digest:
            self._verify(source)  # which is fine with one of another algorithm
        same_layer(facts, source.diff_id, source.digest or facts.packed)
        return facts

    def _verify(self, source: LayerSource) -> None:
        """Compare a file with the digest that is promised of it.

        Raises:
            DigestMismatch: it is another one.
        """
        if source.digest is None:
            return
        state = hashlib.new(source.digest.algorithm)
        with self._archive.open(source.member) as content:
            while part := content.read(CHUNK):
                state.update(part)
        if state.hexdigest() != source.digest.hex:
            raise DigestMismatch(
                f"content has digest {source.digest.algorithm}:{state.hexdigest()} instead of {source.digest}",
                hint="it was damaged on its way; fetch it again",
            )

    def _add(self, source: LayerSource, directory: str, facts: LayerFacts) -> None:
        """Make a layer known; what would not render to the same archive is read once more, as a blob."""
        if facts.reproducible:
            self._store.add_layer(directory, facts)
            return
        with self._archive.open(source.member) as content:
            blob = self._store.write_blob(content, source.digest or facts.packed, facts.packed_size)
        self._leased.append(blob)
        self._store.add_layer(directory, facts, blob=blob, media_type=MEDIA.get(facts.compression, MEDIA_LAYER))

    def undo(self) -> None:
        """Give up everything that was brought in."""
        self._expected.close()
        self._store.release(self._leased)
        empty_trash(self._store, self._worker)


def at_once() -> int:
    """How many layers are worked on at the same time."""
    return min(max(2, len(os.sched_getaffinity(0))), _MOST)


def add_unpacked(
    store: Store, worker: LayerWorker, blob: Digest, expected: Digest | None, limit: int | None = None
) -> Digest:
    """Unpack a blob of the store into a layer, keeping the blob only if the layer does not render to the same tar.

    Args:
        store: where the blob is and the layer goes.
        worker: unpacks.
        blob: the layer archive, plain or compressed; leased to this session.
        expected: the promised ``diff_id``.
        limit: the most bytes it may have when unpacked.

    Returns:
        The layer's ``diff_id``.

    Raises:
        DigestMismatch: it unpacks to another layer than promised. InvalidArchive: refused content.
    """
    directory = store.new_layer_dir()
    try:
        facts = worker.unpack(store.blob_path(blob), directory, limit=store.bound.unpacking(limit))
        same_layer(facts, expected, blob)
        if facts.reproducible:
            store.add_layer(directory, facts)
            store.drop_blob(blob)
        else:
            store.add_layer(directory, facts, blob=blob, media_type=MEDIA.get(facts.compression, MEDIA_LAYER))
    except BaseException:
        store.discard_layer_dir(directory)
        raise
    remember_packed(store, facts)
    return facts.diff_id


def same_layer(facts: LayerFacts, expected: Digest | None, blob: Digest | None) -> None:
    """Compare a layer with the one that was promised.

    Args:
        facts: what it is.
        expected: its ``diff_id``, if it is known.
        blob: what it came as, for the message.

    Raises:
        DigestMismatch: it is another one.
    """
    if expected is not None and facts.diff_id != expected:
        raise DigestMismatch(
            f"layer {blob} unpacks to {facts.diff_id} instead of {expected}", hint="the archive was damaged"
        )


def remember_packed(store: Store, facts: LayerFacts) -> None:
    """Note the packed form that a layer came in: a registry may have the same."""
    if facts.packed is not None and facts.compression in {"gzip", "zstd"}:
        packed = Descriptor(MEDIA[facts.compression], facts.packed, facts.packed_size)
        store.distribution.remember_packed(facts.diff_id, packed)
