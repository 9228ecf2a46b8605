"""A listening socket, and the connections that came by it, each relayed to somewhere else."""

from __future__ import annotations

import socket
from collections.abc import Callable

from contextkernel.network.accepting import Acceptor
from contextkernel.network.dial import Dialer
from contextkernel.network.loop import Loop
from contextkernel.network.stream import Stream, abort

_ACCEPTS = 64  # connections taken at once before others have their turn

Address = tuple[str, int]


class StreamPort:
    """Relays what connects.

    Args:
        loop: that of this thread.
        listener: does not block, and stays its owner's.
    """

    def __init__(self, loop: Loop, listener: socket.socket) -> None:
        self._loop = loop
        self._dialer: Dialer | None = None
        self._where: Callable[[socket.socket], Address | None] | None = None
        self._streams: set[Stream] = set()
        self._dialling: set[socket.socket] = set()
        self._acceptor = Acceptor(loop, listener, lambda client, _: self._begin(client), turns=_ACCEPTS)

    @property
    def flows(self) -> int:
        """Connections that are relayed, or about to be."""
        return len(self._streams) + len(self._dialling)

    def lead(self, dialer: Dialer | None, address: Address | None) -> None:
        """Where new connections are to go; ``None``: nowhere, they are reset."""
        self.lead_by(dialer, lambda _client: address)

    def lead_by(self, dialer: Dialer | None, where: Callable[[socket.socket], Address | None]) -> None:
        """The same, with a place for each connection."""
        self._dialer = dialer
        self._where = where

    def close(self) -> None:
        """Cut all connections; the listening socket stays open. Idempotent."""
        self._acceptor.close()
        for client in self._dialling:
            abort(client)
            client.close()
        self._dialling.clear()
        for stream in list(self._streams):
            stream.close(reset=True)

    def _begin(self, client: socket.socket) -> None:
        address = None if self._where is None else self._where(client)
        if self._dialer is None or address is None:
            abort(client)
            client.close()
            return
        self._dialling.add(client)

        def dialled(answer: socket.socket | OSError) -> None:
            if client not in self._dialling:  # closed in the meantime
                if not isinstance(answer, OSError):
                    answer.close()
                return
            self._dialling.discard(client)
            if isinstance(answer, OSError):
                abort(client)
                client.close()
                return
            self._streams.add(Stream(self._loop, client, answer, self._streams.discard))

        self._dialer.dial(socket.SOCK_STREAM, *address, dialled)
