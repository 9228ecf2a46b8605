"""The course's base images, made once and kept between runs; everything else is built anew."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from contextkernel import Engine

BASES = ("ubuntu:20.04", "alpine:3.15.0")


def base_archive(cache: Path) -> Path:
    """A tar with the base images: pulled, bootstrapped or assembled, whatever this machine allows.

    Args:
        cache: a folder where it is kept.
    """
    archive = cache / "course-bases.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(prefix="ck-bases-") as root:
            fresh = archive.with_name(f"{archive.name}.{os.getpid()}")
            with Engine(root) as engine:
                engine.ensure_bases(BASES)
                engine.save(BASES, str(fresh))
                empty(engine)
            fresh.rename(archive)
    return archive


def empty(engine: Engine) -> None:
    """Remove the layers with the ids that made them: an ordinary user may not remove them otherwise."""
    engine._worker().remove([os.path.join(engine.root, name) for name in ("layers", "containers")])
