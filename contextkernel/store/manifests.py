"""Finished images as manifests, indexes and attestations in an image layout.

Source of the rules: BuildKit's ``exporter/containerimage/writer.go`` and ``docs/attestations/attestation-storage.md``;
documents are written with two spaces of indent, as Go's MarshalIndent does.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from urllib.parse import quote

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Layer
from contextkernel.model.oci import (
    ATTESTATION_ARTIFACT,
    MEDIA_CONFIG,
    MEDIA_DOCKER_CONFIG,
    MEDIA_DOCKER_LIST,
    MEDIA_DOCKER_MANIFEST,
    MEDIA_EMPTY,
    MEDIA_IN_TOTO,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    REFERENCE_DIGEST,
    REFERENCE_TYPE,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    PlatformField,
    RootFS,
)
from contextkernel.model.outputs import Annotation, Statement, chosen_annotations
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.store.crew import Crew, Turns, processors
from contextkernel.store.layout import Layout
from contextkernel.store.packing import Packer

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
_PREDICATE_TYPE = "in-toto.io/predicate-type"
_STATEMENT = "https://in-toto.io/Statement/v1"
_UNKNOWN = PlatformField("unknown", "unknown")
_EMPTY = b"{}"


class FinishedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is written out.

    Attributes:
        config: the configuration document.
        layers: base first.
        platform: that it is for.
        statements: its attestations.
    """

    config: bytes
    layers: tuple[Layer, ...]
    platform: Platform
    statements: tuple[Statement, ...] = ()


