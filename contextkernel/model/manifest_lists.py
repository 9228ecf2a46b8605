"""Docker's manifest lists that are being put together (``manifest create``). Pure.

Source of the rules: docker/cli, ``cli/command/manifest`` and ``cli/manifest/store`` (28.5); the bytes are those of
distribution's ``manifestlist.FromDescriptors``, so the digest is docker's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from contextkernel.errors import ImageNotFound, InvalidInput
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.oci import (
    MEDIA_DOCKER_LIST,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    Descriptor,
    PlatformField,
)
from contextkernel.model.reference import ImageRef

_INDENT = 3
_PAIRS = """
darwin/386 darwin/amd64 darwin/arm darwin/arm64 dragonfly/amd64 freebsd/386 freebsd/amd64 freebsd/arm linux/386
linux/amd64 linux/arm linux/arm64 linux/ppc64le linux/mips64 linux/mips64le linux/riscv64 linux/s390x netbsd/386
netbsd/amd64 netbsd/arm openbsd/386 openbsd/amd64 openbsd/arm plan9/386 plan9/amd64 solaris/amd64 windows/386
windows/amd64
"""
KNOWN_PLATFORMS = frozenset(_PAIRS.split())
"""What ``manifest annotate`` takes; docker's list, which is Go's ports plus s390x."""


class ListedManifest(msgspec.Struct, frozen=True):
    """One image of a list.

    Attributes:
        reference: where it was found; names it within the list.
        descriptor: of its manifest, with the platform.
        document: the manifest, byte for byte.
    """

    reference: str
    descriptor: Descriptor
    document: bytes


class PlatformChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What ``manifest annotate`` sets; what is empty stays as it is, features are added."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()


class ManifestList(msgspec.Struct, frozen=True):
    """A list that is being put together.

    Attributes:
        manifests: in docker's order, which is that of file names made of their references.
    """

    manifests: tuple[ListedManifest, ...] = ()

    @classmethod
    def read(cls, data: bytes) -> ManifestList:
        """From what :meth:`saved` made."""
        return from_json(data, cls)

    def saved(self) -> bytes:
        """For the store."""
        return to_json(self)

    def found(self, reference: ImageRef) -> ListedManifest | None:
        """The image of this name, if the list has it."""
        return next((one for one in self.manifests if one.reference == str(reference)), None)

    def with_manifest(self, manifest: ListedManifest) -> ManifestList:
        """The list with one more image, or with this one in the place of its namesake."""
        others = [one for one in self.manifests if one.reference != manifest.reference]
        return ManifestList(tuple(sorted([*others, manifest], key=_order)))

    def annotated(self, name: str, reference: ImageRef, changes: PlatformChanges, shown: str) -> ManifestList:
        """The list with another platform for one image.

        Args:
            name: the image as the user wrote it.
            reference: the same, parsed.
            changes: what to set.
            shown: the list as the user wrote it.

        Raises:
            ImageNotFound: the list does not have it.
            InvalidInput: operating system and architecture do not go together.
        """
        known = self.found(reference)
        if known is None:
            have = ", ".join(ImageRef.parse(one.reference).familiar for one in self.manifests)
            raise ImageNotFound(
                f"manifest for image {name} does not exist in {shown}", hint=f"it has {have}" if have else None
            )
        before = known.descriptor.platform or PlatformField("", "")
        platform = PlatformField(
            architecture=changes.architecture or before.architecture,
            os=changes.os or before.os,
            os_version=changes.os_version or before.os_version,
            os_features=tuple(dict.fromkeys([*(before.os_features or ()), *changes.os_features])) or None,
            variant=changes.variant or before.variant,
        )
        pair = f"{platform.os}/{platform.architecture}"
        if pair not in KNOWN_PLATFORMS:
            raise InvalidInput(
                f"manifest entry for image has unsupported os/arch combination: {pair}", hint=_near(platform)
            )
        descriptor = msgspec.structs.replace(known.descriptor, platform=platform)
        return self.with_manifest(msgspec.structs.replace(known, descriptor=descriptor))


def encode_list(manifests: Sequence[Descriptor]) -> tuple[str, bytes]:
    """The document of a list, as docker prints and pushes it.

    Args:
        manifests: descriptors of images; annotations and all else but the platform are left out, as docker does.

    Returns:
        Media type and bytes. It is an OCI index if the first image is an OCI image, else docker's manifest list.
    """
    media = MEDIA_INDEX if manifests and manifests[0].media_type == MEDIA_MANIFEST else MEDIA_DOCKER_LIST
    entries = []
    for one in manifests:
        # distribution's descriptor has the size first
        entry: dict[str, Any] = {"mediaType": one.media_type, "size": one.size, "digest": one.digest}
        if one.urls:
            entry["urls"] = one.urls
        entry["platform"] = one.platform or PlatformField("", "")
        entries.append(entry)
    document = {"schemaVersion": 2, "mediaType": media, "manifests": entries}
    return media, msgspec.json.format(to_json(document), indent=_INDENT)


def checked(reference: ImageRef, manifests: Sequence[ListedManifest]) -> tuple[Descriptor, ...]:
    """The entries of a list that is to be shown or pushed.

    Raises:
        InvalidInput: an image is in another registry than the list.
    """
    for one in manifests:
        registry = ImageRef.parse(one.reference).registry
        if registry != reference.registry:
            raise InvalidInput(
                "cannot use source images from a different registry than the target image: "
                f"{registry} != {reference.registry}",
                hint="buildx imagetools create copies images from one registry to another",
            )
    return tuple(one.descriptor for one in manifests)


def pushable(reference: ImageRef, listed: ManifestList) -> tuple[str, bytes]:
    """The document to push.

    Raises:
        InvalidInput: an image without a platform, or in another registry than the list.
    """
    for one in listed.manifests:
        platform = one.descriptor.platform
        if platform is None or not platform.os or not platform.architecture:
            raise InvalidInput(
                f"manifest {ImageRef.parse(one.reference).familiar} must have an OS and Architecture to be pushed"
                " to a registry",
                hint="set them: manifest annotate --os linux --arch amd64 LIST IMAGE",
            )
    return encode_list(checked(reference, listed.manifests))


def verbose(reference: str, descriptor: Descriptor, document: bytes) -> dict[str, Any]:
    """What ``manifest inspect --verbose`` shows of an image, in docker's order.

    Args:
        reference: where it is.
        descriptor: of its manifest.
        document: the manifest, which is shown as it is.
    """
    import base64

    field = "OCIManifest" if descriptor.media_type == MEDIA_MANIFEST else "SchemaV2Manifest"
    return {
        "Ref": reference,
        "Descriptor": msgspec.json.decode(to_json(descriptor)),
        "Raw": base64.b64encode(document).decode(),
        field: msgspec.json.decode(document),
    }


def _order(manifest: ListedManifest) -> str:
    return manifest.reference.replace(":", "-").replace("/", "_")


def _near(platform: PlatformField) -> str:
    from difflib import get_close_matches

    pair = f"{platform.os}/{platform.architecture}"
    same = sorted(one.partition("/")[2] for one in KNOWN_PLATFORMS if one.startswith(f"{platform.os}/"))
    close = get_close_matches(pair, KNOWN_PLATFORMS, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"of {platform.os} there are {', '.join(same)}" if same else "set --os, e.g. linux, and --arch, e.g. arm64"
