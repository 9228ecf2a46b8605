"""The verbs of the fake engine about images in registries: one index of three platforms, one of them attested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from contextkernel.errors import ImageNotFound
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.events import LayerProgress
from contextkernel.model.given import several
from contextkernel.model.indexes import Assembled
from contextkernel.model.oci import (
    MEDIA_CONFIG,
    MEDIA_INDEX,
    MEDIA_LAYER_GZIP,
    MEDIA_MANIFEST,
    REFERENCE_DIGEST,
    REFERENCE_TYPE,
    Descriptor,
    History,
    ImageConfig,
    Index,
    Manifest,
    PlatformField,
    RootFS,
    RunConfig,
)
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.remote import LayerRow, RemoteImage, RemoteManifest
from contextkernel.testing.fake_calls import FakeCalls

if TYPE_CHECKING:
    from contextkernel.model.outputs import Annotation
    from contextkernel.model.ports import Reporter

_PLATFORMS = (("amd64", None, 29_000_000), ("arm64", None, 28_400_000), ("arm", "v7", 25_100_000))
_SCRIPT = 1_200


def remote_image(name: str = "demo") -> RemoteImage:
    """An index: each platform has a base layer of its own and a script that all share."""
    manifests = []
    entries = []
    for architecture, variant, size in _PLATFORMS:
        config = to_json(
            ImageConfig(
                architecture=architecture,
                os="linux",
                variant=variant or "",
                created="2026-03-01T10:00:00Z",
                config=RunConfig(cmd=("/greet",), env=("A=1",)),
                rootfs=RootFS("layers", (Digest.of(architecture.encode()), Digest.of(b"script"))),
                history=(
                    History(created="2026-03-01T09:00:00Z", created_by="ADD base.tar / # buildkit"),
                    History(created="2026-03-01T10:00:00Z", created_by="COPY greet /greet # buildkit"),
                    History(created="2026-03-01T10:00:00Z", created_by='CMD ["/greet"]', empty_layer=True),
                ),
            )
        )
        manifest = Manifest(
            schema_version=2,
            media_type=MEDIA_MANIFEST,
            config=Descriptor(MEDIA_CONFIG, Digest.of(config), len(config)),
            layers=(
                Descriptor(MEDIA_LAYER_GZIP, Digest.of(b"base" + architecture.encode()), size),
                Descriptor(MEDIA_LAYER_GZIP, Digest.of(b"packed script"), _SCRIPT),
            ),
        )
        document = to_json(manifest)
        entry = Descriptor(
            MEDIA_MANIFEST,
            Digest.of(document),
            len(document),
            platform=PlatformField(architecture, "linux", variant=variant),
        )
        entries.append(entry)
        manifests.append(
            RemoteManifest(
                descriptor=entry,
                platform=Platform("linux", architecture, variant),
                manifest=manifest,
                document=document,
                config=config,
            )
        )
    first = entries[0].digest
    stated = Descriptor(
        MEDIA_MANIFEST,
        Digest.of(b"provenance"),
        835,
        annotations={REFERENCE_DIGEST: str(first), REFERENCE_TYPE: "attestation-manifest"},
        platform=PlatformField("unknown", "unknown"),
    )
    index = to_json(Index(schema_version=2, media_type=MEDIA_INDEX, manifests=(*entries, stated)))
    return RemoteImage(
        reference=ImageRef.parse(name),
        descriptor=Descriptor(MEDIA_INDEX, Digest.of(index), len(index)),
        document=index,
        is_index=True,
        manifests=tuple(manifests),
        attestations={first: stated},
        host=Platform("linux", "amd64"),
    )


class FakeRemote(FakeCalls):
    """Looks at :func:`remote_image`, whatever the name; ``nosuch`` is not there."""

    def remote(
        self, name: str, *, platform: str | None = None, every: bool = True, insecure: bool = False
    ) -> RemoteImage:
        """The canned index."""
        self._note("remote", name=name, platform=platform, every="" if every else "no", insecure=insecure)
        self._fail()
        if name == "nosuch":
            raise ImageNotFound("docker.io/library/nosuch:latest does not exist in the registry")
        found = remote_image(name)
        found.image(platform)
        return found

    def remote_platforms(self, name: str) -> tuple[str, ...]:
        """Of the canned index."""
        self._note("remote_platforms", name=name)
        return tuple(str(one.platform) for one in remote_image(name).manifests)

    def remote_statements(self, name: str) -> dict[str, dict[str, Any]]:
        """Provenance of the first platform."""
        self._note("remote_statements", name=name)
        return {"linux/amd64": {"SLSA": {"buildDefinition": {"buildType": "test"}}}}

    def inspect_remote(self, name: str, *, platform: str | None = None) -> dict[str, Any]:
        """Of the canned index."""
        from contextkernel.engine.remote_document import remote_document

        return remote_document(self.remote(name, platform=platform, every=False), platform)

    def layers(self, name: str) -> tuple[LayerRow, ...]:
        """One layer that has never been packed."""
        row = self._image(name)
        self._note("layers", name=name)
        return (
            LayerRow(
                layer=1,
                diff_id=Digest.of(b"base"),
                size=row.size,
                download_size=None,
                digest=None,
                media_type="",
                created=row.created,
                created_by="/bin/sh -c #(nop) ADD file:122ad3 in / ",
            ),
        )

    def create_manifest(
        self, name: str, images: str | Sequence[str], *, amend: bool = False, insecure: bool = False
    ) -> ImageRef:
        """Remember the call."""
        self._note("create_manifest", name=name, images=several(images), amend=amend, insecure=insecure)
        self._fail()
        return ImageRef.parse(name)

    def annotate_manifest(
        self,
        name: str,
        image: str,
        *,
        os: str = "",
        arch: str = "",
        variant: str = "",
        os_version: str = "",
        os_features: str | Sequence[str] = (),
    ) -> None:
        """Remember the call."""
        self._note(
            "annotate_manifest",
            name=name,
            image=image,
            os=os,
            arch=arch,
            variant=variant,
            os_version=os_version,
            os_features=several(os_features),
        )

    def inspect_manifest(
        self, name: str, *, within: str | None = None, verbose: bool = False, insecure: bool = False
    ) -> bytes:
        """The canned index."""
        self._note("inspect_manifest", name=name, within=within, verbose=verbose, insecure=insecure)
        return remote_image(name).document

    def push_manifest(
        self,
        name: str,
        *,
        purge: bool = False,
        insecure: bool = False,
        tell: Callable[[str], None] = lambda _line: None,
        report: Reporter | None = None,
    ) -> Digest:
        """One image goes along."""
        self._note("push_manifest", name=name, purge=purge, insecure=insecure)
        found = remote_image(name)
        first = found.manifests[0].descriptor.digest
        if report is not None:
            report(LayerProgress(0, "0a1b2c3d4e5f", "mounted", detail="other"))
        tell(f"Pushed ref {found.reference.familiar_name}@{first} with digest: {first}")
        return found.descriptor.digest

    def remove_manifest(self, name: str) -> None:
        """Remember the call."""
        self._note("remove_manifest", name=name)
        self._fail()

    def assemble(
        self,
        sources: str | Sequence[str | Descriptor],
        *,
        tags: str | Sequence[str] = (),
        annotations: str | Sequence[str | Annotation] = (),
        platforms: str | Sequence[str] = (),
        append: bool = False,
        prefer_index: bool = True,
        push: bool = True,
        tell: Callable[[str], None] = lambda _line: None,
        report: Reporter | None = None,
    ) -> Assembled:
        """The canned index."""
        self._note(
            "assemble",
            sources=several(sources),
            tags=several(tags),
            annotations=several(annotations),
            platforms=several(platforms),
            append=append,
            prefer_index="" if prefer_index else "no",
            push="" if push else "no",
        )
        found = remote_image()
        if push:
            if report is not None:
                report(LayerProgress(0, "0a1b2c3d4e5f", "pushed", 10, 10))
            tell(f"pushing {found.descriptor.digest} to {several(tags)[0]}")
        return Assembled(found.descriptor, found.document, ())
