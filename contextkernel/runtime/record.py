"""What a monitor keeps in the container's directory while it lives: lock, control socket, state."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.runtime import state

if TYPE_CHECKING:
    from contextkernel.model.container import RunState


class Record:
    """The record of one container; its control socket is a :class:`~contextkernel.runtime.loop.Source`.

    Args:
        state_dir: the container's directory; ``None``: nothing is kept, and nobody can connect (build steps).
        accept: called with each connection of a client.
    """

    def __init__(self, state_dir: str | None, accept: Callable[[socket.socket], None]) -> None:
        self._path = state_dir
        self._accept = accept
        self._directory: int | None = None
        self._lock: int | None = None
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Lock the container and listen.

        Raises:
            ContainerRunning: another monitor has it.
        """
        if self._path is None:
            return
        self._directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock = state.take_lock(self._directory)
        with suppress(FileNotFoundError):
            os.unlink(state.SOCKET, dir_fd=self._directory)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        # a name short enough for sockaddr_un, whatever the directory's is
        self._listener.bind(f"/proc/self/fd/{self._directory}/{state.SOCKET}")
        self._listener.listen()

    def write(self, new: RunState) -> None:
        """Record ``new``; a full disk costs the record, not the container."""
        if self._directory is None or self._lock is None:
            return
        with suppress(OSError):
            if new.pid:
                state.note_init(self._lock, new.pid)
            state.write_state(self._directory, new)

    def interests(self) -> Iterator[tuple[int, int]]:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._listener is not None:
            yield self._listener.fileno(), select.POLLIN

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._listener is None or self._listener.fileno() not in events:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        self._accept(connection)

    def stop_listening(self) -> None:
        """No more clients. Idempotent."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def unlock(self) -> None:
        """Let others start the container again: all is recorded. Idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
