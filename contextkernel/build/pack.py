"""Base images that came with the installation: archives in a directory, so that nothing has to be fetched.

A host that is made once and used by many (a Binder image, a hub's image) fetches base images while it is made, and
``base ensure`` loads them from there: no network, no registry's limits, and the same images for a whole course.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextkernel.model.reference import ImageRef

PACK_VARIABLE = "CONTEXTKERNEL_PACK"
"""Environment variable: the directory with the archives, or what ``pack`` wrote: a directory or a file."""


def pack_directory() -> str:
    """``$CONTEXTKERNEL_PACK``, else ``share/contextkernel/pack`` of the Python environment."""
    chosen = os.environ.get(PACK_VARIABLE)
    return os.path.expanduser(chosen) if chosen else os.path.join(sys.prefix, "share", "contextkernel", "pack")


def packed(ref: ImageRef) -> tuple[str, ...]:
    """The archives and layouts that may have an image, most likely first.

    Args:
        ref: e.g. ``ubuntu:20.04``, whose own archive is ``ubuntu_20.04.tar``: what ``save`` wrote, under the image's
            short name with ``_`` for ``/``, ``:`` and ``@``.

    Returns:
        Paths for ``load``: that archive; the directory itself, if it is an image layout, or the file that stands in
        its place: what ``pack`` wrote.
    """
    place = pack_directory()
    path = os.path.join(place, re.sub(r"[/:@]", "_", ref.familiar) + ".tar")
    found = [path] if os.path.isfile(path) else []
    if os.path.isfile(os.path.join(place, "index.json")) or os.path.isfile(place):
        found.append(place)
    return tuple(found)
