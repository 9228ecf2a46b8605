"""The store: blobs, layers, images, containers and the build cache of one user, on disk."""

from __future__ import annotations

from contextkernel.store.paths import default_root
from contextkernel.store.steps import StepRecord
from contextkernel.store.store import Store

__all__ = ["StepRecord", "Store", "default_root"]
