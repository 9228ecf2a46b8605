"""The verb of the fake engine that sends images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.errors import InvalidReference
from contextkernel.model.digest import Digest
from contextkernel.model.events import LayerProgress, StepNote
from contextkernel.model.oci import MEDIA_MANIFEST
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import PushedImage
from contextkernel.testing.fake_calls import FakeCalls

if TYPE_CHECKING:
    from contextkernel.model.ports import Reporter


class FakePushing(FakeCalls):
    """Says that two layers were pushed; nothing goes anywhere."""

    def push(
        self,
        name: str,
        tag: str | None = None,
        *,
        all_tags: bool = False,
        platform: str | None = None,
        report: Reporter | None = None,
    ) -> tuple[PushedImage, ...]:
        """One image, after the events of two layers."""
        self._note("push", name=name, tag=tag, all_tags=all_tags, platform=platform)
        ref = ImageRef.parse(f"{name}:{tag}" if tag else name)
        if ref.digest is not None:
            raise InvalidReference("cannot push a digest reference", hint=f"push a tag: push {ref.familiar_name}:TAG")
        digest = Digest.of(str(ref).encode())
        row = PushedImage(name=ref, digest=digest, size=482, media_type=MEDIA_MANIFEST)
        for event in (
            StepNote(0, f"The push refers to repository [{ref.name}]"),
            LayerProgress(0, "5f70bf18a086", "preparing"),
            LayerProgress(0, "a3ed95caeb02", "preparing"),
            LayerProgress(0, "a3ed95caeb02", "present", 0, 32),
            LayerProgress(0, "5f70bf18a086", "pushing", 512, 1024),
            LayerProgress(0, "5f70bf18a086", "pushed", 1024, 1024),
            StepNote(0, f"{ref.tag}: digest: {digest} size: {row.size}"),
        ):
            if report is not None:
                report(event)
        return (row,)
