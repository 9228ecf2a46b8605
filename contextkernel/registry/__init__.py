"""Images from and to registries (OCI distribution-spec v1.1)."""

from contextkernel.registry.client import BlobStream, Registry, Repository, repositories
from contextkernel.registry.pull import pull_image

__all__ = ["BlobStream", "Registry", "Repository", "pull_image", "repositories"]
