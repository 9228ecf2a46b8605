"""Looking at images where they are: documents of a registry, read and verified, without pulling.

Every manifest that is asked for by ``GET`` may count as a pull with a registry that limits those, so nothing is
fetched that was not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from contextkernel.errors import (
    ImageNotFound,
    InvalidInput,
    RegistryRefused,
    SizeMismatch,
)
from contextkernel.model.codec import from_json
from contextkernel.model.indexes import ImageSource, choose, is_attestation, platform_named, platform_of
from contextkernel.model.oci import (
    MEDIA_INDEX,
    MEDIA_INDEXES,
    MEDIA_MANIFEST,
    MEDIA_MANIFESTS,
    Descriptor,
    Index,
    Manifest,
    PlatformField,
)
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.remote import RemoteImage, RemoteManifest, about
from contextkernel.registry.documents import CONFIGS, MAX_CONFIG, decode, kind_of, read_document, verify
from contextkernel.registry.mirrors import first_answer
from contextkernel.store.crew import Crew

if TYPE_CHECKING:
    from contextkernel.registry.client import Repository
    from contextkernel.registry.settings import Access, Endpoint

T = TypeVar("T")
_AT_ONCE = 4
_KNOWN = (*MEDIA_INDEXES, *MEDIA_MANIFESTS)
_MAX_IMAGES = 100  # of one index that are looked at


Find = Callable[[ImageRef, "Access"], Sequence["Repository"]]
"""The repositories to try for a name, mirrors first; the last one is the registry's own."""


class RemoteReader:
    """Reads documents of one name.

    Args:
        find: knows the repositories.
        reference: the name.

    Attributes:
        repositories: those that are asked, mirrors first.
    """

    def __init__(self, find: Find, reference: ImageRef) -> None:
        self.reference = reference
        self.repositories = find(reference, "pull")

    def document(self, which: str) -> tuple[Descriptor, bytes]:
        """A manifest or index.

        Args:
            which: tag or digest.

        Returns:
            Its descriptor, and its bytes.

        Raises:
            ImageNotFound, RegistryRefused, RegistryUnreachable: see there. DigestMismatch: other bytes than asked for.
        """
        media, data = self._first(lambda repository: repository.manifest(which))
        digest = verify(data, which)
        return Descriptor(media_of(media, data, f"{self.reference.name}:{which}"), digest, len(data)), data

    def top(self) -> tuple[Descriptor, bytes]:
        """The document that the name stands for."""
        return self.document(str(self.reference.digest or self.reference.tag))

    def small_blob(self, descriptor: Descriptor) -> bytes:
        """A blob that is a document, verified.

        Raises:
            RegistryRefused: larger than any such document. DigestMismatch, SizeMismatch: not what was promised.
        """
        if descriptor.size > MAX_CONFIG:
            raise RegistryRefused(
                f"{self.reference.name}: document {descriptor.digest} is larger than {MAX_CONFIG} bytes"
            )

        def read(repository: Repository) -> bytes:
            parts: list[bytes] = []
            left = descriptor.size + 1
            with repository.blob(descriptor.digest) as stream:
                while left and (part := stream.read(left)):
                    parts.append(part)
                    left -= len(part)
            return b"".join(parts)

        data = self._first(read)
        if len(data) != descriptor.size:
            found = f"more than {descriptor.size}" if len(data) > descriptor.size else str(len(data))
            raise SizeMismatch(f"blob {descriptor.digest} has {found} bytes instead of {descriptor.size}")
        verify(data, descriptor.digest)
        return data

    def abort(self) -> None:
        """From any thread: nothing more is asked; see :meth:`Repository.abort`."""
        for repository in self.repositories:
            repository.abort()

    def _first(self, ask: Callable[[Repository], T]) -> T:
        return first_answer(self.repositories, ask)


