"""Layers that arrive over a network: kept as far as they have come, and unpacked meanwhile.

What has arrived of a packed layer is a file in the store's ``downloads/``, under its digest. It outlives the session,
so that the next attempt asks for the rest only; it goes, or becomes a blob, with the last byte.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from contextkernel.errors import DigestMismatch, InvalidArchive, RegistryProblem, SizeMismatch, StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.layers import LayerFacts
from contextkernel.model.oci import Descriptor
from contextkernel.model.ports import LayerWorker
from contextkernel.store.blobs import CHUNK
from contextkernel.store.downloads import download_path, is_at, lock
from contextkernel.store.loading import MEDIA, remember_packed, same_layer
from contextkernel.store.paths import refused
from contextkernel.store.store import Store
from contextkernel.store.streaming import StreamedUnpack

_LOOK = 0.1  # seconds between two looks whether somebody else has finished with a download
_PIECE = 1 << 18  # bytes that are waited for: a slow network shows progress, a fast one is not slowed


class Stream(Protocol):
    """A blob, or the rest of one, as it arrives.

    Attributes:
        offset: where it begins; 0 if the sender gives no parts.
    """

    @property
    def offset(self) -> int:
        """See the class."""
        ...

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end."""
        ...


class Patience(Protocol):
    """Decides what happens when a connection breaks in the middle of a blob."""

    def __call__(self, problem: RegistryProblem, moved: bool) -> None:
        """Wait as long as is wise before the rest is asked for.

        Args:
            problem: why it broke.
            moved: whether anything came since the last time.

        Raises:
            RegistryProblem: ``problem``, if that was enough.
        """
        ...


