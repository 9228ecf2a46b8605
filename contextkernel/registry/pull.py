"""Pull an image: resolve its manifest for this platform, fetch what is missing, unpack, record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import msgspec

from contextkernel.errors import (
    DigestMismatch,
    ImageNotFound,
    RegistryProblem,
    RegistryRefused,
    RegistryUnreachable,
    SizeMismatch,
)
from contextkernel.model import oci
from contextkernel.model.digest import Digest
from contextkernel.model.events import LayerPhase, LayerProgress, StepNote
from contextkernel.model.indexes import choose
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker, Reporter
from contextkernel.model.reference import ImageRef
from contextkernel.registry.client import Repository, repositories
from contextkernel.registry.documents import read_document, read_image_config, verify
from contextkernel.registry.layers import Told, fetch_layers
from contextkernel.registry.retrying import Tries
from contextkernel.store import Store
from contextkernel.store.downloads import KEPT_SECONDS
from contextkernel.store.side_by_side import News
from contextkernel.store.trash import empty_trash

#: indexes that lie within each other
_MOST_DEPTH = 3


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull came to.

    Attributes:
        image: id of the image.
        digest: of what the name stands for in the registry: an index, or the manifest of a lone image.
        platform: what the image is for.
        received: bytes of layers that came from the registry.
    """

    image: Digest
    digest: Digest
    platform: Platform
    received: int


class _Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest that a name stands for on a platform, byte for byte, and the digest of what named it."""

    top: Digest
    media_type: str
    document: bytes
    manifest: oci.Manifest


def pull_image(
    store: Store,
    worker: LayerWorker,
    ref: ImageRef,
    *,
    platform: Platform | None = None,
    report: Reporter = lambda _event: None,
    step: int = 1,
    named: bool = True,
    tries: Tries | None = None,
) -> Digest:
    """As :func:`pull_reference`, for those who want the image's id alone."""
    pulled = pull_reference(store, worker, ref, platform=platform, report=report, step=step, named=named, tries=tries)
    return pulled.image


def pull_reference(
    store: Store,
    worker: LayerWorker,
    ref: ImageRef,
    *,
    platform: Platform | None = None,
    report: Reporter = lambda _event: None,
    step: int = 1,
    named: bool | Callable[[Platform], bool] = True,
    announced: bool = False,
    tries: Tries | None = None,
) -> Pulled:
    """Fetch ``ref`` into ``store`` and tag it.

    Args:
        store: where it goes; layers that are there already are not fetched, and those of which a part has arrived
            before are continued.
        worker: unpacks layers.
        ref: tag or digest.
        platform: which image of an index; default this host's.
        report: receives :class:`LayerProgress` for step ``step``; may raise to stop.
        step: number in the events.
        named: tag it, or tell from the image's platform whether to; without, only its digest is a name of it.
        announced: begin with docker's line ``TAG: Pulling from REPOSITORY``.
        tries: patience; by default that of a person who waits.

    Raises:
        ImageNotFound, RegistryRefused: the registry's answer. RegistryUnreachable: no endpoint answered.
        DigestMismatch, SizeMismatch: it sent something else than promised.
    """
    store.downloads.prune(KEPT_SECONDS)
    news: News[Told] = News()
    tries = tries or Tries(sleep=news.wait)  # so that a pull that is stopped does not go on waiting
    last: RegistryProblem | DigestMismatch | SizeMismatch | None = None
    for repository in repositories(ref.registry, ref.repository, by_digest=ref.digest is not None, tries=tries):
        pull = _Pull(repository, store, worker, ref, report, step, news)
        try:
            return pull.run(platform or Platform.host(), named=named, announced=announced)
        except (RegistryUnreachable, RegistryRefused) as problem:
            last = problem
        except (ImageNotFound, DigestMismatch, SizeMismatch) as problem:
            if not repository.mirror:
                raise
            last = problem if not isinstance(problem, ImageNotFound) else last
    assert last is not None  # noqa: S101 - the registry itself is always the last endpoint
    raise last


