"""What is in a registry, as rows: from its files, whether it runs or not."""

from __future__ import annotations

from contextkernel.model.digest import Digest
from contextkernel.model.serving import RegistryImageRow
from contextkernel.registry_server.manifests import INDEXES, named_by
from contextkernel.registry_server.storage import Storage


def image_rows(address: str, storage: Storage) -> tuple[RegistryImageRow, ...]:
    """The tags of all repositories, by name.

    Args:
        address: of the registry.
        storage: its files.
    """
    rows = []
    for name, tag, pushed in storage.listing():
        found = storage.manifest(name, tag)
        if found is None:
            continue
        entry, data = found
        rows.append(
            RegistryImageRow(
                registry=address,
                repository=name,
                tag=tag,
                digest=entry.digest,
                kind="index" if entry.media_type in INDEXES else "image",
                size=sum(_blobs(storage, name, data, set()).values()),
                pushed=pushed,
            )
        )
    return tuple(rows)


def _blobs(storage: Storage, name: str, data: bytes, seen: set[Digest]) -> dict[Digest, int]:
    """Sizes of the blobs that a manifest names, and those that it names by others."""
    named = named_by(data)
    found = {part.digest: part.size for part in named.blobs}
    for part in named.manifests:
        if part.digest in seen:
            continue
        seen.add(part.digest)
        inner = storage.manifest(name, part.digest)
        if inner is not None:
            found |= _blobs(storage, name, inner[1], seen)
    return found
