"""What a registry says of an image, without the image being here: platforms, layers, history. Pure.

Sizes are those of the packed blobs, which is what a pull downloads; how large they are unpacked nobody knows before.
"""

from __future__ import annotations

from datetime import datetime, timezone

import msgspec

from contextkernel.errors import ImageNotFound, InvalidInput
from contextkernel.model.digest import Digest
from contextkernel.model.indexes import platform_of
from contextkernel.model.oci import REFERENCE_DIGEST, Descriptor, ImageConfig, Manifest
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

_NEVER = datetime(1, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - as the rest of this package writes it


class PlatformRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``image platforms``.

    Attributes:
        platform: e.g. ``linux/arm64``; ``unknown`` where the registry does not say.
        digest: of this platform's manifest.
        media_type: of that manifest.
        layers: how many.
        size: bytes of its layers, packed.
        shared: bytes of them that another platform of the index has too.
        created: of the image; ``None`` where it does not say.
        attested: provenance or an SBOM comes with it.
        chosen: this machine takes this one.
    """

    platform: str
    digest: Digest
    media_type: str
    layers: int
    size: int
    shared: int
    created: datetime | None
    attested: bool
    chosen: bool


class LayerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``image layers``, base first.

    Attributes:
        layer: its number, from 1.
        diff_id: of the unpacked tar; ``None`` where the configuration does not say.
        size: bytes unpacked; ``None`` of an image that is not here.
        download_size: bytes packed; ``None`` of a layer that no registry has given or got.
        digest: of the packed form; ``None`` as above.
        media_type: of the packed form; empty as above.
        created: when; ``None`` where the history does not say.
        created_by: the instruction.
    """

    layer: int
    diff_id: Digest | None
    size: int | None
    download_size: int | None
    digest: Digest | None
    media_type: str
    created: datetime | None
    created_by: str


class RemoteHistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``history --remote``, newest first; ``id`` is ``None`` where docker prints ``<missing>``.

    Attributes:
        size: bytes of the packed layer, 0 for a step without one.
    """

    id: Digest | None
    created: datetime
    created_by: str
    size: int
    comment: str


class RemoteManifest(msgspec.Struct, frozen=True, kw_only=True):
    """One image that a registry has.

    Attributes:
        descriptor: of its manifest.
        platform: that it is for; ``None`` where the registry does not say.
        manifest: the same, read.
        document: the same, byte for byte.
        config: its configuration, byte for byte; empty if there is none for an image (an artifact).
    """

    descriptor: Descriptor
    platform: Platform | None
    manifest: Manifest
    document: bytes
    config: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of its layers, packed."""
        return sum(layer.size for layer in self.manifest.layers)


class RemoteImage(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What a name stands for in a registry: an index with an image for each platform, or one image.

    In a notebook it is a picture of its platforms and their layers.

    Attributes:
        reference: the name.
        descriptor: of the document under that name.
        document: byte for byte.
        is_index: there is an index; without one there is one manifest.
        manifests: of the images that were asked for, in the order of the index.
        attestations: entries of the index about others, by the digest they are about.
        others: further entries of the index that were not asked for.
        host: the platform of this machine.
    """

    reference: ImageRef
    descriptor: Descriptor
    document: bytes
    is_index: bool
    manifests: tuple[RemoteManifest, ...]
    attestations: dict[Digest, Descriptor] = {}
    others: tuple[Descriptor, ...] = ()
    host: Platform

    def __repr__(self) -> str:
        kind = "index" if self.is_index else "image"
        platforms = ", ".join(str(one.platform or "unknown") for one in self.manifests)
        return f"<{self.reference.familiar}: {kind} {self.descriptor.digest.short}, {platforms or 'no images'}>"

    def chosen(self) -> RemoteManifest | None:
        """The image that this machine takes; ``None`` if none will do."""
        return _fitting(self.manifests, self.host) if self.is_index else self.manifests[0]

    def image(self, platform: Platform | str | None = None) -> RemoteManifest:
        """One of the images.

        Args:
            platform: which; default the one this machine takes.

        Raises:
            ImageNotFound: there is none; the hint lists those there are.
        """
        wanted = self.host if platform is None else Platform.parse(platform) if isinstance(platform, str) else platform
        if not self.is_index and platform is None:
            return self.manifests[0]
        found = _fitting(self.manifests, wanted)
        if found is None:
            listed = [*(one.platform for one in self.manifests), *(platform_of(one) for one in self.others)]
            offered = ", ".join(dict.fromkeys(str(one) for one in listed if one is not None))
            raise ImageNotFound(
                f"no image for {wanted} in {self.reference.familiar}",
                hint=f"the registry offers {offered or 'none'}; choose one with --platform",
            )
        return found

    def platforms(self) -> tuple[PlatformRow, ...]:
        """A row for each image."""
        seen: dict[Digest, int] = {}
        for one in self.manifests:
            for digest in {layer.digest for layer in one.manifest.layers}:
                seen[digest] = seen.get(digest, 0) + 1
        chosen = self.chosen()
        return tuple(
            PlatformRow(
                platform=str(one.platform or "unknown"),
                digest=one.descriptor.digest,
                media_type=one.descriptor.media_type,
                layers=len(one.manifest.layers),
                size=one.size,
                shared=sum(layer.size for layer in one.manifest.layers if seen[layer.digest] > 1),
                created=_created(one),
                attested=one.descriptor.digest in self.attestations,
                chosen=one is chosen,
            )
            for one in self.manifests
        )

    def layers(self, platform: Platform | str | None = None) -> tuple[LayerRow, ...]:
        """The layers of one image, base first; see :meth:`image`."""
        return self.layers_of(self.image(platform))

    def layers_of(self, one: RemoteManifest) -> tuple[LayerRow, ...]:
        """The layers of one of its images."""
        config = read_config(one)
        diff_ids = config.rootfs.diff_ids if config else ()
        steps = [step for step in config.history if not step.empty_layer] if config else []
        return tuple(
            LayerRow(
                layer=number,
                diff_id=diff_ids[number - 1] if number <= len(diff_ids) else None,
                size=None,
                download_size=layer.size,
                digest=layer.digest,
                media_type=layer.media_type,
                created=moment(steps[number - 1].created) if number <= len(steps) else None,
                created_by=steps[number - 1].created_by if number <= len(steps) else "",
            )
            for number, layer in enumerate(one.manifest.layers, 1)
        )

    def history(self, platform: Platform | str | None = None) -> tuple[RemoteHistoryRow, ...]:
        """The steps of one image, newest first; see :meth:`image`.

        Raises:
            InvalidInput: it has no configuration of an image.
        """
        one = self.image(platform)
        config = read_config(one)
        if config is None:
            raise InvalidInput(
                f"{self.reference.familiar} has no history: its configuration is a {one.manifest.config.media_type}",
                hint="it is an artifact, not an image",
            )
        sizes = iter(one.manifest.layers)
        rows = []
        for step in config.history:
            layer = None if step.empty_layer else next(sizes, None)
            rows.append(
                RemoteHistoryRow(
                    id=None,
                    created=moment(step.created) or _NEVER,
                    created_by=step.created_by,
                    size=layer.size if layer else 0,
                    comment=step.comment,
                )
            )
        if rows:
            rows[-1] = msgspec.structs.replace(rows[-1], id=one.manifest.config.digest)
        return tuple(reversed(rows))


def read_config(image: RemoteManifest) -> ImageConfig | None:
    """The configuration of an image; ``None`` if it has none of that kind.

    Raises:
        InvalidInput: it cannot be understood.
    """
    from contextkernel.model.codec import from_json

    if not image.config:
        return None
    try:
        return from_json(image.config, ImageConfig)
    except (msgspec.DecodeError, InvalidInput) as problem:
        raise InvalidInput(
            f"the configuration {image.manifest.config.digest} cannot be understood: {problem}"
        ) from None


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time; ``None`` where it is none."""
    if not text:
        return None
    try:
        found: datetime = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return found.astimezone(timezone.utc) if found.tzinfo else None  # noqa: UP017 - as elsewhere


def about(descriptor: Descriptor) -> Digest | None:
    """The digest of the entry that an attestation is about."""
    text = (descriptor.annotations or {}).get(REFERENCE_DIGEST, "")
    try:
        return Digest(text)
    except InvalidInput:
        return None


def _fitting(manifests: tuple[RemoteManifest, ...], wanted: Platform) -> RemoteManifest | None:
    for platform in wanted.acceptable():
        for one in manifests:
            if one.platform == platform:
                return one
    for one in manifests:  # as a pull chooses
        if one.platform and (one.platform.os, one.platform.architecture) == (wanted.os, wanted.architecture):
            return one
    return None


def _created(image: RemoteManifest) -> datetime | None:
    try:
        config = read_config(image)
    except InvalidInput:
        return None
    return moment(config.created) if config else None
