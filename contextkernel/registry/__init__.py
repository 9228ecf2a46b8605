"""Images from and to registries (OCI distribution-spec v1.1)."""

from contextkernel.registry.blob_stream import BlobStream
from contextkernel.registry.client import Repository, repositories
from contextkernel.registry.pull import Pulled, pull_image, pull_reference
from contextkernel.registry.whole import Registry

__all__ = ["BlobStream", "Pulled", "Registry", "Repository", "pull_image", "pull_reference", "repositories"]