def look(
    find: Find,
    reference: ImageRef,
    *,
    platform: Platform | None = None,
    every: bool = False,
    configs: bool = True,
) -> RemoteImage:
    """What a registry has under a name.

    Args:
        find: knows the repositories.
        reference: the name.
        platform: of an index, the one image to look at; default the one this machine takes.
        every: all images of an index instead.
        configs: read the images' configurations too: history, times, labels.

    Returns:
        The index with the images that were asked for, or the one image.

    Raises:
        ImageNotFound: no such name, or no image for the platform. RegistryRefused: a document that is no image's.
    """
    reader = RemoteReader(find, reference)
    descriptor, data = reader.top()
    if descriptor.media_type not in MEDIA_INDEXES:
        read_document(descriptor.media_type, data, reference.familiar)  # an artifact is named as what it is
        one = _image(reader, descriptor, data, configs=configs)
        if platform is not None and one.platform is not None and one.platform not in platform.acceptable():
            raise ImageNotFound(
                f"no image for {platform} in {reference.familiar}", hint=f"it is one image, for {one.platform}"
            )
        return RemoteImage(
            reference=reference,
            descriptor=descriptor,
            document=data,
            is_index=False,
            manifests=(one,),
            host=Platform.host(),
        )
    index = decode(data, Index, f"the registry sent an invalid index of {reference.familiar}")
    entries = [entry for entry in index.manifests if not is_attestation(entry)]
    wanted = entries[:_MAX_IMAGES] if every else [choose(index, platform or Platform.host())]

    def read(entry: Descriptor) -> RemoteManifest | None:
        if entry.media_type not in MEDIA_MANIFESTS:
            return None  # an index within an index, or something that is no image
        found, document = reader.document(entry.digest)
        full = msgspec.structs.replace(entry, media_type=found.media_type, size=found.size)
        one = _image(reader, full, document, configs=configs)
        return one if one.manifest.config.media_type in CONFIGS else None

    crew = Crew(_AT_ONCE, cancel=lambda _thread: reader.abort())
    images = [one for one in crew.run(read, wanted) if one is not None]
    looked_at = {one.descriptor.digest for one in images}
    return RemoteImage(
        reference=reference,
        descriptor=descriptor,
        document=data,
        is_index=True,
        manifests=tuple(images),
        attestations={whose: one for one in index.manifests if is_attestation(one) and (whose := about(one))},
        others=tuple(one for one in entries if one.digest not in looked_at),
        host=Platform.host(),
    )


def listed_platforms(find: Find, reference: ImageRef) -> tuple[str, ...]:
    """The platforms of a name, from its index alone: one request, or two where there is no index."""
    reader = RemoteReader(find, reference)
    descriptor, data = reader.top()
    if descriptor.media_type not in MEDIA_INDEXES:
        return (str(_image(reader, descriptor, data, configs=True).platform or "unknown"),)
    index = decode(data, Index, f"the registry sent an invalid index of {reference.familiar}")
    return tuple(str(platform_of(entry) or "unknown") for entry in index.manifests if not is_attestation(entry))


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    """What a document says it is."""

    schema_version: int | None = None
    media_type: str | None = None
    manifests: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    config: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


def source_of(find: Find, reference: ImageRef, given: Descriptor | None = None) -> ImageSource:
    """An image or index to put something together from; an image's platform is that of its configuration.

    Args:
        find: knows the repositories.
        reference: where it is.
        given: what the user says of it: annotations, a platform; its digest is the reference's.

    Raises:
        InvalidInput: its size is not the one given.
    """
    reader = RemoteReader(find, reference)
    descriptor, data = reader.top()
    if given is not None:
        if given.size and given.size != descriptor.size:
            raise InvalidInput(f"{descriptor.digest} has {descriptor.size} bytes, not {given.size}")
        descriptor = msgspec.structs.replace(
            descriptor,
            media_type=given.media_type or descriptor.media_type,
            annotations=given.annotations,
            platform=given.platform,
        )
    named = descriptor.platform
    if descriptor.media_type in MEDIA_MANIFESTS and (named is None or not named.os or not named.architecture):
        manifest = decode(data, Manifest, f"the registry sent an invalid manifest of {reference.familiar}")
        found = config_platform(reader.small_blob(manifest.config))
        if found is not None and (has := platform_named(found)):
            found = msgspec.structs.replace(
                found, os=has.os, architecture=has.architecture, variant=has.variant, os_version=None, os_features=None
            )
            descriptor = msgspec.structs.replace(descriptor, platform=found)
    return ImageSource(reference, descriptor, data)


def manifest_of(find: Find, reference: ImageRef) -> tuple[Descriptor, bytes, bytes]:
    """The document under a name, and the configuration of an image.

    Returns:
        Descriptor, document, configuration; that is empty for an index and for an artifact.

    Raises:
        ImageNotFound, RegistryProblem: the registry's answer.
    """
    reader = RemoteReader(find, reference)
    descriptor, data = reader.top()
    if descriptor.media_type in MEDIA_INDEXES:
        return descriptor, data, b""
    return descriptor, data, _image(reader, descriptor, data, configs=True).config