class WrittenImages(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        descriptor: of the manifest, or of the index if there is one.
        manifests: of the images' own manifests, in order.
        layers: digests of the layer blobs of each image.
    """

    descriptor: Descriptor
    manifests: tuple[Descriptor, ...]
    layers: tuple[tuple[Digest, ...], ...]


def write_images(
    layout: Layout,
    packer: Packer,
    images: Sequence[FinishedImage],
    *,
    names: Sequence[ImageRef] = (),
    annotations: Sequence[Annotation] = (),
    oci_types: bool = True,
    oci_artifact: bool = True,
    index: bool = False,
    crew: Crew | None = None,
) -> WrittenImages:
    """Write all blobs of images into a layout; its own index is the caller's to write.

    Args:
        layout: to write to.
        packer: makes blobs of layers.
        images: one, or one for each platform.
        names: of the images, for the subjects of attestations.
        annotations: for the documents they name.
        oci_types: media types of OCI; else docker's.
        oci_artifact: attestations as artifacts with a subject; else as images.
        index: even for one image without attestations.
        crew: packs and writes layers; by default as many at a time as there are processors.

    Returns:
        Descriptors; with several images, or with attestations, of an index.

    Raises:
        InvalidInput: annotations of an index that there is not.
        DigestMismatch, StoreProblem: a layer in the store is damaged.
    """
    writer = _Writer(layout, names, annotations, oci_types=oci_types, oci_artifact=oci_artifact)
    needs_index = index or len(images) > 1 or any(image.statements for image in images)
    for level in ("index", "index-descriptor"):
        if not needs_index and any(one.level == level for one in annotations):
            raise InvalidInput(
                "index annotations not supported for single platform export",
                hint="an index is made for several platforms and with --provenance or --sbom",
            )
    if not oci_types and any(image.statements for image in images):
        raise InvalidInput('cannot export attestations with "oci-mediatypes=false"')
    packed = writer.layers(packer, images, crew or Crew(processors(), cancel=packer.cancel))
    manifests = [writer.manifest(image, tuple(packed[layer.diff_id] for layer in image.layers)) for image in images]
    layers = tuple(tuple(packed[layer.diff_id].digest for layer in image.layers) for image in images)
    if not needs_index:
        return WrittenImages(descriptor=manifests[0], manifests=tuple(manifests), layers=layers)
    attested = [
        writer.attestations(image, manifest)
        for image, manifest in zip(images, manifests, strict=True)
        if image.statements
    ]
    top = writer.index((*manifests, *attested))
    return WrittenImages(descriptor=top, manifests=tuple(manifests), layers=layers)


class _Writer:
    def __init__(
        self,
        layout: Layout,
        names: Sequence[ImageRef],
        annotations: Sequence[Annotation],
        *,
        oci_types: bool,
        oci_artifact: bool,
    ) -> None:
        self._layout = layout
        self._names = names
        self._annotations = annotations
        self._oci = oci_types
        self._artifact = oci_artifact

    def layers(self, packer: Packer, images: Iterable[FinishedImage], crew: Crew) -> dict[Digest, Descriptor]:
        """Write the layers of all images, each once; as many as are worked on are on the disk a second time."""
        layers = list({layer.diff_id: layer for image in images for layer in image.layers}.values())
        turns = Turns(crew.check) if self._layout.ordered else None

        def write(place: int) -> Descriptor:
            layer = layers[place]
            found = self._layout.find(layer.diff_id, packer.forms(layer, oci=self._oci))
            if found is not None:
                return found
            packed = packer.pack(layer, oci=self._oci, check=crew.check)
            try:
                with turns.wait(place) if turns is not None else nullcontext(), packed.open() as source:
                    self._layout.layer(layer.diff_id, packed.descriptor, source)
            finally:
                packed.close()
            return packed.descriptor

        found = crew.run(write, range(len(layers)))
        return {layer.diff_id: descriptor for layer, descriptor in zip(layers, found, strict=True)}

    def manifest(self, image: FinishedImage, layers: tuple[Descriptor, ...]) -> Descriptor:
        """Write configuration and manifest of one image."""
        config = self._blob(MEDIA_CONFIG if self._oci else MEDIA_DOCKER_CONFIG, image.config)
        notes = chosen_annotations(self._annotations, "manifest", image.platform)
        document = Manifest(
            schema_version=2,
            media_type=MEDIA_MANIFEST if self._oci else MEDIA_DOCKER_MANIFEST,
            config=config,
            layers=layers,
            annotations=dict(notes) if notes else None,
        )
        above = chosen_annotations(self._annotations, "manifest-descriptor", image.platform)
        return self._document(document.media_type or "", document, above, platform_field(image.platform))

    def attestations(self, image: FinishedImage, subject: Descriptor) -> Descriptor:
        """Write the statements about one image, and their manifest."""
        blobs = []
        for statement in image.statements:
            data = statement_document(statement, [(purl(name, image.platform), subject.digest) for name in self._names])
            blob = self._blob(MEDIA_IN_TOTO, data)
            blobs.append(msgspec.structs.replace(blob, annotations={_PREDICATE_TYPE: statement.predicate_type}))
        bare = Descriptor(subject.media_type, subject.digest, subject.size)
        if self._artifact:
            empty = self._blob(MEDIA_EMPTY, _EMPTY)
            config = msgspec.structs.replace(empty, data=base64.b64encode(_EMPTY).decode())
        else:
            rootfs = RootFS("layers", tuple(blob.digest for blob in blobs))
            config = self._blob(MEDIA_CONFIG, to_json(ImageConfig(architecture="unknown", os="unknown", rootfs=rootfs)))
        document = Manifest(
            schema_version=2,
            media_type=MEDIA_MANIFEST,
            artifact_type=ATTESTATION_ARTIFACT if self._artifact else None,
            config=config,
            layers=tuple(blobs),
            subject=bare if self._artifact else None,
        )
        notes = {REFERENCE_DIGEST: str(subject.digest), REFERENCE_TYPE: "attestation-manifest"}
        return self._document(MEDIA_MANIFEST, document, notes, _UNKNOWN)

    def index(self, manifests: tuple[Descriptor, ...]) -> Descriptor:
        """Write the index of all of it."""
        media = MEDIA_INDEX if self._oci else MEDIA_DOCKER_LIST
        notes = chosen_annotations(self._annotations, "index")
        document = Index(
            schema_version=2, media_type=media, manifests=manifests, annotations=dict(notes) if notes else None
        )
        return self._document(media, document, chosen_annotations(self._annotations, "index-descriptor"), None)

    def _document(
        self, media: str, document: object, notes: Mapping[str, str] | None, platform: PlatformField | None
    ) -> Descriptor:
        data = indented(document)
        blob = Descriptor(media, Digest.of(data), len(data))
        self._layout.document(media, blob.digest, data)
        return msgspec.structs.replace(blob, annotations=dict(notes) if notes else None, platform=platform)

    def _blob(self, media: str, data: bytes) -> Descriptor:
        digest = Digest.of(data)
        self._layout.blob(digest, data)
        return Descriptor(media, digest, len(data))


def indented(document: object) -> bytes:
    """JSON with two spaces of indent."""
    return msgspec.json.format(to_json(document), indent=2)


def platform_field(platform: Platform) -> PlatformField:
    """As descriptors have it."""
    return PlatformField(platform.architecture, platform.os, variant=platform.variant)


def statement_document(statement: Statement, subjects: Sequence[tuple[str, Digest]]) -> bytes:
    """An in-toto statement (v1).

    Args:
        statement: what is stated.
        subjects: what it is stated of: name and digest.
    """
    return to_json(
        {
            "_type": _STATEMENT,
            "predicateType": statement.predicate_type,
            "subject": [{"name": name, "digest": {digest.algorithm: digest.hex}} for name, digest in subjects],
            "predicate": msgspec.Raw(statement.predicate),
        }
    )


def purl(ref: ImageRef, platform: Platform | None, kind: str = "docker") -> str:
    """The package URL of an image (package-url spec; BuildKit's ``util/purl``)."""
    namespace, _, name = ref.familiar_name.rpartition("/")
    text = f"pkg:{kind}/" + "".join(f"{quote(part, safe=':')}/" for part in namespace.split("/") if part)
    text += quote(name, safe="")
    if ref.tag:
        text += f"@{quote(ref.tag, safe=':')}"
    qualifiers = []
    if ref.digest:
        qualifiers.append(f"digest={quote(str(ref.digest), safe=':')}")
    if platform is not None:
        qualifiers.append(f"platform={quote(str(platform), safe='')}")
    return text + (f"?{'&'.join(qualifiers)}" if qualifiers else "")


def named_descriptors(descriptor: Descriptor, names: Sequence[ImageRef], created: str | None) -> tuple[Descriptor, ...]:
    """The entries of a layout's index: one for each name, or one without.

    Args:
        descriptor: of what is named.
        names: tags.
        created: RFC 3339, for ``org.opencontainers.image.created``; ``None`` for none.
    """
    notes = dict(descriptor.annotations or {})
    if created is not None:
        notes.setdefault("org.opencontainers.image.created", created)
    entries: list[dict[str, str]] = [{**notes, IMAGE_NAME: str(name), REF_NAME: name.tag or ""} for name in names]
    return tuple(
        msgspec.structs.replace(descriptor, annotations=dict(sorted(entry.items())) or None)
        for entry in entries or [notes]
    )
