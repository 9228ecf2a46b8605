"""Blobs on their way: sessions that begin, grow by chunks in order, and end with a digest (spec, "Pushing blobs")."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from contextkernel.model.digest import Digest
from contextkernel.registry_server.refusals import Refusal, invalid_digest, unknown_upload
from contextkernel.registry_server.storage import Storage

_MOST = 256  # uploads at a time, of all clients
_IDLE = 3600.0  # seconds after which an upload that nobody goes on with is given up
_SHORT = 60.0  # the same when there are too many
_CHUNK = 1 << 20


class Upload:
    """A blob that is being pushed; grows on the event loop's thread pool, one write at a time.

    Attributes:
        id: in its address.
        repository: that it is for.
        size: bytes that are here.
        used: when it was last written to, by the clock of the uploads.
        turn: held while it is written to.
        writer: the request that writes to it; a new one takes over, for the old one's connection may be dead.
    """

    def __init__(self, repository: str, path: str, algorithm: str, now: float) -> None:
        self.id = os.path.basename(path)
        self.repository = repository
        self.path = path
        self.size = 0
        self.used = now
        self.turn = asyncio.Lock()
        self.writer: object | None = None
        self._state = hashlib.new(algorithm)
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115 # closed with the upload

    def write(self, data: bytes) -> None:
        """Add to the end; in its turn, on any thread.

        Raises:
            OSError: the disk is full, or the like; what was written of ``data`` counts.
        """
        view = memoryview(data)
        while view:
            count = self._file.write(view)
            self._state.update(view[:count])
            self.size += count
            view = view[count:]

    def finish(self, digest: Digest) -> None:
        """Check the digest and make the content durable; the file stays where it is.

        Raises:
            Refusal: DIGEST_INVALID. OSError: it cannot be written.
        """
        found = self._state.hexdigest() if digest.algorithm == self._state.name else self._again(digest.algorithm)
        if found != digest.hex:
            raise invalid_digest(f"the content has the digest {digest.algorithm}:{found}")
        os.fdatasync(self._file.fileno())
        self._file.close()

    def _again(self, algorithm: str) -> str:
        state = hashlib.new(algorithm)
        with open(self.path, "rb", buffering=0) as file:
            while part := file.read(_CHUNK):
                state.update(part)
        return state.hexdigest()

    def discard(self) -> None:
        """Remove what is here. Idempotent."""
        self._file.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)


class Uploads:
    """All uploads of a registry; used on the event loop.

    Args:
        storage: where finished blobs go.
        executor: threads for what takes a while.
        clock: seconds, for giving up what is idle.
    """

    def __init__(self, storage: Storage, executor: Executor, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._executor = executor
        self._clock = clock
        self._all: dict[str, Upload] = {}

    def begin(self, repository: str, algorithm: str) -> Upload:
        """A new upload.

        Raises:
            Refusal: there are too many. OSError: the file cannot be made.
        """
        self.forget_idle()
        if len(self._all) >= _MOST:
            self.forget_idle(_SHORT)
        if len(self._all) >= _MOST:
            raise Refusal(429, "TOOMANYREQUESTS", "too many uploads at a time", headers={"Retry-After": "10"})
        path = f"{self._storage.uploads}/{uuid.uuid4()}"
        upload = Upload(repository, path, algorithm, self._clock())
        self._all[upload.id] = upload
        return upload

    def get(self, repository: str, id: str) -> Upload:
        """An upload of a repository.

        Raises:
            Refusal: BLOB_UPLOAD_UNKNOWN.
        """
        upload = self._all.get(id)
        if upload is None or upload.repository != repository:
            raise unknown_upload()
        return upload

    async def write(self, upload: Upload, writer: object, data: bytes) -> bool:
        """Add to an upload; ``False``, and nothing is added, if another request has taken it over or ended it.

        Raises:
            OSError: see ``Upload.write``.
        """
        async with upload.turn:
            if upload.writer is not writer or self._all.get(upload.id) is not upload:
                return False
            upload.used = self._clock()
            await self._run(upload.write, data)
            return True

    async def finish(self, upload: Upload, writer: object, digest: Digest) -> None:
        """End an upload: the blob is the repository's.

        Raises:
            Refusal: DIGEST_INVALID, and it is gone; BLOB_UPLOAD_UNKNOWN: somebody else ended it.
        """
        async with upload.turn:
            if upload.writer is not writer or self._all.pop(upload.id, None) is None:
                raise unknown_upload()
            try:
                await self._run(upload.finish, digest)
                await self._run(self._storage.take_blob, upload.repository, digest, upload.path)
            finally:
                upload.discard()

    async def cancel(self, upload: Upload) -> None:
        """Give an upload up."""
        self._all.pop(upload.id, None)
        async with upload.turn:
            upload.discard()

    def forget(self, upload: Upload) -> None:
        """Give up, as soon as nothing is written to it, an upload that nobody can go on with."""
        upload.used = float("-inf")
        upload.writer = None

    def forget_idle(self, after: float = _IDLE) -> None:
        """Give up what nobody has gone on with for ``after`` seconds."""
        old = self._clock() - after
        for upload in [one for one in self._all.values() if one.used < old and not one.turn.locked()]:
            del self._all[upload.id]
            upload.discard()

    def close(self) -> None:
        """Give up all of it; the loop has ended."""
        for upload in self._all.values():
            upload.discard()
        self._all.clear()

    async def _run(self, act: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *arguments)
