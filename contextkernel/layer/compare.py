"""Which bytes images have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from contextkernel.model.digest import Digest
from contextkernel.model.results import CompareRow


def compare(images: Sequence[tuple[str, Sequence[tuple[Digest, int]]]]) -> tuple[CompareRow, ...]:
    """Compare images by their layers.

    Args:
        images: name, and the diff_id and size of every layer, base first.

    Returns:
        One row per image in the order given. A layer that an image has twice counts twice, as docker counts it.
        An image without bytes has the factor 0.
    """
    owners = Counter(diff_id for _, layers in images for diff_id in {diff_id for diff_id, _ in layers})
    sizes = [sum(size for _, size in layers) for _, layers in images]
    largest = max(sizes, default=0)
    rows = []
    for (name, layers), size in zip(images, sizes, strict=True):
        shared = sum(part for diff_id, part in layers if owners[diff_id] > 1)
        rows.append(
            CompareRow(
                image=name,
                size=size,
                layers=len(layers),
                shared=shared,
                unique=size - shared,
                factor=largest / size if size else 0.0,
            )
        )
    return tuple(rows)
