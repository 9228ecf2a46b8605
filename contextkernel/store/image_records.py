"""The part of the store about images: what they are made of, what they are called, and how they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextkernel.model.digest import Digest
    from contextkernel.model.layers import Layer
    from contextkernel.model.oci import ImageConfig
    from contextkernel.model.platform import Platform
    from contextkernel.model.reference import ImageRef
    from contextkernel.model.results import CompareRow, HistoryRow, ImageRow, Pruned
    from contextkernel.store.extras import Extras, ImageExtras
    from contextkernel.store.images import Images


class ImageRecords:
    """What a store knows of images; see :class:`contextkernel.store.Store`."""

    _images: Images
    _extras: ImageExtras

    # ---- images

    def add_image(self, config: bytes, *, origin: str, names: Iterable[ImageRef] = ()) -> Digest:
        """Make an image known under ``names``; all its layers must be here.

        Args:
            config: the configuration document; its digest is the image's id.
            origin: ``build``, ``pull``, ``load``, ``import`` or ``stand-in: ...``; an image that is already here
                keeps its own.
            names: tags to set, and ``name@digest`` references to remember as repository digests.

        Raises:
            StoreProblem: a layer is missing. InvalidInput: not an image configuration.
        """
        return self._images.add(config, origin, names)

    def config(self, image: Digest) -> ImageConfig:
        """The configuration of an image.

        Raises:
            ImageNotFound: no such image. DigestMismatch: the document was damaged.
        """
        return self._images.config(image)

    def config_bytes(self, image: Digest) -> bytes:
        """The configuration document as it was stored; see :meth:`config`."""
        return self._images.config_bytes(image)

    def resolve(self, text: str) -> Digest:
        """The image that ``text`` names: a tag, ``name@digest``, an id or a unique part of one from its start.

        Raises:
            ImageNotFound: with names that are near. InvalidReference: it can be no name.
            InvalidInput: more than one id starts so.
        """
        return self._images.resolve(text)

    def for_platform(self, ref: ImageRef, platform: Platform) -> Digest:
        """The image that ``ref`` names, if it is for ``platform``; else the one of this platform beside it.

        Raises:
            ImageNotFound: there is none, or it is for another platform; the message says for which.
        """
        return self._images.for_platform(ref, platform)

    def remember_platform(self, ref: ImageRef, platform: Platform, image: Digest) -> None:
        """Let ``ref`` stand for ``image`` where ``platform`` is asked for; the tag stays what it is.

        Raises:
            ImageNotFound: no such image.
        """
        self._images.remember_platform(ref, platform, image)

    def layers_of(self, image: Digest) -> tuple[Layer, ...]:
        """The layers of an image, base first; also of one that was removed by force from under a container.

        Raises:
            ImageNotFound: no such image.
        """
        return self._images.layers_of(image)

    def tag(self, image: Digest, ref: ImageRef) -> None:
        """Let ``ref`` name ``image``; an image that had the name before loses it (and may become dangling).

        Raises:
            ImageNotFound: no such image. InvalidReference: ``ref`` has no tag.
        """
        self._images.tag(image, ref)

    def tags_of(self, image: Digest) -> tuple[ImageRef, ...]:
        """The tags of an image, sorted."""
        return self._images.tags_of(image)

    def image_rows(self, *, all: bool = False, reference: str | None = None) -> tuple[ImageRow, ...]:
        """One row per tag, newest image first; untagged images have one with ``<none>``.

        Args:
            all: accepted for docker's sake; there are no intermediate images.
            reference: a name, a name with a tag, or a pattern of either (``*``, ``?``, ``[...]`` within a component).
        """
        return self._images.rows(all=all, reference=reference)

    def history_rows(self, image: Digest) -> tuple[HistoryRow, ...]:
        """The history, newest first; only the first has an id, as with docker and BuildKit.

        Raises:
            ImageNotFound: no such image.
        """
        return self._images.history(image)

    def inspect_image(self, image: Digest) -> dict[str, Any]:
        """Docker's ``inspect`` document of an image, keys in docker's order, and ``ContextKernel`` at the end.

        Raises:
            ImageNotFound: no such image.
        """
        return self._images.inspect(image)

    def compare(self, images: Sequence[tuple[str, Digest]]) -> tuple[CompareRow, ...]:
        """Sizes of images beside each other, in the order given; each is a name to show and an id.

        Raises:
            ImageNotFound: no such image.
        """
        return self._images.compare(images)

    def remove_image(
        self, text: str, *, force: bool = False, running: Callable[[str], bool] | None = None
    ) -> tuple[str, ...]:
        """Remove a tag, and with its last tag the image; docker's rules, docker's lines.

        Args:
            text: tag, ``name@digest``, id or unique part of an id from its start.
            force: also when a stopped container uses the image, or several names do and an id was given.
            running: whether the container of a container directory runs; by default ``state.json`` there tells.

        Returns:
            ``Untagged: ...`` and ``Deleted: ...`` lines.

        Raises:
            ImageNotFound: no such image. ImageInUse: names the container.
        """
        return self._images.remove(text, force=force, running=running)

    def prune_image(self, image: Digest, *, named: bool = False) -> Pruned:
        """Remove an image with all its names, if no container uses it; decided and done in one transaction.

        Args:
            image: its id; it may be gone already.
            named: also if it has a tag.

        Returns:
            Lines as of :meth:`remove_image`, none if it stays; and the bytes of the layers that went with it.
        """
        return self._images.prune(image, named=named)

    def extras(self, image: Digest) -> Extras:
        """Attestations and annotations that an image has when it leaves the store; empty for an unknown one."""
        return self._extras.get(image)

    def set_extras(self, image: Digest, extras: Extras) -> None:
        """Replace them, all at once; the image must be here."""
        self._extras.set(image, extras)
