"""The verb that sends images to registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.engine.composition import silent
from contextkernel.engine.images import Images
from contextkernel.errors import ImageNotFound, InvalidReference
from contextkernel.model.events import StepNote
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.model.digest import Digest
    from contextkernel.model.ports import Reporter
    from contextkernel.model.results import PushedImage


class Pushing(Images):
    """Images on their way out."""

    def push(
        self,
        name: str,
        tag: str | None = None,
        *,
        all_tags: bool = False,
        platform: str | None = None,
        report: Reporter | None = None,
    ) -> tuple[PushedImage, ...]:
        """Send an image to the registry that its name says. Keyword names follow docker-py.

        Layers that the registry has are not sent again. An image that was pulled keeps its manifest where the registry
        can have the same blobs: they are there, can be mounted, or can be made here byte for byte.

        Args:
            name: ``[HOST[:PORT]/]REPOSITORY[:TAG]``.
            tag: instead of the one in the name.
            all_tags: every tag of the repository; the name must have none.
            platform: the image for this platform beside the tag's own, e.g. ``linux/arm64``; without attestations.
            report: receives ``LayerProgress`` for each layer, and docker's lines as ``StepNote``.

        Returns:
            One row per tag.

        Raises:
            ImageNotFound: no such image here. InvalidReference: a name by digest, or a tag with ``all_tags``.
            RegistryUnauthorized, RegistryDenied, RegistryProblem: see there.
        """
        from contextkernel.registry import repositories
        from contextkernel.registry.push import push_image

        tell = report or silent
        ref = ImageRef.parse(f"{name}:{tag}" if tag else name)
        if ref.digest is not None:
            raise InvalidReference("cannot push a digest reference", hint=f"push a tag: push {ref.familiar_name}:TAG")
        wanted = None if platform is None else Platform.parse(platform)
        chosen = self._tags_to_push(ref, name, all_tags=all_tags, platform=wanted)
        tell(StepNote(0, f"The push refers to repository [{ref.name}]"))
        pushed = []
        with self._writing():
            for one, image in chosen:
                repository = repositories(ref.registry, ref.repository, access="pull,push")[-1]
                row = push_image(
                    self._store, self._worker(), image, one, repository, report=tell, bare=wanted is not None
                )
                tell(StepNote(0, f"{one.tag}: digest: {row.digest} size: {row.size}"))
                self._tell_image.pushed(one.familiar)
                pushed.append(row)
        return tuple(pushed)

    def _tags_to_push(
        self, ref: ImageRef, given: str, *, all_tags: bool, platform: Platform | None
    ) -> list[tuple[ImageRef, Digest]]:
        if not all_tags:
            try:
                image = self._store.resolve(str(ref))
            except ImageNotFound:
                raise ImageNotFound(
                    f"An image does not exist locally with the tag: {ref.familiar_name}",
                    hint=f"give the image this name first: tag IMAGE {ref.familiar}",
                ) from None
            return [(ref, image if platform is None else self._of_platform(ref, platform))]
        if ref.tag != "latest" or given.rpartition("/")[2].endswith(":latest"):
            raise InvalidReference("tag can't be used with --all-tags/-a", hint=f"push -a {ref.familiar_name}")
        tags = sorted({row.tag for row in self._store.image_rows(reference=ref.familiar_name)} - {"<none>"})
        if not tags:
            raise ImageNotFound(
                f"An image does not exist locally with the tag: {ref.familiar_name}",
                hint="images lists the images there are",
            )
        names = [ref.with_tag(one) for one in tags]
        return [
            (one, self._store.resolve(str(one)) if platform is None else self._of_platform(one, platform))
            for one in names
        ]

    def _of_platform(self, ref: ImageRef, platform: Platform) -> Digest:
        hint = f"give the image for {platform} this name: tag IMAGE {ref.familiar}"
        try:
            image = self._store.for_platform(ref, platform)
        except ImageNotFound as problem:
            problem.hint = hint
            raise
        # a pull for this platform may have got another one's image, with a warning: it is not sent as what it is not
        config = self._store.config(image)
        has = Platform.of(config.os, config.architecture, config.variant)
        if not platform.takes(has):
            raise ImageNotFound(f"image {ref.familiar!r} in the store is for {has}, not for {platform}", hint=hint)
        return image