class _Pull:
    """One image from one endpoint."""

    def __init__(
        self,
        repository: Repository,
        store: Store,
        worker: LayerWorker,
        ref: ImageRef,
        report: Reporter,
        step: int,
        news: News[Told],
    ) -> None:
        self._repository = repository
        self._store = store
        self._ref = ref
        self._report = report
        self._step = step
        self._news = news
        self._worker = worker

    def _tell(self, layer: oci.Descriptor, phase: LayerPhase, current: int) -> None:
        self._report(LayerProgress(self._step, layer.digest.short, phase, current, layer.size))

    def _announce(self) -> None:
        shown = str(self._ref) if self._ref.digest else self._ref.tag
        self._report(StepNote(self._step, f"{shown}: Pulling from {self._ref.repository}"))

    def run(self, platform: Platform, *, named: bool | Callable[[Platform], bool], announced: bool) -> Pulled:
        store, ref = self._store, self._ref
        found = _manifest(self._repository, ref, platform, self._announce if announced else lambda: None)
        manifest = found.manifest
        leased = [manifest.config.digest]
        with ExitStack() as stack:
            try:
                self._repository.tries.run(partial(self._config, manifest.config), self._repository.told)
                with store.open_blob(manifest.config.digest) as file:
                    data = file.read()
                config = read_image_config(data, manifest, ref.familiar)
                has = Platform.of(config.os, config.architecture, config.variant)
                diff_ids = config.rootfs.diff_ids
                # whatever others of this process give up meanwhile
                blobs = [manifest.config.digest, *(layer.digest for layer in manifest.layers)]
                stack.enter_context(store.expect(diff_ids, blobs))
                pairs = list(zip(manifest.layers, diff_ids, strict=True))
                missing = [pair for pair in pairs if not store.has_layer(pair[1])]
                leased += [digest for layer, diff_id in missing for digest in (layer.digest, diff_id)]
                known = not missing and _is_here(store, manifest.config.digest)
                for layer, diff_id in [] if known else pairs:  # docker says nothing of layers of an image that it has
                    self._tell(layer, "pulling" if (layer, diff_id) in missing else "exists", 0)
                received = fetch_layers(self._repository, store, self._worker, missing, self._tell, self._news)
                wanted = named if isinstance(named, bool) else named(has)
                image = store.add_image(data, origin="pull", names=_names(ref, found, has, tagged=wanted))
            except BaseException:
                stack.close()  # nothing is expected any more
                store.release(leased)
                empty_trash(store, self._worker)  # at once: a disk may be full of it
                raise
        self._remember(image, found, diff_ids)
        for layer in manifest.layers:
            store.downloads.remove(layer.digest)
        return Pulled(image=image, digest=found.top, platform=has, received=received)

    def _config(self, config: oci.Descriptor) -> None:
        with self._repository.blob(config.digest) as stream:
            self._store.write_blob(stream, config.digest, config.size)

    def _remember(self, image: Digest, found: _Resolved, diff_ids: tuple[Digest, ...]) -> None:
        """What is known now of the image elsewhere, for a push of it.

        That a blob is the packed form of a layer is believed where it was seen to be: what unpacks a blob notes it. A
        manifest that names a layer which was here already says nothing of it that could be relied on: a later push of
        another image with this layer would name a blob that somebody made up.
        """
        records, manifest, ref = self._store.distribution, found.manifest, self._ref
        pairs = zip(manifest.layers, diff_ids, strict=True)
        if all(_seen(layer, diff_id, records.packed_forms(diff_id)) for layer, diff_id in pairs):
            records.remember_manifest(image, found.media_type, found.document)
        digests = [manifest.config.digest, *(layer.digest for layer in manifest.layers)]
        records.remember_places(digests, ref.registry, ref.repository)


def _is_here(store: Store, image: Digest) -> bool:
    try:
        store.config_bytes(image)
    except ImageNotFound:
        return False
    return True


def _seen(layer: oci.Descriptor, diff_id: Digest, forms: Sequence[oci.Descriptor]) -> bool:
    return layer.digest in (diff_id, *(form.digest for form in forms))


def _names(ref: ImageRef, found: _Resolved, has: Platform, *, tagged: bool) -> list[ImageRef]:
    """The tag, if one was asked for, and digests.

    An index's digest is the name of an image for this machine. One for another platform keeps the digest of its own
    manifest beside it, so that it has a name when that image comes.
    """
    host = Platform.host()
    certain = ImageRef(ref.registry, ref.repository, None, found.top)
    own = ImageRef(ref.registry, ref.repository, None, Digest.of(found.document))
    foreign = (has.os, has.architecture) != (host.os, host.architecture)
    names = [ref] if tagged and ref.tag and not ref.digest else []
    if tagged or not foreign:
        names.append(certain)
    return [*names, own] if foreign else names


def _manifest(repository: Repository, ref: ImageRef, platform: Platform, announce: Callable[[], None]) -> _Resolved:
    reference = str(ref.digest or ref.tag)
    media, data = repository.manifest(reference)
    top = verify(data, reference)
    found = read_document(media, data, ref.familiar)
    announce()
    for _ in range(_MOST_DEPTH):
        if not isinstance(found, oci.Index):
            break
        chosen = choose(found, platform)
        media, data = repository.manifest(chosen.digest)
        verify(data, chosen.digest)
        found = read_document(media, data, ref.familiar)
    if isinstance(found, oci.Index):
        raise RegistryRefused(
            f"{ref.familiar}: indexes lie within each other without end", hint=f"{_MOST_DEPTH} are gone through"
        )
    return _Resolved(top=top, media_type=media, document=data, manifest=found)
