"""Images from and to registries (OCI distribution-spec v1.1)."""

from contextkernel.registry.client import BlobStream, Registry, Repository, repositories
from contextkernel.registry.pull import Pulled, pull_image, pull_reference

__all__ = ["BlobStream", "Pulled", "Registry", "Repository", "pull_image", "pull_reference", "repositories"]