def finder(*, insecure: bool = False) -> Find:
    """Finds the repositories of a name, by this machine's settings.

    Args:
        insecure: certificates are not checked, and plain HTTP will do.
    """
    from contextkernel.registry.client import Repository, repositories
    from contextkernel.registry.settings import endpoints

    def find(reference: ImageRef, access: Access) -> Sequence[Repository]:
        registry, path, by_digest = reference.registry, reference.repository, reference.digest is not None
        if not insecure:
            return repositories(registry, path, access=access, by_digest=by_digest)
        places = endpoints(registry, path, access=access, by_digest=by_digest)
        return [Repository(_unchecked(place), registry, path, access=access) for place in places]

    return find


def _unchecked(place: Endpoint) -> Endpoint:
    """The same place, whoever answers there."""
    plain = f"http://{place.url.removeprefix('https://')}" if place.url.startswith("https://") else place.other
    return msgspec.structs.replace(place, verify=False, other=plain)


def media_of(media: str, data: bytes, shown: str) -> str:
    """The media type of a manifest or index, from what the registry says, or else from what the document is.

    Args:
        media: what the registry said.
        data: the document.
        shown: its name, for messages.

    Raises:
        RegistryRefused: it is neither; says what it is.
    """
    if media in _KNOWN:
        return media
    document = decode(data, _Head, f"the registry sent an invalid manifest of {shown}")
    if document.media_type in _KNOWN:
        return str(document.media_type)
    if document.schema_version == 2 and document.manifests:
        return MEDIA_INDEX
    if document.schema_version == 2 and document.config:
        return MEDIA_MANIFEST
    kind = "an image of Docker's old kind, schema 1" if document.schema_version == 1 else kind_of(media)
    raise RegistryRefused(f"{shown} is {kind}, not an image ({media or 'no media type'})")


def config_platform(config: bytes) -> PlatformField | None:
    """The platform in an image's configuration; ``None`` if it has none."""
    try:
        return from_json(config, PlatformField)
    except (msgspec.DecodeError, InvalidInput):
        return None


def _image(reader: RemoteReader, descriptor: Descriptor, data: bytes, *, configs: bool) -> RemoteManifest:
    shown = f"{reader.reference.name}@{descriptor.digest}"
    manifest = decode(data, Manifest, f"the registry sent an invalid manifest of {shown}")
    config = b""
    if configs and manifest.config.media_type in CONFIGS:
        config = reader.small_blob(manifest.config)
    platform = platform_of(descriptor)
    if platform is None and config and (named := config_platform(config)):
        platform = platform_named(named)
    return RemoteManifest(descriptor=descriptor, platform=platform, manifest=manifest, document=data, config=config)


_SLSA = ("https://slsa.dev/provenance/",)
_SPDX = ("https://spdx.dev/Document",)


def statements(find: Find, reference: ImageRef) -> dict[str, dict[str, Any]]:
    """The in-toto statements about the images of an index.

    Returns:
        By platform: ``SLSA`` and ``SPDX`` with the predicate of such a statement.

    Raises:
        ImageNotFound, RegistryProblem: the registry's answer. RegistryRefused: a statement that is none.
    """
    reader = RemoteReader(find, reference)
    descriptor, data = reader.top()
    if descriptor.media_type not in MEDIA_INDEXES:
        return {}
    index = decode(data, Index, f"the registry sent an invalid index of {reference.familiar}")
    platforms = {entry.digest: platform_of(entry) for entry in index.manifests}
    found: dict[str, dict[str, Any]] = {}
    for entry in index.manifests:
        subject = about(entry)
        platform = platforms.get(subject) if subject and is_attestation(entry) else None
        if platform is None:
            continue
        _, document = reader.document(entry.digest)
        for layer in decode(document, Manifest, "the registry sent an invalid attestation").layers:
            kind = (layer.annotations or {}).get("in-toto.io/predicate-type", "")
            for name, starts in (("SLSA", _SLSA), ("SPDX", _SPDX)):
                if kind.startswith(starts):
                    statement = decode(reader.small_blob(layer), _Statement, "the registry sent an invalid statement")
                    found.setdefault(str(platform), {})[name] = statement.predicate
    return found


class _Statement(msgspec.Struct, frozen=True):
    """An in-toto statement, as far as it is of interest."""

    predicate: dict[str, Any] = {}
