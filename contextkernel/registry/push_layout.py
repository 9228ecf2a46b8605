"""A repository of a registry as a layout that images are written into.

Rules: OCI distribution-spec v1.1, "Push"; what is asked before a layer is sent, and how often, follows moby's
``distribution/push_v2.go``.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Protocol

from contextkernel.errors import RegistryProblem
from contextkernel.model.digest import Digest
from contextkernel.model.events import LayerProgress
from contextkernel.model.oci import Descriptor

if TYPE_CHECKING:
    from contextkernel.model.events import LayerPhase
    from contextkernel.model.ports import LayerWorker
    from contextkernel.store.distribution import Distribution

_MOST_MOUNTS = 4  # repositories that are tried for one blob, as docker does
_MOST_FORMS = 4  # packed forms of one layer that are asked for
_TELL = 1 << 19  # bytes between two events of a layer


class Target(Protocol):
    """What pushing needs of a repository; see :class:`contextkernel.registry.client.Repository`."""

    registry: str
    path: str
    told: Callable[[RegistryProblem, float], None] | None

    def abort(self) -> None:
        """Let whoever waits for the registry end; nothing more is asked."""
        ...

    def blob_size(self, digest: str) -> int | None:
        """Bytes of a blob, if it is there."""
        ...

    def mount(self, digest: str, from_repository: str) -> bool:
        """Take over a blob from another repository of the registry."""
        ...

    def upload(self, descriptor: Descriptor, source: IO[bytes], tell: Callable[[int], None]) -> None:
        """Send a blob."""
        ...

    def put_manifest(self, reference: str, media_type: str, data: bytes) -> Digest:
        """Write a manifest."""
        ...


def canceler(worker: LayerWorker, repository: Target) -> Callable[[int], None]:
    """For a crew: stops what a thread has the worker do, or what it waits for at the registry."""
    stop: Callable[[int], None] = getattr(worker, "cancel", lambda _thread: None)

    def cancel(thread: int) -> None:
        repository.abort()
        stop(thread)

    return cancel


class RegistryLayout:
    """See :class:`contextkernel.store.layout.Layout`. Blobs go at once, documents with :meth:`publish`.

    Args:
        repository: to push to.
        known: what is known of blobs; learns where they are.
        tell: gets a ``LayerProgress`` for what a layer does, from any thread; may raise to stop.
        step: number in the events.

    Attributes:
        blobs: digests of the blobs that the repository has now.
    """

    ordered = False

    def __init__(
        self, repository: Target, known: Distribution, tell: Callable[[LayerProgress], None], *, step: int = 0
    ) -> None:
        self._repository = repository
        self._known = known
        self._tell = tell
        self._step = step
        self._here = threading.local()
        self._documents: dict[Digest, tuple[str, bytes]] = {}
        self._guard = threading.Lock()
        self.blobs: dict[Digest, None] = {}
        repository.told = self._retrying

    # ---- layers

    def find(self, diff_id: Digest, forms: Sequence[Descriptor]) -> Descriptor | None:
        """See ``Layout``: the registry may have a layer here, or in another repository that it can be mounted from."""
        with self._about(diff_id):
            return self._found(diff_id, forms)

    def _found(self, diff_id: Digest, forms: Sequence[Descriptor]) -> Descriptor | None:
        for form in forms[:_MOST_FORMS]:
            if self._has(form):
                self._say(diff_id, "present", form)
                return form
        registry = self._repository.registry
        for form in forms[:_MOST_FORMS]:
            places = [
                one for one in self._known.places(form.digest, registry) if one.repository != self._repository.path
            ]
            for place in places[:_MOST_MOUNTS]:
                if self._repository.mount(form.digest, place.repository):
                    self._note(form.digest)
                    self._say(diff_id, "mounted", form, detail=place.repository)
                    return form
                self._known.forget_place(form.digest, place.registry, place.repository)
        return None

    def layer(self, diff_id: Digest, packed: Descriptor, source: IO[bytes]) -> None:
        """See ``Layout``; a retry sends it again from its beginning."""
        with self._about(diff_id):
            if self._has(packed):
                self._say(diff_id, "present", packed)
            else:
                self._send(diff_id, packed, source)

    def _send(self, diff_id: Digest, packed: Descriptor, source: IO[bytes]) -> None:
        last = 0

        def tell(sent: int) -> None:
            nonlocal last
            if sent < last or sent - last >= _TELL:
                last = sent
                self._say(diff_id, "pushing", packed, sent)

        self._say(diff_id, "pushing", packed)
        self._repository.upload(packed, source, tell)
        self._note(packed.digest)
        self._say(diff_id, "pushed", packed, packed.size)

    @contextmanager
    def _about(self, diff_id: Digest) -> Iterator[None]:
        """Retries within are told of as those of this layer; whoever is told may stop them."""
        self._here.layer = diff_id
        try:
            yield
        finally:
            self._here.layer = None

    def _has(self, blob: Descriptor) -> bool:
        with self._guard:
            known = blob.digest in self.blobs
        if known or self._repository.blob_size(blob.digest) is not None:
            self._note(blob.digest)
            return True
        return False

    def _note(self, digest: Digest) -> None:
        with self._guard:
            self.blobs[digest] = None

    def _say(self, diff_id: Digest, phase: LayerPhase, blob: Descriptor, current: int = 0, *, detail: str = "") -> None:
        self._tell(LayerProgress(self._step, diff_id.short, phase, current, blob.size, detail))

    def _retrying(self, _problem: RegistryProblem, seconds: float) -> None:
        diff_id = getattr(self._here, "layer", None)
        if diff_id is not None:
            self._tell(LayerProgress(self._step, diff_id.short, "retrying", max(1, round(seconds))))

    # ---- documents

    def blob(self, digest: Digest, content: bytes) -> None:
        """See ``Layout``."""
        descriptor = Descriptor("application/octet-stream", digest, len(content))
        if not self._has(descriptor):
            self._repository.upload(descriptor, io.BytesIO(content), lambda _sent: None)
            self._note(digest)

    def document(self, media_type: str, digest: Digest, content: bytes) -> None:
        """See ``Layout``; nobody sees it before :meth:`publish`."""
        self._documents[digest] = (media_type, content)

    def finish(self, manifests: tuple[Descriptor, ...], others: dict[str, bytes] | None = None) -> None:
        """See ``Layout``: every manifest under its digest; other files have no place in a registry."""
        del others
        for manifest in manifests:
            self.publish(manifest, [])

    def publish(self, top: Descriptor, references: Sequence[str]) -> None:
        """Write the documents, the one that is named last: whoever sees a name finds all there is behind it.

        Args:
            top: of the manifest or index that gets the names.
            references: tags; without any it can only be had by its digest.
        """
        for digest, (media_type, content) in self._documents.items():
            if digest != top.digest:
                self._repository.put_manifest(digest, media_type, content)
        media_type, content = self._documents[top.digest]
        for reference in references or [top.digest]:
            self._repository.put_manifest(reference, media_type, content)
        self._known.remember_places(self.blobs, self._repository.registry, self._repository.path)

    def documents(self) -> tuple[tuple[str, bytes], ...]:
        """Media type and bytes of what was given to :meth:`document`."""
        return tuple(self._documents.values())
