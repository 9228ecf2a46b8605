"""Docker's filters of ``image prune`` (moby, daemon/images/image_prune.go)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.volumes import all_labels
from contextkernel.errors import InvalidInput

if TYPE_CHECKING:
    from contextkernel.model.results import ImageRow

PRUNE_FILTERS = ("dangling", "label", "label!", "until")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


def image_filter(
    filters: Mapping[str, Sequence[str]],
) -> tuple[bool, Callable[[ImageRow, Mapping[str, str]], bool]]:
    """Whether named images are asked for, and a test of an image with its labels.

    Raises:
        InvalidInput: an unknown key, or a value that is none.
    """
    from contextkernel.engine.moments import nanoseconds

    for key in filters:
        if key not in PRUNE_FILTERS:
            raise InvalidInput(f"invalid filter {key!r}", hint=f"one of {', '.join(PRUNE_FILTERS)}")
    moments = filters.get("until", ())
    if len(moments) > 1:
        raise InvalidInput("more than one until filter specified", hint="one moment is enough")
    until = nanoseconds(moments[0]) if moments else None
    dangling = [value.lower() for value in filters.get("dangling", ())]
    for value in dangling:
        if value not in _TRUE + _FALSE:
            raise InvalidInput(f"invalid filter 'dangling=[{value}]'", hint="true or false")

    def fits(row: ImageRow, labels: Mapping[str, str]) -> bool:
        young = until is not None and row.created.timestamp() * 10**9 >= until
        return not young and all_labels(labels, filters)

    return any(value in _FALSE for value in dangling), fits
