"""Images as files: docker's ``save``, ``load`` and ``import``."""

from __future__ import annotations

from contextkernel.store.archive_import import import_tar
from contextkernel.store.archive_load import load
from contextkernel.store.archive_save import save

__all__ = ["import_tar", "load", "save"]
