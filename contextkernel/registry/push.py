"""Push an image: under the manifest it came with where the registry can have the same blobs, else under one of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from contextkernel.errors import ContextKernelError, ImageNotFound, RegistryDenied, RegistryUnauthorized
from contextkernel.model import codec, oci
from contextkernel.model.digest import Digest
from contextkernel.model.events import LayerProgress
from contextkernel.model.layers import Layer
from contextkernel.model.outputs import Compression, CompressionKind
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import PushedImage
from contextkernel.registry.push_layout import RegistryLayout, Target, canceler
from contextkernel.store import Store
from contextkernel.store.crew import Crew
from contextkernel.store.distribution import KnownManifest
from contextkernel.store.extras import Extras
from contextkernel.store.manifests import FinishedImage, write_images
from contextkernel.store.packing import Packer, recipe

_AT_ONCE = 5  # layers; docker's max-concurrent-uploads
_GZIP = (oci.MEDIA_LAYER_GZIP, oci.MEDIA_DOCKER_LAYER_GZIP)


def push_image(
    store: Store,
    worker: LayerWorker,
    image: Digest,
    name: ImageRef,
    repository: Target,
    *,
    report: Callable[[Any], None] = lambda _event: None,
    bare: bool = False,
    step: int = 0,
) -> PushedImage:
    """Push an image of the store.

    A layer that the repository has is neither packed nor sent; one that the registry has elsewhere is mounted. Nothing
    can be seen under the name until all of it is there.

    Args:
        store: has the image, and what is known of its layers in registries; learns from what it sees.
        worker: renders layers.
        image: its id.
        name: with the tag to push to.
        repository: opened for pull and push.
        report: receives ``LayerProgress`` for each layer, in the caller's thread; may raise to stop.
        bare: without the image's attestations.
        step: number in the events.

    Returns:
        What the registry has now.

    Raises:
        ImageNotFound: no such image in the store. RegistryDenied, RegistryUnauthorized: who is logged in may not.
        RegistryProblem: the registry refused, or cannot be reached. DigestMismatch: a layer was changed on disk.
    """
    crew = Crew(_AT_ONCE, report, canceler(worker, repository))
    layout = RegistryLayout(repository, store.distribution, crew.tell, step=step)
    layers = store.layers_of(image)
    extras = store.extras(image)
    if bare:
        extras = msgspec.structs.replace(extras, statements=())
    with store.hold({layer.diff_id for layer in layers}):
        layers = store.layers_of(image)  # as they are, now that they stay
        for layer in dict.fromkeys(layer.diff_id for layer in reversed(layers)):
            report(LayerProgress(step, layer.short, "preparing"))
        try:
            top = None
            if not extras.statements and not extras.annotations:
                top = _as_it_was(store, worker, image, layers, layout, crew)
            if top is None:
                top = _anew(store, worker, image, layers, extras, layout, crew, name)
            layout.publish(top, [name.tag] if name.tag else [])
        except (RegistryDenied, RegistryUnauthorized) as problem:
            problem.hint = problem.hint or f"log in first: login {name.registry}"
            raise
    remember(store, image, layout, [name], top.digest)
    return PushedImage(name=name, digest=top.digest, size=top.size, media_type=top.media_type)


def remember(store: Store, image: Digest, layout: RegistryLayout, names: Sequence[ImageRef], digest: Digest) -> None:
    """Note what an image was pushed as: its manifests, and a repository digest for each name."""
    for media_type, document in layout.documents():
        if media_type in (oci.MEDIA_MANIFEST, oci.MEDIA_DOCKER_MANIFEST):
            manifest = codec.from_json(document, oci.Manifest)
            if manifest.config.digest == image:
                store.distribution.remember_manifest(image, media_type, document)
    further = [ImageRef(name.registry, name.repository, None, digest) for name in names]
    with suppress(ImageNotFound):  # somebody has removed it meanwhile
        store.add_image(store.config_bytes(image), origin="push", names=further)


def _anew(
    store: Store,
    worker: LayerWorker,
    image: Digest,
    layers: Sequence[Layer],
    extras: Extras,
    layout: RegistryLayout,
    crew: Crew,
    name: ImageRef,
) -> oci.Descriptor:
    config = store.config(image)
    finished = FinishedImage(
        config=store.config_bytes(image),
        layers=tuple(layers),
        platform=Platform(config.os or "linux", config.architecture, config.variant or None),
        statements=extras.statements,
    )
    packer = Packer(store, worker, Compression())
    annotations = extras.annotations
    if not extras.statements:  # those of an index that there is not are of no use
        annotations = tuple(one for one in annotations if not one.level.startswith("index"))
    return write_images(layout, packer, [finished], names=[name], annotations=annotations, crew=crew).descriptor


def _as_it_was(
    store: Store, worker: LayerWorker, image: Digest, layers: Sequence[Layer], layout: RegistryLayout, crew: Crew
) -> oci.Descriptor | None:
    """Push blobs of a manifest that the image is known by; ``None`` if that cannot be had byte for byte."""
    for known in store.distribution.manifests_of(image):
        manifest = _readable(known)
        if manifest is None or len(manifest.layers) != len(layers) or manifest.config.digest != image:
            continue
        pairs = list({blob.digest: (layer, blob) for layer, blob in zip(layers, manifest.layers, strict=True)}.values())
        made = [_maker(store, worker, layer, blob) for layer, blob in pairs]

        def found(pair: tuple[Layer, oci.Descriptor]) -> bool:
            layer, blob = pair
            crew.check()
            return layout.find(layer.diff_id, [blob]) is not None

        # first all questions, the base's and the rest's alike: what cannot be completed is not begun
        there = crew.run(found, pairs)
        if not all(here or make is not None for here, make in zip(there, made, strict=True)):
            continue
        todo = [
            (layer, blob, make)
            for (layer, blob), here, make in zip(pairs, there, made, strict=True)
            if not here and make is not None
        ]

        def send(work: tuple[Layer, oci.Descriptor, Packer]) -> bool:
            layer, blob, packer = work
            packed = packer.pack(layer, check=crew.check)
            try:
                if packed.descriptor.digest != blob.digest:
                    return False  # a compressor of another version; it is remembered as what it is
                with packed.open() as source:
                    layout.layer(layer.diff_id, blob, source)
            finally:
                packed.close()
            return True

        if all(crew.run(send, todo)):
            layout.blob(image, store.config_bytes(image))
            layout.document(known.media_type, known.digest, known.document)
            return oci.Descriptor(known.media_type, known.digest, len(known.document))
    return None


def _maker(store: Store, worker: LayerWorker, layer: Layer, blob: oci.Descriptor) -> Packer | None:
    """What makes exactly this blob of a layer; ``None`` if nothing here can."""
    if layer.blob == blob.digest:
        return Packer(store, worker, Compression(kind=_kind(layer.media_type)))  # it stays as it is
    if blob.digest == layer.diff_id:
        return Packer(store, worker, Compression(kind="uncompressed", force=True))
    tries = [Compression(force=True)] if blob.media_type in _GZIP else []
    if blob.media_type == oci.MEDIA_LAYER_ZSTD:
        tries = [Compression(kind="zstd", force=True)]
    tries += [msgspec.structs.replace(one, level=level) for one in tries for level in range(10)]
    for compression in tries:
        forms = store.distribution.packed_forms(layer.diff_id, recipe=recipe(compression))
        if any(form.digest == blob.digest for form in forms):
            return Packer(store, worker, compression)
    return None


def _kind(media_type: str) -> CompressionKind:
    return "zstd" if media_type.endswith("zstd") else "gzip" if media_type.endswith("gzip") else "uncompressed"


def _readable(known: KnownManifest) -> oci.Manifest | None:
    try:
        return codec.from_json(known.document, oci.Manifest)
    except (msgspec.MsgspecError, ContextKernelError):
        return None
