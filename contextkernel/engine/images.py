"""Verbs that look into, name, remove and exchange images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.viewing import ContainerViews
from contextkernel.model.given import Filters, filter_values, several
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.model.results import CompareRow, HistoryRow, ImageRow, Pruned


class Images(ContainerViews):
    """Looking into images, and moving them."""

    def images(self, name: str | None = None, *, all: bool = False) -> tuple[ImageRow, ...]:
        """Images, newest first; ``name`` limits them to a repository or reference, ``all`` adds untagged parents."""
        return self._store.image_rows(all=all, reference=name)

    def history(self, image: str) -> tuple[HistoryRow, ...]:
        """The steps an image was made by, newest first."""
        return self._store.history_rows(self._store.resolve(image))

    def tag(self, source: str, target: str) -> None:
        """Give the image ``source`` the further name ``target``."""
        image, name = self._store.resolve(source), ImageRef.parse(target)
        self._store.tag(image, name)
        self._tell_image.tell("tag", image, name=name.familiar)

    def remove_image(self, name: str, *, force: bool = False) -> tuple[str, ...]:
        """Remove a name, and the image with its last name.

        Returns:
            Docker's lines: ``Untagged: ...`` and ``Deleted: ...``.

        Raises:
            ImageInUse: a container uses it; the message says which.
        """
        lines = self._remove_image(name, force=force)
        self._empty_trash()
        return lines

    def _remove_image(self, name: str, *, force: bool = False) -> tuple[str, ...]:
        teller, image = self._tell_image, self._store.resolve(name)
        labels = teller.labels(image)
        lines = self._store.remove_image(name, force=force)
        teller.removed(lines, image, labels)
        return lines

    def prune_images(self, *, all: bool = False, filters: Filters | None = None) -> Pruned:
        """Remove images without a name (``all``: without a container).

        Args:
            all: images with a name too.
            filters: ``until`` (created before), ``label`` and ``label!`` (``KEY`` or ``KEY=VALUE``, all of which must
                hold), ``dangling`` (``false`` is the same as ``all``).

        Returns:
            Docker's lines, ``Untagged: ...`` and ``Deleted: ...``, and the bytes of layers that went: what the build
            cache or a container has stays, and is not counted.

        Raises:
            InvalidInput: a filter that is none.
        """
        from contextkernel.engine.image_filters import image_filter
        from contextkernel.model.results import Pruned

        everything, fits = image_filter(filter_values(filters))
        used = {spec.image_id for spec in self._store.containers()}
        rows = {row.id: row for row in self._store.image_rows(all=False) if row.id not in used}
        lines: list[str] = []
        teller, freed = self._tell_image, 0
        for image, row in rows.items():
            labels = teller.labels(image)
            if not fits(row, labels):
                continue
            # whether it is still without a name and a container is looked at together with the removal
            gone = self._store.prune_image(image, named=all or everything)
            teller.removed(gone.removed, image, labels)
            lines += gone.removed
            freed += gone.size
        self._empty_trash()
        return Pruned(removed=tuple(lines), size=freed)

    def compare(self, images: str | Sequence[str]) -> tuple[CompareRow, ...]:
        """Sizes, layers and shared bytes of several images."""
        return self._store.compare([(name, self._store.resolve(name)) for name in several(images)])
