"""Docker's ``inspect`` document of an image that is in a registry and not here."""

from __future__ import annotations

import json
from typing import Any

from contextkernel.errors import InvalidInput
from contextkernel.model.indexes import platform_of
from contextkernel.model.remote import RemoteImage, read_config
from contextkernel.store.inspect import of_config


def remote_document(remote: RemoteImage, platform: str | None = None) -> dict[str, Any]:
    """The document, keys in docker's order; ``Size`` is what a pull downloads, ``ContextKernel`` at the end is ours.

    Args:
        remote: what the registry has.
        platform: which of its images; default the one this machine takes.

    Raises:
        ImageNotFound: there is none for the platform. InvalidInput: it is an artifact, not an image.
    """
    one = remote.image(platform)
    if read_config(one) is None:
        raise InvalidInput(f"{remote.reference.familiar} has no configuration of an image")
    source = json.loads(one.config)
    ref = remote.reference
    document = {
        "Id": str(one.manifest.config.digest),
        "RepoTags": [ref.familiar] if ref.tag else [],
        "RepoDigests": [f"{ref.familiar_name}@{remote.descriptor.digest}"],
        **of_config(source),
    }
    offered = [*(image.platform for image in remote.manifests), *(platform_of(entry) for entry in remote.others)]
    return document | {
        "Size": one.size,
        "RootFS": {"Type": "layers", "Layers": (source.get("rootfs") or {}).get("diff_ids") or []},
        "ContextKernel": {
            "Remote": True,
            "Manifest": {"MediaType": one.descriptor.media_type, "Digest": str(one.descriptor.digest)},
            "Index": {"MediaType": remote.descriptor.media_type, "Digest": str(remote.descriptor.digest)}
            if remote.is_index
            else None,
            "Platforms": [str(has) for has in offered if has is not None],
            "Layers": [
                {"DiffId": str(row.diff_id or ""), "Digest": str(row.digest), "DownloadSize": row.download_size}
                for row in remote.layers(platform)
            ],
        },
    }
