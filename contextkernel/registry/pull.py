"""Pull an image: resolve its manifest for this platform, fetch what is missing, unpack, record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from contextkernel.errors import (
    ImageNotFound,
    RegistryProblem,
    RegistryRefused,
    RegistryUnreachable,
)
from contextkernel.model import oci
from contextkernel.model.digest import Digest
from contextkernel.model.events import StepProgress
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker, Reporter
from contextkernel.model.reference import ImageRef
from contextkernel.registry.client import Repository
from contextkernel.registry.documents import read_document, read_image_config, verify
from contextkernel.registry.settings import endpoints
from contextkernel.store import Store
from contextkernel.store.archive_load import add_unpacked
from contextkernel.store.blobs import Readable

_TELL = 1 << 20  # bytes between two events of a layer


def pull_image(
    store: Store,
    worker: LayerWorker,
    ref: ImageRef,
    *,
    platform: Platform | None = None,
    report: Reporter = lambda _event: None,
    step: int = 1,
    named: bool = True,
) -> Digest:
    """Fetch ``ref`` into ``store`` and tag it.

    Args:
        store: where it goes; layers that are there already are not fetched.
        worker: unpacks layers.
        ref: tag or digest.
        platform: which image of an index; default this host's.
        report: receives :class:`StepProgress` per layer, for step ``step``.
        step: number in the events.
        named: tag it; without, the image gets no name.

    Returns:
        The image id.

    Raises:
        ImageNotFound, RegistryRefused: the registry's answer. RegistryUnreachable: no endpoint answered.
        DigestMismatch, SizeMismatch: it sent something else than promised.
    """
    last: RegistryProblem | None = None
    for endpoint in endpoints(ref.registry):
        repository = Repository(endpoint, ref.registry, ref.repository)
        try:
            return _pull_from(repository, store, worker, ref, platform or Platform.host(), report, step, named=named)
        except (RegistryUnreachable, RegistryRefused) as problem:
            last = problem
        except ImageNotFound:
            if not endpoint.mirror:
                raise
    assert last is not None  # noqa: S101 - the registry itself is always the last endpoint
    raise last


def _pull_from(
    repository: Repository,
    store: Store,
    worker: LayerWorker,
    ref: ImageRef,
    platform: Platform,
    report: Reporter,
    step: int,
    *,
    named: bool,
) -> Digest:
    manifest = _manifest(repository, ref, platform)
    leased: list[Digest] = [manifest.config.digest]
    with ExitStack() as stack:
        try:
            with repository.blob(manifest.config.digest) as stream:
                store.write_blob(stream, manifest.config.digest, manifest.config.size)
            with store.open_blob(manifest.config.digest) as file:
                config = file.read()
            diff_ids = read_image_config(config, manifest, ref.familiar).rootfs.diff_ids
            # whatever others of this process give up meanwhile
            blobs = [manifest.config.digest, *(layer.digest for layer in manifest.layers)]
            stack.enter_context(store.expect(diff_ids, blobs))
            for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
                if not store.has_layer(diff_id):
                    leased += [layer.digest, diff_id]
                    _fetch_layer(repository, store, worker, layer, diff_id, report, step)
            names = [ref] if ref.tag and named else []
            return store.add_image(config, origin="pull", names=names)
        except BaseException:
            store.release(leased)
            raise


def _manifest(repository: Repository, ref: ImageRef, platform: Platform) -> oci.Manifest:
    reference = str(ref.digest or ref.tag)
    media, data = repository.manifest(reference)
    verify(data, reference)
    found = read_document(media, data, ref.familiar)
    if isinstance(found, oci.Index):
        chosen = _choose(found, platform)
        media, data = repository.manifest(chosen.digest)
        verify(data, chosen.digest)
        found = read_document(media, data, ref.familiar)
    if isinstance(found, oci.Index):
        raise RegistryRefused(f"{ref.familiar} is an index of indexes", hint="only indexes of images are understood")
    return found


def _choose(index: oci.Index, platform: Platform) -> oci.Descriptor:
    entries = [
        (Platform.of(entry.platform.os, entry.platform.architecture, entry.platform.variant), entry)
        for entry in index.manifests
        if entry.platform is not None
    ]
    for wanted in platform.acceptable():
        for has, entry in entries:
            if has == wanted:
                return entry
    for has, entry in entries:  # a variant that nobody has ordered is better than none
        if (has.os, has.architecture) == (platform.os, platform.architecture):
            return entry
    offered = [str(has) for has, _ in entries if has.os != "unknown"]
    raise ImageNotFound(f"no image for {platform}", hint=f"the registry offers {', '.join(offered) or 'none'}")


def _fetch_layer(
    repository: Repository,
    store: Store,
    worker: LayerWorker,
    layer: oci.Descriptor,
    diff_id: Digest,
    report: Reporter,
    step: int,
) -> None:
    name = layer.digest.short
    report(StepProgress(step, name, 0, layer.size))
    with repository.blob(layer.digest) as stream:
        store.write_blob(
            _Counted(stream, lambda count: report(StepProgress(step, name, count, layer.size))),
            layer.digest,
            layer.size,
        )
    add_unpacked(store, worker, layer.digest, diff_id)
    report(StepProgress(step, name, layer.size, layer.size))


class _Counted:
    """A stream that says now and then how much was read of it; whoever is told may raise to stop the reading."""

    def __init__(self, stream: Readable, tell: Callable[[int], None]) -> None:
        self._stream = stream
        self._tell = tell
        self._count = self._told = 0

    def read(self, size: int, /) -> bytes:
        """See ``store.blobs.Readable``."""
        data = self._stream.read(size)
        self._count += len(data)
        if self._count - self._told >= _TELL:
            self._told = self._count
            self._tell(self._count)
        return data
