"""Labels with a meaning of our own."""

from __future__ import annotations

from contextkernel.model.oci import ImageConfig

STAND_IN = "org.contextkernel.stand-in"
"""On images that take the place of a base image that could not be had; the value says how they were made."""


def stand_in(config: ImageConfig) -> str | None:
    """How a stand-in was made; ``None`` for everything else, images built on a stand-in included."""
    if any(entry.comment.startswith("buildkit.") for entry in config.history):
        return None  # a build inherits its base's labels
    return (config.config.labels or {}).get(STAND_IN)
