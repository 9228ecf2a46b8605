"""Requests that push blobs: in one piece, in chunks, or by a mount from another repository."""

from __future__ import annotations

from typing import Any

from contextkernel.model.digest import Digest
from contextkernel.registry_server.names import checked_digest, checked_name
from contextkernel.registry_server.ranges import chunk_range
from contextkernel.registry_server.refusals import Refusal, invalid_digest, unknown_upload
from contextkernel.registry_server.requests import DISCARDED, Answerer
from contextkernel.registry_server.uploads import Upload

_LARGEST_BLOB = 1 << 50  # what ends an upload is the disk


class _Receiver(Answerer):
    """Writes the body of a request into an upload."""

    _upload: Upload | None = None
    _discarded = 0

    async def received(self, chunk: bytes) -> None:
        """See ``Answerer``; nothing more is read before this part is written.

        What cannot be written is refused when the rest has come, or enough of it: a client that is still sending may
        not be listening yet.
        """
        upload = self._upload
        if self._problem is None and upload is not None:
            try:
                if not await self.uploads.write(upload, self, chunk):
                    self._problem = unknown_upload()
            except OSError as problem:
                self._problem = problem
        if self._problem is not None and not self._finished:
            self._discarded += len(chunk)
            if self._discarded > DISCARDED:
                self._last = True
                self._handle_request_exception(self._problem)
                connection: Any = self.request.connection
                connection.close()

    def on_connection_close(self) -> None:
        """Called by tornado when the client has gone: what it did not finish can be gone on with, if it knows where."""
        if self.request.method == "POST" and self._upload is not None:
            self.uploads.forget(self._upload)

    def state(self, upload: Upload, status: int) -> None:
        """Answer with where an upload stands."""
        self.set_status(status)
        for name, value in self.place(upload).items():
            self.set_header(name, value)
        if status != 204:
            self.set_header("Content-Length", "0")
        self.finish()

    def place(self, upload: Upload) -> dict[str, str]:
        """Headers that say where an upload goes on."""
        return {
            "Location": self.address(upload.repository, "blobs", "uploads", upload.id),
            "Range": f"0-{max(0, upload.size - 1)}",
            "Docker-Upload-UUID": upload.id,
        }

    def created(self, name: str, digest: Digest) -> None:
        """Answer that the repository has the blob now."""
        self.set_status(201)
        self.set_header("Location", self.address(name, "blobs", digest))
        self.set_header("Docker-Content-Digest", str(digest))
        self.set_header("Content-Length", "0")
        self.finish()

    async def end(self, name: str, digest: Digest) -> None:
        """The whole of a blob is here."""
        upload = self._upload
        if upload is None:
            raise unknown_upload()
        await self.uploads.finish(upload, self, digest)
        self.created(name, digest)


class Begin(_Receiver):
    """``POST /v2/<name>/blobs/uploads/`` (end-4, end-11)."""

    largest = _LARGEST_BLOB
    _digest: Digest | None = None
    _mounted: Digest | None = None

    async def begin(self) -> None:
        """Mount, or make an upload before the body comes."""
        if self.request.method != "POST":
            return
        name = self.path_kwargs["name"]
        mount, source, digest = self.one("mount"), self.one("from"), self.one("digest")
        if mount:
            wanted = checked_digest(mount)
            if await self.run(self.storage.mount, name, wanted, checked_name(source) if source else None):
                self._mounted = wanted
                return
        if digest:
            self._digest = checked_digest(digest)
        algorithm = self.one("digest-algorithm") or (self._digest.algorithm if self._digest else "sha256")
        if algorithm not in ("sha256", "sha512"):
            raise invalid_digest("not an algorithm of this registry: sha256, sha512")
        self._upload = self.uploads.begin(name, algorithm)
        self._upload.writer = self

    async def answer_post(self, name: str) -> None:
        """The upload has begun, or the blob is here already."""
        upload = self._upload
        if self._mounted is not None:
            self.created(name, self._mounted)
        elif upload is None:
            raise unknown_upload()
        elif self._digest is not None:
            await self.end(name, self._digest)
        elif upload.size:  # a body without a digest says nothing
            await self.uploads.cancel(upload)
            raise Refusal(400, "BLOB_UPLOAD_INVALID", "a blob in one piece needs its digest in the address")
        else:
            self.state(upload, 202)


class Session(_Receiver):
    """``/v2/<name>/blobs/uploads/<id>`` (end-5, end-6, end-13, end-14)."""

    largest = _LARGEST_BLOB
    _digest: Digest

    async def begin(self) -> None:
        """Take the upload over, if what comes fits where it ends."""
        if self.request.method not in ("PATCH", "PUT"):
            return
        upload = self.uploads.get(self.path_kwargs["name"], self.path_kwargs["id"])
        if self.request.method == "PUT":
            self._digest = checked_digest(self.one("digest"))
        upload.writer = self
        async with upload.turn:
            self._fits(upload)
        self._upload = upload

    def _fits(self, upload: Upload) -> None:
        headers = self.request.headers
        text = headers.get("Content-Range", "")
        if not text:
            return
        wanted = chunk_range(text)
        if wanted is None:
            raise Refusal(400, "BLOB_UPLOAD_INVALID", "Content-Range is not FIRST-LAST")
        first, end = wanted
        length = headers.get("Content-Length", "")
        if length and length != str(end - first):
            raise Refusal(400, "SIZE_INVALID", "Content-Length is not that of the Content-Range")
        if first != upload.size:
            raise Refusal(
                416, "BLOB_UPLOAD_INVALID", "the chunk does not follow the last one", headers=self.place(upload)
            )

    async def answer_patch(self, name: str, id: str) -> None:
        """A chunk is here (end-5)."""
        del name, id
        if self._upload is None:
            raise unknown_upload()
        self.state(self._upload, 202)

    async def answer_put(self, name: str, id: str) -> None:
        """The blob is complete (end-6)."""
        del id
        await self.end(name, self._digest)

    async def answer_get(self, name: str, id: str) -> None:
        """How far the upload has come (end-13)."""
        self.state(self.uploads.get(name, id), 204)

    async def answer_delete(self, name: str, id: str) -> None:
        """Give the upload up (end-14)."""
        await self.uploads.cancel(self.uploads.get(name, id))
        self.set_status(204)
        await self.finish()
