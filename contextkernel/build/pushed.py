"""What ``--push`` does: finished images go to the registries that their names say (BuildKit's image exporter)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from contextkernel.errors import InvalidInput, RegistryProblem
from contextkernel.model import oci
from contextkernel.model.digest import Digest
from contextkernel.model.outputs import Annotation, ImageOutput
from contextkernel.model.reference import ImageRef
from contextkernel.store.crew import Crew
from contextkernel.store.manifests import FinishedImage, WrittenImages, indented, write_images
from contextkernel.store.packing import Packer

if TYPE_CHECKING:
    from contextkernel.build.ports import BuildStore
    from contextkernel.model.ports import LayerWorker, Reporter

_AT_ONCE = 5  # layers, as push


def names_to_push(output: ImageOutput, tags: Sequence[ImageRef]) -> tuple[ImageRef, ...]:
    """The names that an image is pushed under.

    Args:
        output: whose names count with those of the build.
        tags: of the build.

    Raises:
        InvalidInput: there is none; or one has a tag, and the image is to be had by its digest alone.
    """
    names = tuple(dict.fromkeys((*tags, *output.names)))
    if not names:
        raise InvalidInput("tag is needed when pushing to registry", hint="name it: -t HOST/REPOSITORY:TAG")
    for name in names:
        if name.digest is not None:
            raise InvalidInput(f"cannot push to {name.familiar}: a digest comes of the content", hint="leave it out")
        if output.by_digest and name.tag != "latest":
            raise InvalidInput(
                f"can't push tagged ref {name.familiar} by digest", hint="give the name without a tag: name=REPOSITORY"
            )
    return names


def push_images(
    store: BuildStore,
    worker: LayerWorker,
    output: ImageOutput,
    images: Sequence[FinishedImage],
    tags: Sequence[ImageRef],
    annotations: Sequence[Annotation],
    *,
    note: Callable[[str], None],
    report: Reporter,
    step: int,
) -> dict[str, Any]:
    """Push finished images, several as one index, under all their names.

    Args:
        store: has the layers.
        worker: renders them.
        output: what is asked for.
        images: one, or one for each platform.
        tags: of the build.
        annotations: of the build and the output.
        note: is told what is done.
        report: gets ``LayerProgress``.
        step: number in the events.

    Returns:
        Docker's metadata.

    Raises:
        RegistryProblem: a registry refused, or cannot be reached; other names may be there.
    """
    from contextkernel.registry import repositories
    from contextkernel.registry.push_layout import RegistryLayout, canceler

    names = names_to_push(output, tags)
    groups: dict[tuple[str, str], list[ImageRef]] = {}
    for name in names:
        groups.setdefault((name.registry, name.repository), []).append(name)
    written: WrittenImages | None = None
    for (registry, path), group in groups.items():
        try:
            repository = repositories(registry, path, access="pull,push")[-1]
            crew = Crew(_AT_ONCE, report, canceler(worker, repository))
            layout = RegistryLayout(repository, store.distribution, crew.tell, step=step)
            note(f"pushing layers to {registry}/{path}")
            written = write_images(
                layout,
                Packer(store, worker, output.form.compression),
                images,
                names=names,
                annotations=annotations,
                oci_types=output.form.oci_types,
                oci_artifact=output.form.oci_artifact,
                crew=crew,
            )
            shown = group[0].name if output.by_digest else ", ".join(str(name) for name in group)
            note(f"pushing manifest for {shown}@{written.descriptor.digest}")
            layout.publish(written.descriptor, [] if output.by_digest else [name.tag or "latest" for name in group])
        except RegistryProblem as problem:
            problem.problem = f"failed to push {group[0].familiar}: {problem.problem}"
            raise
        for manifest, image in zip(written.manifests, images, strict=True):
            document = next(data for media, data in layout.documents() if Digest.of(data) == manifest.digest)
            store.distribution.remember_manifest(Digest.of(image.config), manifest.media_type, document)
    assert written is not None  # noqa: S101 # there is a name
    bare = oci.Descriptor(written.descriptor.media_type, written.descriptor.digest, written.descriptor.size)
    found: dict[str, Any] = {
        "containerimage.descriptor": msgspec.json.decode(indented(bare)),
        "containerimage.digest": str(bare.digest),
        "image.name": ",".join(name.name if output.by_digest else str(name) for name in names),
    }
    if bare.digest == written.manifests[0].digest:
        found["containerimage.config.digest"] = str(Digest.of(images[0].config))
    return found


def pushed_names(output: ImageOutput, tags: Sequence[ImageRef], metadata: dict[str, Any]) -> tuple[ImageRef, ...]:
    """``NAME@DIGEST`` for what was pushed: repository digests of the image in the store."""
    digest = Digest(metadata["containerimage.digest"])
    names = names_to_push(output, tags)
    return tuple(dict.fromkeys(ImageRef(name.registry, name.repository, None, digest) for name in names))
