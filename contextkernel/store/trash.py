"""Removing what nothing uses any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextkernel.model.ports import LayerWorker
    from contextkernel.store.store import Store


def empty_trash(store: Store, worker: LayerWorker) -> None:
    """Remove what nothing uses.

    Args:
        store: knows what that is.
        worker: may remove it, whoever owns the files.
    """
    paths = store.trash()
    if paths:
        worker.remove(paths)
        store.forget_trash(paths)
