"""A client for one repository of one registry: manifests, blobs, tags and referrers, to read, to write and to remove.

Source: OCI distribution-spec v1.1 ("Pull", "Push", "Content Discovery", "Content Management").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO
from urllib.parse import quote

import urllib3

from contextkernel.errors import (
    DigestMismatch,
    ImageNotFound,
    InvalidDigest,
    RegistryProblem,
    RegistryRefused,
)
from contextkernel.model import oci
from contextkernel.model.digest import Digest
from contextkernel.registry import uploading
from contextkernel.registry.blob_stream import BlobStream, OpenedBlob, number
from contextkernel.registry.connection import Connection
from contextkernel.registry.credentials import Credentials
from contextkernel.registry.listing import names
from contextkernel.registry.retrying import Tries
from contextkernel.registry.settings import Access, Endpoint, endpoints

_KINDS = (oci.MEDIA_INDEX, oci.MEDIA_DOCKER_LIST, oci.MEDIA_MANIFEST, oci.MEDIA_DOCKER_MANIFEST)
# whatever else there is comes too, so that the reader can say what it is instead of that it is not there
ACCEPT = ", ".join((*_KINDS, "application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.5", "*/*;q=0.1"))
MAX_DOCUMENT = 4 << 20  # bytes; the specification asks registries to accept manifests of at least 4 MiB


class Repository:
    """One repository at one endpoint. May be used by several threads.

    Args:
        endpoint: where the registry answers.
        registry: its name, for credentials and messages.
        path: the repository as in references, e.g. ``library/ubuntu``.
        access: what its tokens are asked for.
        tries: patience; by default that of a person who waits.
        credentials: instead of those that ``login`` kept.
        told: is told of each failure after which it is tried again, and of the seconds that are waited.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        registry: str,
        path: str,
        *,
        access: Access = "pull",
        tries: Tries | None = None,
        credentials: Credentials | None = None,
        told: Callable[[RegistryProblem, float], None] | None = None,
    ) -> None:
        self._path = endpoint.path(path)
        self.connection = Connection(
            endpoint,
            registry,
            where=f"{registry}/{path}",
            scopes=(f"repository:{self._path}:{access}",),
            tries=tries,
            credentials=credentials,
            repository=path,
        )
        self.registry = registry
        self.path = path
        self.mirror = endpoint.mirror
        self.told = told
        self.chunk = endpoint.chunk
        self._sessions: dict[str, str] = {}

    @property
    def where(self) -> str:
        """Registry and repository, for messages."""
        return self.connection.where

    @property
    def tries(self) -> Tries:
        """How patient this client is."""
        return self.connection.tries

    def abort(self) -> None:
        """See :meth:`Connection.abort`."""
        self.connection.abort()

    def manifest(self, reference: str) -> tuple[str, bytes]:
        """The document under a tag or digest.

        Returns:
            Its media type and its exact bytes; that they are what the digest says is for the caller to check.

        Raises:
            ImageNotFound: the registry has no such manifest. RegistryRefused, RegistryUnreachable: see there.
        """

        def once() -> tuple[str, bytes]:
            with self._manifest("GET", reference) as response:
                data = self.connection.read(response, f"manifest {reference}", MAX_DOCUMENT)
                return _media(response), data

        return self.tries.run(once, self.told)

    def head(self, reference: str) -> oci.Descriptor | None:
        """What is under a tag or digest, without the document itself, where the registry can tell.

        Returns:
            Media type, digest and size; ``None`` if there is nothing.
        """

        def once() -> oci.Descriptor | None:
            with self._manifest("HEAD", reference) as response:
                digest = _digest(response.headers.get("Docker-Content-Digest", ""))
                size = number(response.headers.get("Content-Length", ""))
                return oci.Descriptor(_media(response), digest, size) if digest and size is not None else None

        try:
            found = self.tries.run(once, self.told)
            if found is None:  # a registry that does not say the digest
                media, data = self.manifest(reference)
                found = oci.Descriptor(media, Digest.of(data), len(data))
        except ImageNotFound:
            return None
        return found

    @contextmanager
    def blob(self, digest: str, *, offset: int = 0) -> Iterator[BlobStream]:
        """A blob as a readable stream.

        Args:
            digest: of the blob.
            offset: bytes that are not needed; look at ``stream.offset``, not all servers give parts.

        Raises:
            ImageNotFound: it is not there. RegistryUnreachable: the connection breaks, also while the caller reads:
                asking for the rest may help, and is the caller's part.
        """
        what = f"blob {digest}"
        opened = self.tries.run(lambda: self._open_blob(digest, offset, what), self.told)
        with opened as stream:
            yield stream

    def _open_blob(self, digest: str, offset: int, what: str) -> OpenedBlob:
        opened = OpenedBlob(self, f"{self._url}/blobs/{digest}", offset, what)
        opened.open()
        return opened

    def blob_size(self, digest: str) -> int | None:
        """Bytes of a blob; ``None`` if the registry does not have it, or does not say."""

        def once() -> int | None:
            with self.connection.request("HEAD", f"{self._url}/blobs/{digest}", f"blob {digest}") as response:
                return number(response.headers.get("Content-Length", ""))

        try:
            return self.tries.run(once, self.told)
        except ImageNotFound:
            return None

    def mount(self, digest: str, from_repository: str) -> bool:
        """Take over a blob from another repository of the same registry, without sending it.

        Returns:
            False if the registry does not do that; the blob must be sent then.
        """
        url = f"{self._url}/blobs/uploads/?mount={quote(digest)}&from={quote(from_repository, safe='')}"
        scopes = (f"repository:{from_repository}:pull",)

        def once() -> str:
            with self.connection.request(
                "POST", url, f"mounting {digest}", headers={"Content-Length": "0"}, ok=(201, 202), scopes=scopes
            ) as response:
                return uploading.location(self, response.headers.get("Location", "")) if response.status == 202 else ""

        try:
            session = self.tries.run(once, self.told)
        except (RegistryRefused, ImageNotFound):
            return False  # not allowed to read there, or an old registry: what cannot be mounted is sent
        if session:
            self._sessions[digest] = session  # begun for nothing, so the upload uses it
        return not session

    def upload(
        self, descriptor: oci.Descriptor, source: IO[bytes], tell: Callable[[int], None] = lambda _sent: None
    ) -> None:
        """Send a blob.

        Args:
            descriptor: its digest and size.
            source: gives exactly ``descriptor.size`` bytes; sent again from where it stood if it can seek.
            tell: is told now and then how many bytes are sent; after a failure it begins again. May raise to end it.

        Raises:
            SizeMismatch: the source is shorter or longer. RegistryProblem: it was not taken.
        """
        uploading.upload(self, descriptor, source, tell, self._sessions.pop(descriptor.digest, ""))

    def put_manifest(self, reference: str, media_type: str, data: bytes) -> Digest:
        """Write a manifest under a tag or digest.

        Returns:
            The digest under which the registry has it.

        Raises:
            RegistryRefused: it is not taken, e.g. since blobs of it are missing. DigestMismatch: it was changed.
        """

        def once() -> tuple[str, bool]:
            with self.connection.request(
                "PUT",
                f"{self._url}/manifests/{reference}",
                f"manifest {reference}",
                headers={"Content-Type": media_type},
                body=data,
                ok=(200, 201, 202),
            ) as response:
                return response.headers.get("Docker-Content-Digest", ""), "OCI-Subject" in response.headers

        try:
            said, listed = self.tries.run(once, self.told)
        except ImageNotFound as problem:
            raise _not_taken(problem) from None
        digest = Digest.of(data)
        if said and said != digest and said.startswith("sha256:"):
            raise DigestMismatch(f"{self.where}: the registry has {said[:80]} instead of {digest}")
        if not listed and b'"subject"' in data:
            from contextkernel.registry.referrers import list_referrer

            list_referrer(self, media_type, data)
        return digest

    def tags(self) -> Iterator[str]:
        """The repository's tags, page by page.

        Raises:
            ImageNotFound: there is no such repository.
        """
        return names(self.connection, f"{self._url}/tags/list", "tags", "tags")

    def referrers(self, digest: str, artifact_type: str = "") -> oci.Index:
        """What says that it is about a manifest: signatures, statements.

        Args:
            digest: of the manifest.
            artifact_type: only of this type.
        """
        from contextkernel.registry.referrers import referrers

        return referrers(self, digest, artifact_type)

    def delete_manifest(self, digest: str) -> None:
        """Remove a manifest, or a tag where the registry allows that.

        Raises:
            ImageNotFound: it is not there. RegistryRefused: the registry does not remove.
        """
        self._delete(f"{self._url}/manifests/{digest}", f"manifest {digest}")

    def delete_blob(self, digest: str) -> None:
        """Remove a blob; errors as for :meth:`delete_manifest`."""
        self._delete(f"{self._url}/blobs/{digest}", f"blob {digest}")

    def _delete(self, url: str, what: str) -> None:
        def once() -> None:
            scope = f"repository:{self._path}:delete"
            with self.connection.request("DELETE", url, f"removing {what}", ok=(200, 202, 204), scopes=(scope,)):
                pass

        self.tries.run(once, self.told)

    @property
    def url(self) -> str:
        """The repository's URL at its endpoint."""
        return self._url

    @property
    def _url(self) -> str:
        return f"{self.connection.base}/v2/{self._path}"

    @contextmanager
    def _manifest(self, method: str, reference: str) -> Iterator[urllib3.BaseHTTPResponse]:
        url, what = f"{self._url}/manifests/{reference}", f"manifest {reference}"
        with self.connection.request(method, url, what, headers={"Accept": ACCEPT}, ok=(200, 404)) as response:
            if response.status == 404:
                name = f"{self.where}{'@' if ':' in reference else ':'}{reference}"
                raise ImageNotFound(f"{name} does not exist in the registry", hint="check the spelling of name and tag")
            yield response


