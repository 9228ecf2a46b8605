"""User and group id mappings (user_namespaces(7))."""

from __future__ import annotations

import msgspec


class IdRange(msgspec.Struct, frozen=True):
    """``size`` ids starting at ``container`` inside are those starting at ``host`` outside."""

    container: int
    host: int
    size: int


class IdMap(msgspec.Struct, frozen=True):
    """What a container's ids are on the host.

    An empty map (no ranges) means the ids are the same: no user namespace is made (the ``rootful`` tier).
    """

    uids: tuple[IdRange, ...] = ()
    gids: tuple[IdRange, ...] = ()

    @property
    def identity(self) -> bool:
        """No user namespace is needed."""
        return not self.uids

    @property
    def single(self) -> bool:
        """Exactly one id is mapped; the host can store one owner only."""
        return len(self.uids) == 1 and self.uids[0].size == 1
