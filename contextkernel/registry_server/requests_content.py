"""Requests for manifests, blobs and referrers."""

from __future__ import annotations

import os

from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_INDEX
from contextkernel.registry_server.content import Entry
from contextkernel.registry_server.manifests import MAX_MANIFEST, check_manifest
from contextkernel.registry_server.names import checked_digest, checked_reference, is_tag
from contextkernel.registry_server.ranges import Unsatisfiable, byte_range
from contextkernel.registry_server.refusals import (
    Refusal,
    invalid_manifest,
    unknown_blob,
    unknown_manifest,
    unknown_repository,
)
from contextkernel.registry_server.requests import Answerer, marked
from contextkernel.registry_server.storage import same_content

_PIECE = 1 << 20  # bytes of a blob in memory at a time
_MOST_TAGS = 100  # of one push
_REFERRERS_PAGE = 1 << 20  # bytes of descriptors in one answer


class Manifests(Answerer):
    """``/v2/<name>/manifests/<reference>`` (end-3, end-7, end-9)."""

    largest = MAX_MANIFEST

    async def begin(self) -> None:
        """Room for the document; one that is too large is refused before it is sent."""
        self._data = bytearray()
        self._given: Digest | str = checked_reference(self.path_kwargs["reference"])
        if self.longer_than(MAX_MANIFEST):
            raise Refusal(413, "SIZE_INVALID", f"a manifest has {MAX_MANIFEST} bytes at most")

    async def received(self, chunk: bytes) -> None:
        """See ``Answerer``."""
        self._data += chunk

    async def answer_get(self, name: str, reference: str) -> None:
        """The manifest as it was pushed (end-3)."""
        found = await self.run(self.around.content.manifest, name, self._given)
        if found is None:
            known = await self.run(self.around.content.tags, name) is not None
            raise unknown_manifest(reference) if known else unknown_repository(name)
        entry: Entry = found[0]
        if marked(self, entry.digest):
            self.set_status(304)
            self.clear_header("Content-Type")
            await self.finish()
            return
        self.json(found[1], entry.media_type)

    answer_head = answer_get

    async def answer_put(self, name: str, reference: str) -> None:
        """Take a manifest (end-7)."""
        tags = self.get_query_arguments("tag")
        digest = self._given if isinstance(self._given, Digest) else None
        if tags and digest is None:
            raise invalid_manifest("tags as parameters go with a push by digest")
        if len(tags) > _MOST_TAGS:
            raise Refusal(414, "UNSUPPORTED", f"{_MOST_TAGS} tags at most")
        for tag in tags:
            if not is_tag(tag):
                raise invalid_manifest("not a tag", {"tag": tag[:128]})
        content_type = self.request.headers.get("Content-Type", "")
        entry, subject = await self.run(self._take, name, bytes(self._data), content_type, tags)
        self.set_status(201)
        self.set_header("Location", self.address(name, "manifests", reference))
        self.set_header("Docker-Content-Digest", str(entry.digest))
        if subject is not None:
            self.set_header("OCI-Subject", str(subject))
        if tags:
            self.set_header("OCI-Tag", ", ".join(tags))
        self.set_header("Content-Length", "0")
        await self.finish()

    def _take(self, name: str, data: bytes, content_type: str, tags: list[str]) -> tuple[Entry, Digest | None]:
        storage, given = self.storage, self._given

        def size_of(digest: Digest) -> int | None:
            path = storage.blob(name, digest)
            return None if path is None else os.path.getsize(path)

        algorithm = given.algorithm if isinstance(given, Digest) else "sha256"
        with storage.changing:
            entry, named = check_manifest(
                data, content_type, algorithm, size_of, lambda digest: storage.manifest(name, digest) is not None
            )
            if isinstance(given, Digest):
                same_content(entry, given)
            else:
                tags = [given]
            storage.put_manifest(name, entry, data, tags, named.subject)
        return entry, named.subject

    async def answer_delete(self, name: str, reference: str) -> None:
        """Remove a tag, or a manifest with all its tags (end-9)."""
        del reference
        remove = self.storage.delete_manifest if isinstance(self._given, Digest) else self.storage.delete_tag
        await self.run(remove, name, self._given)
        self.set_status(202)
        self.set_header("Content-Length", "0")
        await self.finish()