def repositories(
    registry: str,
    path: str,
    *,
    access: Access = "pull",
    by_digest: bool = False,
    tries: Tries | None = None,
    told: Callable[[RegistryProblem, float], None] | None = None,
) -> tuple[Repository, ...]:
    """The clients to try for a repository: mirrors first, the registry itself last; for pushing it alone.

    Args:
        registry, path: as in references.
        access: what is going to be done.
        by_digest: what is asked for is named by its digest.
        tries, told: see :class:`Repository`.

    Raises:
        InvalidInput: the settings are not valid. RegistryDenied: they block the registry.
    """
    return tuple(
        Repository(endpoint, registry, path, access=access, tries=tries, told=told)
        for endpoint in endpoints(registry, path, access=access, by_digest=by_digest)
    )


def _not_taken(problem: ImageNotFound) -> RegistryRefused:
    """The error for 404 where something was to be written: the repository, or what a manifest names, is missing."""
    return RegistryRefused(
        problem.problem.replace("does not exist in the registry", "is not taken"),
        hint="the registry lacks what it names, or the project must be made there first",
        status=404,
    )


def _media(response: urllib3.BaseHTTPResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip()


def _digest(text: str) -> Digest | None:
    try:
        return Digest(text.strip())
    except InvalidDigest:
        return None
