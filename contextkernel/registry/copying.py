"""Images from one repository into another, byte for byte: mounted where the registry is the same, else streamed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from typing import IO, TYPE_CHECKING, Any, cast

from contextkernel.errors import ImageNotFound, InvalidInput, RegistryProblem, RegistryRefused, RegistryUnreachable
from contextkernel.model.digest import Digest
from contextkernel.model.events import LayerPhase, LayerProgress
from contextkernel.model.oci import MEDIA_INDEXES, MEDIA_MANIFESTS, Descriptor, Index, Manifest
from contextkernel.model.reference import ImageRef
from contextkernel.registry.documents import decode
from contextkernel.registry.mirrors import first_answer
from contextkernel.registry.remote import Find, RemoteReader
from contextkernel.store.crew import Crew

if TYPE_CHECKING:
    from contextkernel.registry.blob_stream import BlobStream
    from contextkernel.registry.client import Repository

_AT_ONCE = 3  # blobs, as a pull: both registries are asked
_MAX_DEPTH = 4  # of indexes within indexes
_MOST_HELD = 8 << 20  # bytes of documents whose blobs are still to be copied
_MOST_BREAKS = 5  # of the connection that a blob comes from
_CHUNK = 1 << 18
_TELL = 1 << 19  # bytes between two events of a layer


class Copier:
    """Brings images into one repository, several blobs at a time.

    Args:
        find: knows the repositories.
        target: names the repository; its tag does not matter.
        tell: is told what is done, in a line.
        report: receives ``LayerProgress`` for each layer, in the caller's thread; may raise to stop.
    """

    def __init__(
        self,
        find: Find,
        target: ImageRef,
        tell: Callable[[str], None] = lambda _line: None,
        report: Callable[[Any], None] = lambda _event: None,
    ) -> None:
        self._find = find
        self._target = target
        self._tell = tell
        self._crew = Crew(_AT_ONCE, report, lambda _thread: self._abort())
        self._here = threading.local()
        self._repository = find(target, "pull,push")[-1]  # never a mirror
        self._repository.told = self._retrying
        self._readers: dict[str, RemoteReader] = {}
        self._found: list[tuple[Descriptor, bytes]] = []
        self._blobs: dict[Digest, Descriptor] = {}
        self._there: set[Digest] = set()
        self._configs: set[Digest] = set()

    def copy(self, descriptor: Descriptor, source: ImageRef) -> None:
        """Have a manifest, and all it names, in the repository. Idempotent.

        Args:
            descriptor: of the manifest or index.
            source: the repository that has it; its tag does not matter.

        Raises:
            ImageNotFound: the source does not have it. RegistryProblem: a registry's answer.
        """
        if source.name == self._target.name:
            if self._repository.head(descriptor.digest) is None:
                raise ImageNotFound(f"{source.name} has no manifest {descriptor.digest}")
            return
        self._tell(f"copying {descriptor.digest} from {source.familiar} to {self._target.familiar}")
        self._read(descriptor, source, _MAX_DEPTH)
        self._send(source)

    def publish(self, reference: str, descriptor: Descriptor, document: bytes) -> Digest:
        """Put a document under a tag or its digest; what it names must be there.

        Returns:
            Its digest.
        """
        return self._repository.put_manifest(reference, descriptor.media_type, document)

    def _read(self, descriptor: Descriptor, source: ImageRef, depth: int) -> None:
        """Read a document and those below it, each after what it names; now and then what was read is sent."""
        if descriptor.digest in self._there:
            return
        if depth == 0:
            raise InvalidInput(
                f"{source.familiar}: indexes within indexes, too deep", hint="copy its images one by one"
            )
        found, document = self._reader(source).document(descriptor.digest)
        if found.media_type in MEDIA_INDEXES:
            for entry in decode(document, Index, f"{source.familiar}: the registry sent an invalid index").manifests:
                self._read(entry, source, depth - 1)
        elif found.media_type in MEDIA_MANIFESTS:
            manifest = decode(document, Manifest, f"{source.familiar}: the registry sent an invalid manifest")
            self._configs.add(manifest.config.digest)
            self._blobs |= {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
        self._there.add(descriptor.digest)
        self._found.append((found, document))
        if sum(len(held) for _, held in self._found) > _MOST_HELD:
            self._send(source)

    def _send(self, source: ImageRef) -> None:
        """Copy the blobs of what was read, and then write the documents."""
        blobs = [blob for digest, blob in self._blobs.items() if digest not in self._there]
        self._crew.run(lambda blob: self._blob(blob, source), blobs)
        self._there |= self._blobs.keys()
        for found, document in self._found:
            self._repository.put_manifest(str(found.digest), found.media_type, document)
        self._blobs, self._found = {}, []

    def _blob(self, blob: Descriptor, source: ImageRef) -> None:
        if blob.urls and "foreign" in blob.media_type:
            return  # stays where it is: its URLs are in the manifest
        self._here.blob = blob
        if self._repository.blob_size(blob.digest) is not None:
            self._say(blob, "present")
        elif source.registry == self._target.registry and self._mounted(blob.digest, source):
            self._say(blob, "mounted", detail=source.repository)
        else:
            self._say(blob, "pushing")
            first_answer(self._reader(source).repositories, lambda repository: self._stream(blob, repository))
            self._say(blob, "pushed", blob.size)

    def _stream(self, blob: Descriptor, repository: Repository) -> None:
        last = 0

        def tell(sent: int) -> None:
            nonlocal last
            if sent < last or sent - last >= _TELL:
                last = sent
                self._say(blob, "pushing", sent)

        with closing(Arriving(repository, blob)) as source:
            self._repository.upload(blob, cast("IO[bytes]", source), tell)

    def _say(self, blob: Descriptor, phase: LayerPhase, current: int = 0, *, detail: str = "") -> None:
        self._crew.check()
        if blob.digest not in self._configs:  # as a push: configurations are small and no layers
            self._crew.tell(LayerProgress(0, blob.digest.short, phase, current, blob.size, detail))

    def _retrying(self, _problem: RegistryProblem, seconds: float) -> None:
        """Either registry is asked again; whoever is told may stop that."""
        blob = getattr(self._here, "blob", None)
        if blob is not None:
            self._say(blob, "retrying", max(1, round(seconds)))

    def _abort(self) -> None:
        self._repository.abort()
        for reader in list(self._readers.values()):
            reader.abort()

    def _mounted(self, digest: Digest, source: ImageRef) -> bool:
        with suppress(RegistryProblem, ImageNotFound):  # then it is sent
            return self._repository.mount(digest, source.repository)
        return False

    def _reader(self, source: ImageRef) -> RemoteReader:
        if source.name not in self._readers:
            self._readers[source.name] = RemoteReader(self._find, source)
            for repository in self._readers[source.name].repositories:
                repository.told = self._retrying
        return self._readers[source.name]


class Arriving:
    """A blob as a file that is read from a registry, and begun again when it is sent again.

    It ends where its descriptor says; the registry that receives it verifies the digest. A connection that breaks is
    taken up where it broke.
    """

    def __init__(self, repository: Repository, blob: Descriptor) -> None:
        self._repository = repository
        self._blob = blob
        self._at = 0
        self._open: AbstractContextManager[BlobStream] | None = None
        self._stream: BlobStream | None = None
        self._skip = 0
        self._breaks = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""
        left = self._blob.size - self._at
        wanted = left if size < 0 else min(size, left)
        while wanted > 0:
            try:
                part = self._some(wanted)
            except ImageNotFound as problem:  # else it would pass for the target's answer
                self.close()
                raise RegistryRefused(problem.problem, status=404) from None
            except RegistryUnreachable:
                self.close()
                self._breaks += 1
                if self._breaks > _MOST_BREAKS:
                    raise
                continue
            if not part:
                self.close()
                raise RegistryRefused(
                    f"{self._repository.where}: blob {self._blob.digest} ends {left} bytes"
                    f" before its {self._blob.size}",
                )
            self._at += len(part)
            if self._at == self._blob.size:
                self.close()
            return part
        return b""

    def seekable(self) -> bool:
        """It can be read again."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, place: int, whence: int = 0, /) -> int:
        """Go on at another place, counted from the beginning (``whence`` 0), from here (1) or from the end (2)."""
        self.close()
        self._at = place + (0, self._at, self._blob.size)[whence]
        return self._at

    def close(self) -> None:
        """Let the registry's answer go; a later read asks again."""
        opened, self._open, self._stream = self._open, None, None
        if opened is not None:
            opened.__exit__(None, None, None)

    def _some(self, wanted: int) -> bytes:
        if self._stream is None:
            self._open = self._repository.blob(self._blob.digest, offset=self._at)
            self._stream = self._open.__enter__()
            self._skip = self._at - self._stream.offset
        while self._skip:  # a server that gives no parts
            part = self._stream.read(min(self._skip, _CHUNK))
            if not part:
                return b""
            self._skip -= len(part)
        return self._stream.read(wanted)
