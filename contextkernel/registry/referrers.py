"""What refers to a manifest, also with registries that keep no such lists (OCI distribution-spec v1.1, "Referrers")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import ImageNotFound, InvalidDigest, RegistryRefused
from contextkernel.model import codec, oci
from contextkernel.model.digest import Digest
from contextkernel.registry.client import MAX_DOCUMENT
from contextkernel.registry.listing import next_page

if TYPE_CHECKING:
    from contextkernel.registry.client import Repository

_MAX_PAGES = 1000
_MAX_ENTRIES = 100_000
_EMPTY = oci.Index(schema_version=2, media_type=oci.MEDIA_INDEX, manifests=())


class _Referrer(msgspec.Struct, frozen=True, rename="camel"):
    """What of a manifest goes into the list."""

    subject: oci.Descriptor | None = None
    artifact_type: str | None = None
    config: oci.Descriptor | None = None
    annotations: dict[str, str] | None = None


def referrers(repository: Repository, digest: str, artifact_type: str = "") -> oci.Index:
    """See :meth:`Repository.referrers`: asked for by name, else read from the tag that stands in for the list."""
    try:
        found = _listed(repository, digest)
    except ImageNotFound:
        found = _tagged(repository, Digest(digest))
    if not artifact_type:
        return found
    fits = tuple(one for one in found.manifests if one.artifact_type == artifact_type)
    return msgspec.structs.replace(found, manifests=fits)


def _listed(repository: Repository, digest: str) -> oci.Index:
    """The registry's list, all pages of it."""
    connection, url, what = repository.connection, f"{repository.url}/referrers/{digest}", "referrers"
    entries: list[oci.Descriptor] = []
    seen: set[str] = set()
    here = url
    while here not in seen and len(seen) < _MAX_PAGES and len(entries) < _MAX_ENTRIES:
        seen.add(here)

        def once(page: str = here) -> tuple[bytes, str]:
            with connection.request("GET", page, what, headers={"Accept": oci.MEDIA_INDEX}) as response:
                return connection.read(response, what, MAX_DOCUMENT), response.headers.get("Link", "")

        data, link = connection.tries.run(once, repository.told)
        found = _decoded(data, repository.where)
        entries += found.manifests
        here = next_page(connection, url, link, what)
        if not here:
            return msgspec.structs.replace(found, manifests=tuple(entries))
    raise RegistryRefused(f"{connection.where}: the registry's list of {what} does not end")


def list_referrer(repository: Repository, media_type: str, data: bytes) -> None:
    """Add a manifest that was pushed to its subject's list, for a registry that did not do it.

    Raises:
        RegistryProblem: the list cannot be written.
    """
    try:
        document = codec.from_json(data, _Referrer)
    except (msgspec.MsgspecError, InvalidDigest):
        return
    if document.subject is None:
        return
    subject = document.subject.digest
    entry = oci.Descriptor(
        media_type,
        Digest.of(data),
        len(data),
        annotations=document.annotations,
        artifact_type=document.artifact_type or (document.config.media_type if document.config else None),
    )
    found = _tagged(repository, subject)
    if any(one.digest == entry.digest for one in found.manifests):
        return
    index = msgspec.structs.replace(found, manifests=(*found.manifests, entry))
    repository.put_manifest(_tag(subject), oci.MEDIA_INDEX, codec.to_json(index))


def _tagged(repository: Repository, digest: Digest) -> oci.Index:
    try:
        media, data = repository.manifest(_tag(digest))
    except ImageNotFound:
        return _EMPTY
    if media != oci.MEDIA_INDEX:
        raise RegistryRefused(f"{repository.where}: the list of referrers {_tag(digest)} is a {media!r}")
    return _decoded(data, repository.where)


def _tag(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"[:128]


def _decoded(data: bytes, where: str) -> oci.Index:
    """An index that a registry sent.

    Raises:
        RegistryRefused: it is none.
    """
    try:
        return codec.from_json(data, oci.Index)
    except (msgspec.MsgspecError, InvalidDigest, UnicodeDecodeError, RecursionError) as problem:
        raise RegistryRefused(f"{where}: the registry sent an invalid index: {problem}") from None
