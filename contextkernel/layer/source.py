"""An uncompressed archive as a stream that is read once, forward only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from contextkernel.errors import InvalidArchive
from contextkernel.model.digest import Digest

MAX_BYTES = 1 << 38  # 256 GiB unpacked, where the caller knows no better
_MAX_HEADER = 1 << 22  # one PAX or GNU long-name header
_MAX_TOGETHER = 1 << 24  # all that belong to one entry
_MAX_HEADERS = 1 << 30  # all headers of an archive together: what an index may take in memory
_CHUNK = 1 << 20


class Source:
    """An uncompressed archive as a stream that is read once; hashes and counts everything.

    It looks enough like a file for ``tarfile``, but only goes forward.

    Args:
        read: returns at most the asked number of bytes, none at the end.
        limit: the most bytes to accept.
        digest: tells the digest of everything that ``read`` has returned, where somebody else takes it; by default it
            is taken here.

    Attributes:
        last: what the last :meth:`read` returned.
        header: everything that was taken with :meth:`read` since the caller replaced it.
        padded: whether everything that was skipped so far was zeros.

    Raises:
        InvalidArchive: from any method, past ``limit``.
    """

    def __init__(
        self, read: Callable[[int], bytes], limit: int | None = None, digest: Callable[[], Digest] | None = None
    ) -> None:
        self._read = read
        self._limit = MAX_BYTES if limit is None else limit
        self._sha = None if digest else hashlib.sha256()
        self._digest = digest or self._own_digest
        self._block = memoryview(b"")
        self._position = 0
        self._taken = 0
        self._headers = 0
        self.last = b""
        self.header: bytes | bytearray = bytearray()
        self.padded = True

    def _own_digest(self) -> Digest:
        assert self._sha is not None  # noqa: S101 # this method is used only then
        return Digest.from_hex(self._sha.hexdigest())

    def _refill(self) -> bool:
        block = self._read(_CHUNK)
        if not block:
            return False
        self._taken += len(block)
        if self._taken > self._limit:
            raise InvalidArchive(
                f"archive is larger than {self._limit} bytes when unpacked",
                hint="there is no space left for more (`system prune` makes room), or it is made to fill the disk",
            )
        if self._sha is not None:
            self._sha.update(block)
        self._block = memoryview(block)
        return True

    def take(self, count: int) -> memoryview:
        """Between 1 and ``count`` next bytes; none at the end."""
        if not self._block and not self._refill():
            return memoryview(b"")
        part = self._block[:count]
        self._block = self._block[count:]
        self._position += len(part)
        return part

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end; for headers, hence bounded."""
        self._headers += count
        if count > _MAX_HEADER or self._headers > _MAX_HEADERS or len(self.header) > _MAX_TOGETHER:
            raise InvalidArchive(f"archive headers are too large at byte {self._position}")
        self.last = self._gather(count)
        self.header += self.last
        return self.last

    def peek(self, count: int) -> bytes:
        """What :meth:`read` would return, which stays to be read."""
        if len(self._block) >= count:
            return bytes(self._block[:count])
        position = self._position
        data = self._gather(count)
        self._block = memoryview(data + bytes(self._block))
        self._position = position
        return data

    def skip(self, data: bytes) -> None:
        """Take what :meth:`peek` has just returned; it becomes the header."""
        self._headers += len(data)
        if self._headers > _MAX_HEADERS:
            raise InvalidArchive(f"archive headers are too large at byte {self._position}")
        self._block = self._block[len(data) :]
        self._position += len(data)
        self.last = self.header = data

    def _gather(self, count: int) -> bytes:
        if len(self._block) >= count:
            return bytes(self.take(count))
        parts = []
        while count > 0 and (part := self.take(count)):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def tell(self) -> int:
        """Bytes gone by."""
        return self._position

    def seek(self, position: int) -> int:
        """Go forward to ``position``, or to the end."""
        if position < self._position:
            raise InvalidArchive(f"archive is damaged at byte {self._position}")
        while self._position < position and (part := self.take(position - self._position)):
            if self.padded and part.tobytes().strip(b"\0"):
                self.padded = False
        return self._position

    def rest(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end, without counting as headers."""
        return self._gather(count)

    def finish(self) -> Digest:
        """Read what is left and return the digest of the whole stream."""
        self._block = memoryview(b"")
        while self._refill():
            pass
        return self._digest()
