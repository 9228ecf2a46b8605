"""Writing an image archive as ``docker save`` does since 25.0: an OCI image layout with docker's ``manifest.json``.

The same images under the same names give the same bytes: entries are in a fixed order, times are 0, owners are 0:0.
Annotations and attestations of a build travel along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from contextkernel.errors import ImageNotFound, InvalidInput, InvalidReference
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor, ImageConfig
from contextkernel.model.outputs import Compression
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import ImageRef
from contextkernel.store.layout import DirectoryLayout, Layout, TarLayout, blob_name
from contextkernel.store.manifests import FinishedImage, named_descriptors, write_images
from contextkernel.store.outfile import opened
from contextkernel.store.packing import Packer
from contextkernel.store.store import Store


class _Chosen(msgspec.Struct):
    """Images of one name, one for each platform, and the tags to save them under."""

    images: tuple[Digest, ...]
    tags: list[ImageRef] = msgspec.field(default_factory=list)


def save(
    store: Store,
    worker: LayerWorker,
    refs: Sequence[str],
    output: str | int,
    *,
    platforms: Sequence[Platform] = (),
    compression: Compression | None = None,
) -> tuple[Digest, ...]:
    """Write images to one archive; docker, podman, skopeo and :func:`load` read it.

    Args:
        store: where the images are.
        worker: renders the layers that were made here.
        refs: tags, ids or bare names; a name without a tag stands for all tags of the repository.
        output: a path, which appears complete or not at all; or an open descriptor, which stays open.
        platforms: only images for these; several give each name an index. Docker's ``manifest.json`` has this host's,
            else the first.
        compression: of the layers; none by default, as ``docker save`` has it.

    Returns:
        The images, each once.

    Raises:
        ImageNotFound: see ``Store.resolve``, or it is not here for one of the platforms. InvalidReference: see there.
        InvalidInput: the output cannot be written. StoreProblem: a layer in the store is damaged.
    """
    chosen = _choose(store, refs, platforms)
    if not chosen:
        raise InvalidInput("no image to save", hint="name at least one image")
    layers = {layer.diff_id for item in chosen for image in item.images for layer in store.layers_of(image)}
    with store.hold(layers), opened(output) as sink:
        packer = Packer(store, worker, compression or Compression(kind="uncompressed"))
        _write(store, packer, TarLayout(sink, output), chosen, docker=True)
    return tuple(dict.fromkeys(image for item in chosen for image in item.images))


def save_layout(
    store: Store,
    worker: LayerWorker,
    refs: Sequence[str],
    directory: str,
    *,
    platforms: Sequence[Platform] = (),
    compression: Compression | None = None,
) -> None:
    """Write images into a directory in OCI image layout; what it has already stays.

    Args:
        store: where the images are.
        worker: renders the layers that were made here.
        refs: see :func:`save`.
        directory: made if need be.
        platforms: see :func:`save`.
        compression: of the layers that were made here; gzip by default.

    Raises:
        InvalidInput: it cannot be written, or is something else than a layout. For the rest see :func:`save`.
    """
    chosen = _choose(store, refs, platforms)
    layers = {layer.diff_id for item in chosen for image in item.images for layer in store.layers_of(image)}
    with store.hold(layers):
        packer = Packer(store, worker, compression or Compression(kind="gzip"))
        _write(store, packer, DirectoryLayout(directory), chosen, docker=False)


def _choose(store: Store, refs: Sequence[str], platforms: Sequence[Platform]) -> list[_Chosen]:
    found: dict[tuple[Digest, ...], _Chosen] = {}
    for text in refs:
        for image, tag in _meant(store, text):
            images = _for_platforms(store, image, tag, text, platforms)
            item = found.setdefault(images, _Chosen(images))
            if tag is not None and tag not in item.tags:
                item.tags.append(tag)
    for item in found.values():
        item.tags.sort()
    return list(found.values())


def _for_platforms(
    store: Store, image: Digest, tag: ImageRef | None, text: str, platforms: Sequence[Platform]
) -> tuple[Digest, ...]:
    if not platforms:
        return (image,)
    images = []
    for platform in platforms:
        try:
            # also one that is beside the image of this host
            images.append(store.for_platform(tag or ImageRef.parse(text), platform))
        except (ImageNotFound, InvalidReference) as problem:
            made_for = platform_of(store.config(image))
            if tag is None and made_for in platform.acceptable():
                images.append(image)
                continue
            raise ImageNotFound(
                f"no suitable export target found for platform {platform}: {text} is here for {made_for}",
                hint=f"pull --platform {platform} {text}, or leave --platform out",
            ) from problem
    return tuple(dict.fromkeys(images))


def platform_of(config: ImageConfig) -> Platform:
    """The platform that a configuration names."""
    return Platform.of(config.os, config.architecture, config.variant)


def _meant(store: Store, text: str) -> Iterator[tuple[Digest, ImageRef | None]]:
    try:
        ref = ImageRef.parse(text)
    except InvalidReference:
        yield store.resolve(text), None
        return
    bare = ref.digest is None and ":" not in text.rpartition("/")[2]
    tags = [
        (row.id, ref.with_tag(row.tag))
        for row in store.image_rows(reference=ref.familiar_name)
        if row.repository == ref.familiar_name and row.tag != "<none>" and (bare or row.tag == ref.tag)
    ]
    if tags and ref.digest is None:
        yield from tags
    else:
        yield store.resolve(text), None


def _write(store: Store, packer: Packer, layout: Layout, chosen: Sequence[_Chosen], *, docker: bool) -> None:
    index: list[Descriptor] = []
    items: list[dict[str, object]] = []
    for item in chosen:
        images = [_finished(store, image) for image in item.images]
        notes = tuple(dict.fromkeys(note for image in item.images for note in store.extras(image).annotations))
        written = write_images(layout, packer, images, names=item.tags, annotations=notes)
        index += named_descriptors(written.descriptor, item.tags, None)
        host = [number for number, image in enumerate(images) if image.platform in Platform.host().acceptable()]
        shown = host[0] if host else 0
        items.append(docker_item(item.images[shown], item.tags, written.layers[shown]))
    # docker reads no directories, and what one has already is not in this list
    layout.finish(tuple(index), {"manifest.json": to_json(items) + b"\n"} if docker else None)


def _finished(store: Store, image: Digest) -> FinishedImage:
    config = store.config(image)
    return FinishedImage(
        config=store.config_bytes(image),
        layers=store.layers_of(image),
        platform=Platform(config.os or "linux", config.architecture, config.variant or None),
        statements=store.extras(image).statements,
    )


def docker_item(config: Digest, names: Sequence[ImageRef], layers: Sequence[Digest]) -> dict[str, object]:
    """One image in docker's ``manifest.json``."""
    return {
        "Config": blob_name(config),
        "RepoTags": [name.familiar for name in names] or None,
        "Layers": [blob_name(layer) for layer in layers],
    }