class Arrival:
    """One packed layer on its way into the store.

    Args:
        store: where to.
        worker: unpacks.
        packed: the layer's blob: digest and size are checked.
        diff_id: that the layer must have.
        check: called before every piece and while waiting for others; may raise to stop.
        told: hears a phase (``downloading``, ``extracting``) and the bytes that are here.
        limit: the most bytes that it may have when unpacked.
        keep: leave what has arrived where it is until whoever asked has all that belongs together
            (``Store.downloads.remove``): an interrupted pull of many layers then asks for none of them again.

    Attributes:
        resumed: bytes that were here already when it began.
    """

    def __init__(
        self,
        store: Store,
        worker: LayerWorker,
        packed: Descriptor,
        diff_id: Digest,
        *,
        check: Callable[[float], None],
        told: Callable[[str, int], None],
        limit: int | None = None,
        keep: bool = False,
    ) -> None:
        self._keep = keep
        self.resumed = 0
        self._store = store
        self._worker = worker
        self._packed = packed
        self._diff_id = diff_id
        self._check = check
        self._told = told
        self._limit = limit
        self._path = download_path(store.root, packed.digest)
        self._here = 0

    def fetch(self, ask: Callable[[int], AbstractContextManager[Stream]], patience: Patience) -> None:
        """Have the layer in the store; leased to this session.

        Args:
            ask: opens the blob from an offset on.
            patience: see there.

        Raises:
            DigestMismatch, SizeMismatch: something else came than was promised; what came is thrown away.
            InvalidArchive: refused content. Whatever ``ask`` and ``patience`` raise: what came is kept.
        """
        with _locked(self._path, self._check, self._store.root) as file:
            if self._store.has_layer(self._diff_id):  # somebody else has brought it meanwhile
                os.unlink(self._path)
                return
            self._here = os.fstat(file).st_size
            if self._here > self._packed.size:
                os.ftruncate(file, 0)
                self._here = 0
            self.resumed = self._here
            self._store.bound.fetchable(self._packed.size - self._here)
            directory = self._store.new_layer_dir()
            try:
                facts = self._unpacked(directory, file, ask, patience)
                self._add(directory, facts)
            except BaseException:
                self._store.discard_layer_dir(directory)
                raise
        remember_packed(self._store, facts)

    def _unpacked(
        self, directory: str, file: int, ask: Callable[[int], AbstractContextManager[Stream]], patience: Patience
    ) -> LayerFacts:
        try:
            with StreamedUnpack(self._worker, directory, limit=self._store.bound.unpacking(self._limit)) as unpacking:
                self._again(file, unpacking.write)
                self._rest(file, unpacking.write, ask, patience)
                self._told("extracting", self._here)
                facts = _finished(unpacking)
        except _Refused as refusal:
            # is it what was promised? That would be the better reason
            self._rest(file, lambda _data: None, ask, patience)
            self._verify(file, None)
            os.unlink(self._path)
            raise refusal.problem from None
        self._verify(file, facts)
        try:
            same_layer(facts, self._diff_id, self._packed.digest)
        except DigestMismatch:
            os.unlink(self._path)
            raise
        return facts

    def _again(self, file: int, write: Callable[[bytes], None]) -> None:
        """Unpack what has come before."""
        at = 0
        while at < self._here and (part := os.pread(file, min(CHUNK, self._here - at), at)):
            self._check(0)
            _pass_on(write, part)
            at += len(part)

    def _rest(
        self,
        file: int,
        write: Callable[[bytes], None],
        ask: Callable[[int], AbstractContextManager[Stream]],
        patience: Patience,
    ) -> None:
        while self._here < self._packed.size:
            before = self._here
            try:
                with ask(self._here) as stream:
                    self._take(stream, file, write)
                if self._here < self._packed.size:
                    raise SizeMismatch(
                        f"content of {self._packed.digest} has {self._here} bytes"
                        f" instead of the promised {self._packed.size}"
                    )
            except SizeMismatch:
                os.unlink(self._path)
                raise
            except StoreProblem:
                os.unlink(self._path)  # it takes room
                raise
            except RegistryProblem as problem:
                if problem.status == 416:  # the sender's one is not that long
                    os.unlink(self._path)
                    raise SizeMismatch(
                        f"content of {self._packed.digest} is shorter than the promised {self._packed.size} bytes"
                    ) from None
                patience(problem, self._here > before)

    def _take(self, stream: Stream, file: int, write: Callable[[bytes], None]) -> None:
        skipped = stream.offset
        if skipped > self._here:
            raise SizeMismatch(f"content of {self._packed.digest} was sent from byte {skipped} on, not {self._here}")
        count = self._store.bound.meter()
        while part := stream.read(_PIECE):
            self._check(0)
            if skipped < self._here:  # from a sender that gives no parts: this is here already
                known = min(len(part), self._here - skipped)
                skipped += known
                part = part[known:]
                if not part:
                    continue
            if self._here + len(part) > self._packed.size:
                raise SizeMismatch(
                    f"content of {self._packed.digest} is longer than the promised {self._packed.size} bytes"
                )
            count(len(part))
            try:
                _write(file, part, self._here)
            except OSError as problem:
                raise refused(problem, self._store.root) from problem
            self._here += len(part)
            skipped = self._here
            _pass_on(write, part)
            self._told("downloading", self._here)

    def _verify(self, file: int, facts: LayerFacts | None) -> None:
        """Compare what has come with what was promised; the worker knows it, unless it stopped early.

        Raises:
            DigestMismatch: it is something else, and thrown away.
        """
        algorithm = self._packed.digest.algorithm
        if facts is not None and facts.packed is not None and algorithm == "sha256":
            found = facts.packed
        else:
            state = hashlib.new(algorithm)
            at = 0
            while part := os.pread(file, CHUNK, at):
                state.update(part)
                at += len(part)
            found = Digest(f"{algorithm}:{state.hexdigest()}")
        if found != self._packed.digest:
            os.unlink(self._path)
            raise DigestMismatch(
                f"content has digest {found} instead of {self._packed.digest}",
                hint="it was damaged on its way; fetch it again",
            )

    def _add(self, directory: str, facts: LayerFacts) -> None:
        if facts.reproducible:
            self._store.add_layer(directory, facts)
            if not self._keep:
                os.unlink(self._path)
            return
        path = self._path
        if self._keep:
            path = self._store.temporary_path()
            try:
                os.link(self._path, path)
            except OSError:  # a file system without hard links: then an interrupted pull asks for it again
                path = self._path
        self._store.adopt_blob(path, self._packed.digest)
        media_type = MEDIA.get(facts.compression, MEDIA[""])
        self._store.add_layer(directory, facts, blob=self._packed.digest, media_type=media_type)


class _Refused(Exception):
    """The layer worker has refused the content."""

    def __init__(self, problem: InvalidArchive) -> None:
        self.problem = problem


def _pass_on(write: Callable[[bytes], None], data: bytes) -> None:
    try:
        write(data)
    except InvalidArchive as problem:
        raise _Refused(problem) from None


def _finished(unpacking: StreamedUnpack) -> LayerFacts:
    try:
        return unpacking.finish()
    except InvalidArchive as problem:
        raise _Refused(problem) from None


@contextmanager
def _locked(path: str, check: Callable[[float], None], root: str) -> Iterator[int]:
    """The download's file, which nobody else writes meanwhile; it may be gone afterwards."""
    while True:
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise refused(problem, root) from problem
        try:
            if not lock(file):
                check(_LOOK)
            elif is_at(file, path):
                yield file
                return
        finally:
            os.close(file)


def _write(file: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        count = os.pwrite(file, rest, offset)
        rest, offset = rest[count:], offset + count
