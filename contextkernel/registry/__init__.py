"""Images from registries (OCI distribution-spec v1.1): so far pulling; the rest comes with a later version."""

from contextkernel.registry.pull import pull_image

__all__ = ["pull_image"]
