"""An archive that is read, decompressed and hashed by a thread of its own while what it holds is written.

Decompressing and hashing release Python's lock, so they run beside the writing. How far the thread is ahead is bounded;
so is what a stalled sender can hold up: whoever takes the content asks now and then whether the job is given up.
"""

from __future__ import annotations

import hashlib
import io
import os
import queue
import select
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from contextkernel.errors import ContextKernelError
from contextkernel.model.digest import Digest
from contextkernel.store.decompression import compression_of, decompressor, guarded

_BLOCK = 1 << 20  # bytes
_AHEAD = 4  # blocks
_PATIENCE = 0.25  # seconds between two looks whether the job is given up


class _Stopped(ContextKernelError):
    """Nobody takes the content any more."""


class Ahead:
    """The content of an archive, plain or compressed.

    Args:
        descriptor: open for reading, where the archive begins: a file, a pipe or a socket; not closed.
        check: called while waiting; may raise to stop.
    """

    def __init__(self, descriptor: int, check: Callable[[], None]) -> None:
        self._check = check
        self._stopped = threading.Event()
        self._wake, self._waker = os.pipe()
        self._packed = _Packed(descriptor, self._wake)
        self._plain = hashlib.sha256()
        self._blocks: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._ended = False
        self.compression = ""
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread, wherever it is."""
        self._stopped.set()
        os.close(self._waker)  # the other end has something to read from now on
        with suppress(queue.Empty):
            while True:
                self._blocks.get_nowait()  # room for what it is about to put
        self._thread.join()
        os.close(self._wake)

    def read(self, count: int) -> bytes:
        """The next block of plain content, none at the end.

        Args:
            count: at least the size of a block, 1 MiB.

        Raises:
            InvalidArchive: the compressed data is damaged.
        """
        assert count >= _BLOCK  # noqa: S101 # what Source asks for
        if self._ended:
            return b""
        while True:
            self._check()
            try:
                block = self._blocks.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if isinstance(block, BaseException):
                raise block
            self._ended = not block
            return block

    def plain_digest(self) -> Digest:
        """Of the plain content; for after the end."""
        return Digest.from_hex(self._plain.hexdigest())

    def packed_digest(self) -> Digest:
        """Of the archive as it came; for after the end."""
        return self._packed.digest() or self.plain_digest()

    @property
    def packed_size(self) -> int:
        """Bytes of the archive as it came; for after the end."""
        return self._packed.size

    def _run(self) -> None:
        last: bytes | BaseException = b""
        try:
            self._read()
        except _Stopped:
            return
        except BaseException as problem:
            last = problem
        with suppress(_Stopped):
            self._put(last)

    def _read(self) -> None:
        head = self._packed.peek()
        self.compression = compression_of(head)
        if self.compression:
            self._packed.count()
        read = guarded(decompressor(self.compression, self._packed))
        while block := read(_BLOCK):
            self._plain.update(block)
            self._put(block)
        while self._packed.read(_BLOCK):
            pass  # what follows the compressed data belongs to the archive's digest

    def _put(self, block: bytes | BaseException) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                self._blocks.put(block, timeout=_PATIENCE)
                return
        raise _Stopped("not needed any more")


class _Packed(io.RawIOBase):
    """The archive as it comes.

    Args:
        descriptor: see :class:`Ahead`.
        wake: becomes readable when nobody wants the content any more.
    """

    def __init__(self, descriptor: int, wake: int) -> None:
        self._descriptor = descriptor
        self._wake = wake
        self._head = b""
        self._sha: hashlib._Hash | None = None
        self.size = 0
        self._poll: select.poll | None = None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # files never wait
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
            self._poll.register(wake, select.POLLIN)

    def peek(self) -> bytes:
        """The first bytes, fewer than 6 only if there are no more; they stay to be read."""
        while len(self._head) < 6 and (part := self._next(6 - len(self._head))):
            self._head += part
        return self._head

    def count(self) -> None:
        """Take the digest of everything that is read from now on."""
        self._sha = hashlib.sha256()

    def digest(self) -> Digest | None:
        """Of what was read, if it was asked for."""
        return Digest.from_hex(self._sha.hexdigest()) if self._sha is not None else None

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """See ``io.RawIOBase``, whose own copies everything once more."""
        if self._head or size < 0:
            return super().read(size) or b""
        data = self._next(size)
        self.size += len(data)
        if self._sha is not None:
            self._sha.update(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """See ``io.RawIOBase``."""
        view = memoryview(buffer).cast("B")
        if self._head:
            got = min(len(view), len(self._head))
            view[:got] = self._head[:got]
            self._head = self._head[got:]
        else:
            self._wait()
            got = os.readv(self._descriptor, [view])
        self.size += got
        if self._sha is not None:
            self._sha.update(view[:got])
        return got

    def _next(self, count: int) -> bytes:
        self._wait()
        return os.read(self._descriptor, count)

    def _wait(self) -> None:
        if self._poll is None:
            return
        ready = dict(self._poll.poll())
        if self._wake in ready:
            raise _Stopped("not needed any more")
