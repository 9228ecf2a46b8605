"""Reading the index of a layer of the store."""

from __future__ import annotations

from contextkernel.layer.index import unpack_index
from contextkernel.model.layers import Entry


def read_index(path: str) -> list[Entry]:
    """The rows of an index file.

    Args:
        path: ``index`` in a layer's directory.

    Raises:
        OSError: it cannot be read. StoreProblem: it is damaged.
    """
    with open(path, "rb") as stream:
        return unpack_index(stream.read())
