"""Image indexes put together from images that a registry has. Pure.

Source of the rules: buildx, ``util/imagetools/create.go`` (0.29): which media type comes out, when a source is taken as
it is, and which platforms stay. Documents are written as Go's MarshalIndent writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from contextkernel.errors import ImageNotFound, InvalidInput
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import (
    MEDIA_DOCKER_LIST,
    MEDIA_INDEX,
    MEDIA_INDEXES,
    REFERENCE_DIGEST,
    REFERENCE_TYPE,
    Descriptor,
    Index,
    PlatformField,
)
from contextkernel.model.outputs import Annotation
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

_DOCKER = "application/vnd.docker."


class ImageSource(msgspec.Struct, frozen=True):
    """An image or index that something is put together from.

    Attributes:
        reference: where it is.
        descriptor: of its document; an image's has its platform.
        document: byte for byte.
    """

    reference: ImageRef
    descriptor: Descriptor
    document: bytes


class SourcedManifest(msgspec.Struct, frozen=True):
    """A manifest of the result, and the repository that has it."""

    descriptor: Descriptor
    source: ImageRef


class Assembled(msgspec.Struct, frozen=True):
    """What was put together.

    Attributes:
        descriptor: of the document.
        document: an index, or the one source as it was.
        manifests: what must be in the repository before the document is; the document itself where it is no index.
        notes: what was asked for and is not in it, and why.
    """

    descriptor: Descriptor
    document: bytes
    manifests: tuple[SourcedManifest, ...]
    notes: tuple[str, ...] = ()


def platform_of(descriptor: Descriptor) -> Platform | None:
    """The platform that an entry of an index is for; ``None`` if it names none, or is an attestation."""
    named = descriptor.platform
    if named is None or not named.os or not named.architecture or named.os == "unknown":
        return None
    return platform_named(named)


def platform_named(field: PlatformField) -> Platform | None:
    """A platform that a document names; ``None`` for what cannot be one. Empty parts are linux, amd64."""
    try:
        platform = Platform.of(field.os, field.architecture, field.variant)
    except InvalidInput:
        return None
    return platform if str(platform).isprintable() else None


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether an entry of an index is about another entry, as BuildKit's attestations are."""
    return REFERENCE_TYPE in (descriptor.annotations or {})


def choose(index: Index, platform: Platform) -> Descriptor:
    """The entry of an index that a machine of this platform takes.

    Raises:
        ImageNotFound: there is none; the hint lists those there are.
    """
    entries = [(has, one) for one in index.manifests if (has := platform_of(one)) and not is_attestation(one)]
    for wanted in platform.acceptable():
        for has, entry in entries:
            if has == wanted:
                return entry
    for has, entry in entries:
        if platform.takes(has):
            return entry
    for entry in index.manifests:  # some tools write no platforms: the image itself says what it is for
        if entry.platform is None and not is_attestation(entry):
            return entry
    offered = ", ".join(dict.fromkeys(str(has) for has, _ in entries))
    raise ImageNotFound(f"no image for {platform}", hint=f"the registry offers {offered or 'none'}")


def combine(
    sources: Sequence[ImageSource], annotations: Iterable[Annotation] = (), *, prefer_index: bool = True
) -> Assembled:
    """Put images and indexes together into one index.

    Args:
        sources: in order; entries of an index take its place. Of two entries with one digest there is one in the
            result, with the platform of the later one and the annotations of both.
        annotations: for the index, and for descriptors in it.
        prefer_index: an index even for a single image; else that image as it is.

    Raises:
        InvalidInput: no source, or annotations of documents that are not made here.
    """
    if not sources:
        raise InvalidInput("no sources specified", hint="name at least one image")
    asked = tuple(annotations)
    first = sources[0]
    if len(sources) == 1 and not asked:
        if first.descriptor.media_type in MEDIA_INDEXES:
            return _copy(first)
        if not prefer_index:
            return Assembled(first.descriptor, first.document, (SourcedManifest(first.descriptor, first.reference),))
    found: dict[Digest, Descriptor] = {}
    where: dict[Digest, ImageRef] = {}
    for source in sources:
        is_index = source.descriptor.media_type in MEDIA_INDEXES
        for entry in _index(source.document).manifests if is_index else (source.descriptor,):
            known = found.get(entry.digest)
            found[entry.digest] = entry if known is None else _merged(known, entry)
            where[entry.digest] = source.reference
    entries = tuple(found.values())
    docker = all(one.media_type.startswith(_DOCKER) for one in entries)
    notes: tuple[str, ...] = ()
    on_index: dict[str, str] = {}
    if docker and asked:
        notes = (
            "annotations were left out: all manifests are docker's, and docker's manifest list has no annotations",
        )
    elif asked:
        on_index, entries = _annotated(entries, asked)
    return _written(
        Index(
            schema_version=2,
            media_type=MEDIA_DOCKER_LIST if docker else MEDIA_INDEX,
            manifests=entries,
            annotations=dict(sorted(on_index.items())) or None,
        ),
        where,
        notes,
    )


