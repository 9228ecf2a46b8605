"""Writing an image archive as ``docker save`` does since 25.0: an OCI image layout with docker's ``manifest.json``.

The same images under the same names give the same bytes: entries are in a fixed order, times are 0, owners are 0:0.
Annotations and attestations of a build travel along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from contextkernel.errors import InvalidInput, InvalidReference
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor
from contextkernel.model.outputs import Compression
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import ImageRef
from contextkernel.store.layout import Layout, TarLayout, blob_name
from contextkernel.store.manifests import FinishedImage, named_descriptors, write_images
from contextkernel.store.outfile import opened
from contextkernel.store.packing import Packer
from contextkernel.store.store import Store


class _Chosen(msgspec.Struct):
    """An image to save, and the tags to save it under."""

    image: Digest
    tags: list[ImageRef] = msgspec.field(default_factory=list)


def save(store: Store, worker: LayerWorker, refs: Sequence[str], output: str | int) -> None:
    """Write images to one archive; docker, podman, skopeo and :func:`load` read it.

    Args:
        store: where the images are.
        worker: renders the layers that were made here.
        refs: tags, ids or bare names; a name without a tag stands for all tags of the repository.
        output: a path, which appears complete or not at all; or an open descriptor, which stays open.

    Raises:
        ImageNotFound, InvalidReference: see ``Store.resolve``. InvalidInput: the output cannot be written.
        StoreProblem: a layer in the store is damaged.
    """
    chosen = _choose(store, refs)
    if not chosen:
        raise InvalidInput("no image to save", hint="name at least one image")
    layers = {layer.diff_id for item in chosen for layer in store.layers_of(item.image)}
    with store.hold(layers), opened(output) as sink:
        _write(store, worker, TarLayout(sink, output), chosen)


def _choose(store: Store, refs: Sequence[str]) -> list[_Chosen]:
    found: dict[Digest, _Chosen] = {}
    for text in refs:
        for image, tag in _meant(store, text):
            item = found.setdefault(image, _Chosen(image))
            if tag is not None and tag not in item.tags:
                item.tags.append(tag)
    for item in found.values():
        item.tags.sort()
    return list(found.values())


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


def _write(store: Store, worker: LayerWorker, layout: Layout, chosen: Sequence[_Chosen]) -> None:
    packer = Packer(store, worker, Compression(kind="uncompressed"))
    index: list[Descriptor] = []
    docker: list[dict[str, object]] = []
    for item in chosen:
        config, extras = store.config(item.image), store.extras(item.image)
        image = FinishedImage(
            config=store.config_bytes(item.image),
            layers=store.layers_of(item.image),
            platform=Platform(config.os or "linux", config.architecture, config.variant or None),
            statements=extras.statements,
        )
        written = write_images(layout, packer, [image], names=item.tags, annotations=extras.annotations)
        index += named_descriptors(written.descriptor, item.tags, None)
        docker.append(docker_item(item.image, item.tags, written.layers[0]))
    layout.finish(tuple(index), {"manifest.json": to_json(docker) + b"\n"})


def docker_item(config: Digest, names: Sequence[ImageRef], layers: Sequence[Digest]) -> dict[str, object]:
    """One image in docker's ``manifest.json``."""
    return {
        "Config": blob_name(config),
        "RepoTags": [name.familiar for name in names] or None,
        "Layers": [blob_name(layer) for layer in layers],
    }
