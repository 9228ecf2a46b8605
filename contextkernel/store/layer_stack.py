"""A stack of unpacked layers, read by their indexes: what lies at each path, and where its content is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from contextkernel.layer.merge import merge_located
from contextkernel.linux import xattr
from contextkernel.model.layers import Entry
from contextkernel.store.worker_owners import index_of
from contextkernel.store.worker_tree import Ids, Tree

Place = tuple[int, str]
"""Number of a layer, base 0, and the path in it."""

Located = tuple[Entry, Place | None]
"""A row and where its content is; directories that no layer has as an entry are nowhere."""


def _marked(tree: Tree, row: Entry) -> Entry:
    """The row, or that of a removal, if an attribute of the file says that it is one."""
    if row.kind != "file" or row.size:
        return row
    path = tree.link_path(row.path)
    hidden = any(xattr.get(path, f"{prefix}whiteout") is not None for prefix in xattr.OWN_PREFIXES)
    return Entry(path=row.path, kind="whiteout", mode=0) if hidden else row


class LayerStack:
    """Layers on top of each other; a context manager that closes them.

    Args:
        lowers: ``diff`` directories, base first.
        ids: of the worker.
        check: raises when the client has given up.
    """

    def __init__(self, lowers: Sequence[str], ids: Ids, check: Callable[[], None]) -> None:
        self.lowers = tuple(lowers)
        self._ids = ids
        self._check = check
        self._trees: dict[int, Tree] = {}

    def __enter__(self) -> LayerStack:
        return self

    def __exit__(self, *_: object) -> None:
        for tree in self._trees.values():
            tree.close()

    def layer(self, number: int) -> Tree:
        """The files of one layer."""
        found = self._trees.get(number)
        if found is None:
            found = self._trees[number] = Tree(self.lowers[number])
        return found

    def rows(self, number: int) -> list[Entry]:
        """The index of one layer; what has none (the changes of a failed step) is looked at."""
        diff = self.lowers[number]
        if os.path.exists(f"{os.path.dirname(diff)}/index"):
            return index_of(diff)
        from contextkernel.store.worker_commit import scan

        tree = self.layer(number)
        return [_marked(tree, row) for row in scan(tree, self._check, None)]

    def merged(self) -> dict[str, Located]:
        """All that can be seen, by path, in order."""
        rows = merge_located(self.rows(number) for number in range(len(self.lowers)))
        return {entry.path: (entry, place) for entry, place in rows}