def select(assembled: Assembled, platforms: Sequence[Platform]) -> Assembled:
    """Keep only the images of these platforms, with their attestations.

    Args:
        assembled: an index; or one image, which must be of one of the platforms.
        platforms: none for all.

    Raises:
        InvalidInput: nothing would be left.
    """
    if not platforms:
        return assembled
    shown = ", ".join(map(str, platforms))
    if assembled.descriptor.media_type not in MEDIA_INDEXES:
        has = platform_of(assembled.descriptor)
        if has in platforms:
            return assembled
        raise InvalidInput(f"the image is for {has or 'an unknown platform'}, not for {shown}")
    index = _index(assembled.document)
    fitting = {one.digest for one in index.manifests if one.platform is None or platform_of(one) in platforms}
    kept = tuple(one for one in index.manifests if one.digest in fitting or _subject(one) in fitting)
    if not kept:
        offered = ", ".join(str(has) for one in index.manifests if (has := platform_of(one)))
        raise InvalidInput(
            f"none of the manifests match the provided platforms: {shown}", hint=f"there are {offered or 'none'}"
        )
    if len(kept) == len(index.manifests):
        return assembled
    where = {one.descriptor.digest: one.source for one in assembled.manifests}
    return _written(msgspec.structs.replace(index, manifests=kept), where, assembled.notes)


def _copy(source: ImageSource) -> Assembled:
    entries = _index(source.document).manifests
    manifests = tuple(SourcedManifest(entry, source.reference) for entry in entries)
    return Assembled(source.descriptor, source.document, manifests)


def _written(index: Index, where: Mapping[Digest, ImageRef], notes: tuple[str, ...]) -> Assembled:
    document = msgspec.json.format(to_json(index), indent=2)
    descriptor = Descriptor(index.media_type or MEDIA_INDEX, Digest.of(document), len(document))
    manifests = tuple(SourcedManifest(entry, where[entry.digest]) for entry in index.manifests)
    return Assembled(descriptor, document, manifests, notes)


def _index(document: bytes) -> Index:
    try:
        return from_json(document, Index)
    except (msgspec.DecodeError, InvalidInput) as problem:
        raise InvalidInput(f"not an image index: {problem}") from None


def _merged(known: Descriptor, later: Descriptor) -> Descriptor:
    notes = {**(known.annotations or {}), **(later.annotations or {})}
    return msgspec.structs.replace(
        known,
        media_type=known.media_type or later.media_type,
        platform=later.platform or known.platform,
        annotations=dict(sorted(notes.items())) or None,
    )


def _annotated(
    entries: tuple[Descriptor, ...], annotations: Sequence[Annotation]
) -> tuple[dict[str, str], tuple[Descriptor, ...]]:
    """The index' own annotations, and its entries with theirs."""
    on_index: dict[str, str] = {}
    extra: list[dict[str, str]] = [dict(one.annotations or {}) for one in entries]
    for annotation in annotations:
        if annotation.level == "index":
            on_index[annotation.key] = annotation.value
        elif annotation.level == "manifest-descriptor":
            for entry, notes in zip(entries, extra, strict=True):
                if annotation.platform is None or platform_of(entry) == annotation.platform:
                    notes[annotation.key] = annotation.value
        else:
            raise InvalidInput(
                f"an annotation of the {annotation.level} cannot be set here: {annotation.key}",
                hint="images are taken as they are; use index:KEY=VALUE or manifest-descriptor[PLATFORM]:KEY=VALUE",
            )
    return on_index, tuple(
        msgspec.structs.replace(entry, annotations=dict(sorted(notes.items())) or None)
        for entry, notes in zip(entries, extra, strict=True)
    )


def _subject(descriptor: Descriptor) -> str | None:
    return (descriptor.annotations or {}).get(REFERENCE_DIGEST)
