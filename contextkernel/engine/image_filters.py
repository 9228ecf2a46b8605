"""Docker's filters of ``image prune`` (moby, daemon/images/image_prune.go)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.filters import all_labels, check_keys, flags, one_moment

if TYPE_CHECKING:
    from contextkernel.model.results import ImageRow

IMAGE_PRUNE_FILTERS = ("dangling", "label", "label!", "until")


def image_filter(
    filters: Mapping[str, Sequence[str]],
) -> tuple[bool, Callable[[ImageRow, Mapping[str, str]], bool]]:
    """Whether named images are asked for, and a test of an image with its labels.

    Raises:
        InvalidInput: an unknown key, or a value that is none.
    """
    check_keys(filters, IMAGE_PRUNE_FILTERS)
    until = one_moment(filters)
    dangling = flags("dangling", filters.get("dangling", ()))

    def fits(row: ImageRow, labels: Mapping[str, str]) -> bool:
        young = until is not None and row.created.timestamp() * 10**9 >= until
        return not young and all_labels(labels, filters)

    return not all(dangling), fits
