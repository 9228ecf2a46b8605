"""OCI image layouts (image-spec, image-layout.md) as one tar file or as a directory.

The same blobs give the same bytes: in a tar, times are 0, owners are 0:0, and blobs come in the order given.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Protocol

from contextkernel.errors import InvalidInput, StoreProblem
from contextkernel.layer import tar
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Entry
from contextkernel.model.oci import MEDIA_INDEX, Descriptor, Index
from contextkernel.store.blobs import CHUNK
from contextkernel.store.outfile import unwritable

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def blob_name(digest: Digest) -> str:
    """Where a blob is in a layout."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


class Layout(Protocol):
    """A layout that is being written. A blob may be given more than once; it is written once."""

    def blob(self, digest: Digest, content: bytes) -> None:
        """Add a small blob."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether one blob is written after the other; else several threads may write different ones."""
        ...

    def document(self, media_type: str, digest: Digest, content: bytes) -> None:
        """Add a manifest or an index; what it points to was added before."""
        ...

    def find(self, diff_id: Digest, forms: Sequence[Descriptor]) -> Descriptor | None:
        """Whether a layer is there in one of several packed forms, before it is packed for nothing."""
        ...

    def layer(self, diff_id: Digest, packed: Descriptor, source: IO[bytes]) -> None:
        """Add a packed layer from a reader that can seek.

        Raises:
            StoreProblem: it has another size than its descriptor says.
        """
        ...

    def finish(self, manifests: tuple[Descriptor, ...], others: dict[str, bytes] | None = None) -> None:
        """Write ``index.json`` and ``oci-layout``, and other files at the top."""
        ...


class FileLayout(ABC):
    """What layouts have in common that are files and take every blob as it is packed."""

    @abstractmethod
    def blob(self, digest: Digest, content: bytes) -> None:
        """See ``Layout``."""

    @abstractmethod
    def stream(self, digest: Digest, size: int, source: IO[bytes]) -> None:
        """Add a blob from a reader that has ``size`` bytes.

        Raises:
            StoreProblem: it has not.
        """

    def document(self, media_type: str, digest: Digest, content: bytes) -> None:
        """See ``Layout``."""
        del media_type  # it is in the descriptor
        self.blob(digest, content)

    def find(self, diff_id: Digest, forms: Sequence[Descriptor]) -> Descriptor | None:
        """See ``Layout``; the same image gives the same layout, whatever is known of its layers."""
        del diff_id, forms
        return None

    def layer(self, diff_id: Digest, packed: Descriptor, source: IO[bytes]) -> None:
        """See ``Layout``."""
        del diff_id
        self.stream(packed.digest, packed.size, source)


class TarLayout(FileLayout):
    """A layout in a tar file.

    Args:
        sink: unbuffered.
        shown: what to call it in messages.
    """

    ordered = True

    def __init__(self, sink: IO[bytes], shown: str | int) -> None:
        self._sink = sink
        self._shown = shown
        self._seen: set[Digest] = set()
        for name in ("blobs", "blobs/sha256"):
            self._put(tar.header(Entry(path=name, kind="dir", mode=0o755)))

    def blob(self, digest: Digest, content: bytes) -> None:
        """See ``Layout``."""
        if digest not in self._seen:
            self._seen.add(digest)
            self._file(blob_name(digest), content)

    def stream(self, digest: Digest, size: int, source: IO[bytes]) -> None:
        """See ``FileLayout``."""
        if digest in self._seen:
            return
        self._seen.add(digest)
        self._put(tar.header(Entry(path=blob_name(digest), kind="file", mode=0o644, size=size)))
        rest = size
        while rest and (part := source.read(min(CHUNK, rest))):
            self._put(part)
            rest -= len(part)
        if rest or source.read(1):
            raise StoreProblem(f"layer {digest} changed while it was being saved")
        self._put(tar.padding(size))

    def finish(self, manifests: tuple[Descriptor, ...], others: dict[str, bytes] | None = None) -> None:
        """See ``Layout``."""
        self._file("index.json", to_json(Index(schema_version=2, media_type=MEDIA_INDEX, manifests=manifests)))
        for name, content in (others or {}).items():
            self._file(name, content)
        self._file("oci-layout", LAYOUT)
        self._put(tar.END)

    def _file(self, name: str, data: bytes) -> None:
        head = tar.header(Entry(path=name, kind="file", mode=0o644, size=len(data)))
        self._put(head + data + tar.padding(len(data)))

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._sink.write(view) :]
        except OSError as problem:
            raise unwritable(problem, self._shown) from problem


class DirectoryLayout(FileLayout):
    """A layout in a directory, which may be one already: its index keeps what else it names.

    Args:
        path: of the directory; made if need be.

    Raises:
        InvalidInput: it cannot be written, or is something else than an image layout.
    """

    ordered = False

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            os.makedirs(f"{path}/blobs/sha256", exist_ok=True)
        except OSError as problem:
            raise unwritable(problem, path) from problem

    def blob(self, digest: Digest, content: bytes) -> None:
        """See ``Layout``."""
        self._replace(blob_name(digest), content)

    def stream(self, digest: Digest, size: int, source: IO[bytes]) -> None:
        """See ``FileLayout``."""
        target = f"{self._path}/{blob_name(digest)}"
        if os.path.exists(target) and os.path.getsize(target) == size:
            return
        self._write(target, source, size)

    def finish(self, manifests: tuple[Descriptor, ...], others: dict[str, bytes] | None = None) -> None:
        """See ``Layout``; a manifest takes the place of one with the same name, or of the same one without a name."""
        self._replace("oci-layout", LAYOUT)
        for name, content in (others or {}).items():
            self._replace(name, content)
        mine = {_key(one) for one in manifests}
        kept = tuple(one for one in self._present() if _key(one) not in mine)
        index = Index(schema_version=2, media_type=MEDIA_INDEX, manifests=(*kept, *manifests))
        self._replace("index.json", to_json(index))

    def _present(self) -> tuple[Descriptor, ...]:
        try:
            with open(f"{self._path}/index.json", "rb") as stream:
                return from_json(stream.read(), Index).manifests
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, InvalidInput) as problem:
            raise InvalidInput(
                f"{self._path}/index.json is not the index of an image layout: {problem}",
                hint="choose another directory",
            ) from None

    def _replace(self, name: str, content: bytes) -> None:
        import io

        self._write(f"{self._path}/{name}", io.BytesIO(content), len(content))

    def _write(self, target: str, source: IO[bytes], size: int) -> None:
        temporary = f"{target}.{os.getpid()}.partial"
        try:
            rest = size
            with open(temporary, "xb", buffering=0) as sink:
                while rest and (part := source.read(min(CHUNK, rest))):
                    view = memoryview(part)
                    while view:
                        view = view[sink.write(view) :]
                    rest -= len(part)
            if rest or source.read(1):
                raise StoreProblem(f"{os.path.basename(target)} changed while it was being written")
            os.replace(temporary, target)
        except BaseException as problem:
            with suppress(OSError):
                os.unlink(temporary)
            if isinstance(problem, OSError):
                raise unwritable(problem, self._path) from problem
            raise


def _key(descriptor: Descriptor) -> str:
    """What names an image in an index: its reference, else the content itself."""
    notes = descriptor.annotations or {}
    return notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or descriptor.digest
