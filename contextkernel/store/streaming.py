"""Unpacking a layer while its archive arrives."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from contextkernel.model.layers import LayerFacts
from contextkernel.model.ports import LayerWorker

_PIPE = 1 << 20  # bytes; what an ordinary user may have, by default (pipe(7))


class StreamedUnpack:
    """Hands an archive to a layer worker piece by piece; a context manager.

    Leaving it early gives the job up: what is in the directory then is only good to be removed. Once it is left,
    nothing works in the directory any more.

    Args:
        worker: does the work, in a thread of this process that waits for it.
        directory: the layer's.
        limit: the most bytes that the archive may have when unpacked.
    """

    def __init__(self, worker: LayerWorker, directory: str, *, limit: int | None = None) -> None:
        self._worker = worker
        self._directory = directory
        self._limit = limit
        self._facts: LayerFacts | None = None
        self._problem: BaseException | None = None
        self._reading, self._writing = os.pipe()
        with suppress(OSError):  # the usual 64 KiB will do
            fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, _PIPE)
        self._thread = threading.Thread(target=self._run, name="unpack", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def descriptor(self) -> int:
        """Of the pipe's end that the archive is written to, for ``sendfile`` and the like."""
        return self._writing

    def write(self, data: bytes | memoryview) -> None:
        """Pass on the next piece; waits while the worker is behind.

        Raises:
            Whatever the unpacking raised, e.g. ``InvalidArchive``.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._writing, rest) :]
        except BrokenPipeError:
            self.finish()
            raise

    def finish(self) -> LayerFacts:
        """Everything was written: wait for the end.

        Returns:
            What the layer is; whether that is what was promised is for the caller to compare (``diff_id``, ``packed``).

        Raises:
            Whatever the unpacking raised.
        """
        self._end()
        if self._problem is not None:
            raise self._problem
        assert self._facts is not None  # noqa: S101 # the thread leaves one of the two
        return self._facts

    def _end(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)  # an archive that ends here is a damaged one, if it was to go on
            self._writing = -1
        self._thread.join()

    def _run(self) -> None:
        try:
            self._facts = self._worker.unpack(self._reading, self._directory, limit=self._limit)
        except BaseException as problem:
            self._problem = problem
        finally:
            os.close(self._reading)  # whoever writes on is told