class Blobs(Answerer):
    """``/v2/<name>/blobs/<digest>`` (end-2, end-10)."""

    async def answer_get(self, name: str, digest: str) -> None:
        """The content, or a range of it (RFC 9110, section 14)."""
        wanted = checked_digest(digest)
        path = await self.run(self.around.content.blob, name, wanted)
        if path is None:
            raise unknown_blob(wanted)
        try:
            file = open(path, "rb", buffering=0)  # noqa: SIM115, ASYNC230 # closed below; it exists
        except FileNotFoundError:
            raise unknown_blob(wanted) from None
        with file:
            size = os.fstat(file.fileno()).st_size
            self.set_header("Accept-Ranges", "bytes")
            self.set_header("Content-Type", "application/octet-stream")
            if marked(self, wanted):
                self.set_status(304)
                self.clear_header("Content-Type")
                await self.finish()
                return
            first, count = self._range(wanted, size)
            self.set_header("Content-Length", str(count))
            if self.request.method == "HEAD":
                await self.finish()
                return
            file.seek(first)
            while count and (piece := await self.run(file.read, min(_PIECE, count))):
                count -= len(piece)
                self.write(piece)
                await self.flush()  # waits until the client has taken it
            await self.finish()

    answer_head = answer_get

    def _range(self, digest: Digest, size: int) -> tuple[int, int]:
        """Where to begin, and how many bytes to give."""
        headers = self.request.headers
        condition = headers.get("If-Range", f'"{digest}"')
        if self.request.method != "GET" or condition != f'"{digest}"':
            return 0, size
        try:
            wanted = byte_range(headers.get("Range", ""), size)
        except Unsatisfiable:
            raise Refusal(416, "UNSUPPORTED", "no such range", headers={"Content-Range": f"bytes */{size}"}) from None
        if wanted is None:
            return 0, size
        first, end = wanted
        self.set_status(206)
        self.set_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
        return first, end - first

    async def answer_delete(self, name: str, digest: str) -> None:
        """Take the blob away from the repository (end-10)."""
        await self.run(self.storage.delete_blob, name, checked_digest(digest))
        self.set_status(202)
        self.set_header("Content-Length", "0")
        await self.finish()


class Referrers(Answerer):
    """``/v2/<name>/referrers/<digest>`` (end-12)."""

    async def answer_get(self, name: str, digest: str) -> None:
        """An index of the manifests that name this one as their subject, in pages."""
        kind, last = self.one("artifactType"), self.one("last")
        shown, more = await self.run(self._page, name, checked_digest(digest), kind, last)
        if kind:
            self.set_header("OCI-Filters-Applied", "artifactType")
        if more:
            query = {"artifactType": kind, "last": more} if kind else {"last": more}
            self.set_header("Link", f'<{self.address(name, "referrers", digest, **query)}>; rel="next"')
        self.json(b'{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' % (MEDIA_INDEX.encode(), shown), MEDIA_INDEX)

    def _page(self, name: str, subject: Digest, kind: str, last: str) -> tuple[bytes, str]:
        """The descriptors after ``last``, as many as one answer takes, and the digest of the last if there are more."""
        shown: list[bytes] = []
        room = _REFERRERS_PAGE
        for entry in self.around.content.referrers(name, subject, last):
            if kind and entry.artifact_type != kind:
                continue
            document = to_json(entry)
            room -= len(document)
            if shown and room < 0:
                return b",".join(shown), last
            shown.append(document)
            last = entry.digest
        return b",".join(shown), ""
