"""Whether a layer archive is, byte for byte, what would be rendered from the layer that it unpacks to.

Found while it is read: its headers are held against those that :mod:`contextkernel.layer.tar` would write, in the order
of an index. A layer whose archive can be rendered again needs no copy of it. In doubt the answer is no.
"""

from __future__ import annotations

from collections.abc import Sequence

from contextkernel.layer import tar
from contextkernel.layer.index import sort_key
from contextkernel.layer.source import Source
from contextkernel.model.layers import Entry


class Echo:
    """Gathers what is known of an archive; once there is a difference it costs nothing any more.

    Args:
        source: the archive.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._same = True
        self._last: tuple[bytes, int] | None = None
        self._paths: list[str] = []
        self._kinds: list[str] = []

    def see(self, row: Entry) -> None:
        """Compare the header that has just been read with that of a row.

        Args:
            row: what the entry will be in the layer's index; digest and content play no part.
        """
        if not self._same:
            return
        key = sort_key(row)
        if (self._last is not None and key <= self._last) or tar.header(row) != self._source.header:
            self.differs()
            return
        self._last = key
        self._paths.append(row.path)
        self._kinds.append(row.kind)

    def differs(self) -> None:
        """The archive has something that would not be rendered."""
        self._same = False
        self._paths.clear()
        self._kinds.clear()

    def matches(self, entries: Sequence[Entry]) -> bool:
        """Whether it was all the same; for after the last entry, takes what is left of the source.

        Args:
            entries: the rows of the index.
        """
        return (
            self._same
            and self._source.padded
            and len(entries) == len(self._paths)
            and all(
                row.path == path and row.kind == kind
                for row, path, kind in zip(entries, self._paths, self._kinds, strict=True)
            )
            and self._source.header + self._source.rest(tar.BLOCK + 1) == tar.END
        )
