"""What ``docker manifest inspect`` prints of manifests and lists.

Source of the rules: docker/cli, ``cli/command/manifest/inspect.go`` (28.5). An image is shown with tabs, a list with
three blanks; ``--verbose`` adds platforms and the raw documents.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from contextkernel.model.manifest_lists import ListedManifest, ManifestList, checked, encode_list, verbose
from contextkernel.model.oci import MEDIA_INDEXES, MEDIA_MANIFESTS, Index, Manifest
from contextkernel.model.reference import ImageRef
from contextkernel.registry.documents import decode
from contextkernel.registry.remote import Find, RemoteReader, config_platform, manifest_of


def listed_text(listed: ListedManifest, *, verbose: bool) -> bytes:
    """One image of a list that is being put together."""
    if not verbose:
        return _tabs(json.loads(listed.document))
    return _tabs(_full(listed))


def list_text(reference: ImageRef, listed: ManifestList, *, verbose: bool) -> bytes:
    """A list that is being put together.

    Raises:
        InvalidInput: an image is in another registry than the list.
    """
    if verbose:
        return _tabs([_full(one) for one in listed.manifests])
    return encode_list(checked(reference, listed.manifests))[1]


def remote_text(find: Find, reference: ImageRef, *, verbose: bool) -> bytes:
    """What a registry has under a name.

    Raises:
        ImageNotFound, RegistryProblem: its answer.
    """
    descriptor, data, config = manifest_of(find, reference)
    if descriptor.media_type not in MEDIA_INDEXES:
        descriptor = msgspec.structs.replace(descriptor, platform=config_platform(config))
        return listed_text(ListedManifest(reference.familiar, descriptor, data), verbose=verbose)
    index = decode(data, Index, f"the registry sent an invalid index of {reference.familiar}")
    if not verbose:
        return encode_list(index.manifests)[1]
    reader = RemoteReader(find, reference)
    entries = []
    for entry in index.manifests:
        if entry.media_type not in MEDIA_MANIFESTS:
            continue
        _, document = reader.document(entry.digest)
        decode(document, Manifest, f"the registry sent an invalid manifest of {reference.familiar}")
        bare = msgspec.structs.replace(entry, annotations=None)
        entries.append(_verbose(f"{reference.familiar}@{entry.digest}", bare, document))
    return _tabs(entries)


def _full(listed: ListedManifest) -> dict[str, Any]:
    return _verbose(ImageRef.parse(listed.reference).familiar, listed.descriptor, listed.document)


_verbose = verbose


def _tabs(document: Any) -> bytes:
    return json.dumps(document, indent="\t", ensure_ascii=False).encode()
