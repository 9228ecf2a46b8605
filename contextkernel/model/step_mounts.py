"""What a build step may see besides its own layers: files of other layers, caches, secrets, agent sockets."""

from __future__ import annotations

import msgspec


class LayerBind(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Files of other layers, made visible at ``target``.

    Attributes:
        target: absolute path in the container.
        lowers: ``diff`` directories, base first; none for an empty directory.
        source: path within them, links followed inside of them only; ``/`` for all.
        read_only: otherwise changes go to ``room`` and are thrown away.
        room: an empty directory of the step's own; it is gone when the step's directory is.
    """

    target: str
    lowers: tuple[str, ...]
    source: str = "/"
    read_only: bool = True
    room: str


class CacheBind(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A directory of the host that is kept, made visible at ``target``.

    Attributes:
        source: the directory.
        target: absolute path in the container.
        path: path within it, links followed inside of it only; ``/`` for all.
    """

    source: str
    target: str
    path: str = "/"
    read_only: bool = False


class SecretFile(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A file that exists in memory only; its content is never shown.

    Attributes:
        target: absolute path in the container.
        content: what is in it.
    """

    target: str
    content: bytes
    mode: int = 0o400
    uid: int = 0
    gid: int = 0

    def __repr__(self) -> str:
        """Without the content: representations end up in messages."""
        return f"SecretFile({self.target!r}, {len(self.content)} bytes)"


class SecretVariable(msgspec.Struct, frozen=True):
    """An environment variable whose value is never shown."""

    name: str
    value: str

    def __repr__(self) -> str:
        """Without the value: representations end up in messages."""
        return f"SecretVariable({self.name!r})"


class SocketBind(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A listening socket of the host, which gets this owner and mode and is made visible at ``target``."""

    source: str
    target: str
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


StepMount = LayerBind | CacheBind | SecretFile | SocketBind


class Limit(msgspec.Struct, frozen=True):
    """A resource limit: name as in ``RLIMIT_<NAME>``, lower case; -1 is no limit."""

    name: str
    soft: int
    hard: int
