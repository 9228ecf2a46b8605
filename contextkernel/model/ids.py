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

    Attributes:
        own: no user namespace can be made, and the engine's user is not root: whatever is written belongs to that user
            (the tiers ``ptrace`` and ``analysis``). The map is empty then.
    """

    uids: tuple[IdRange, ...] = ()
    gids: tuple[IdRange, ...] = ()
    own: bool = False

    @property
    def identity(self) -> bool:
        """No user namespace is made. Of an ordinary user too, where none can be (``own``)."""
        return not self.uids

    @property
    def root(self) -> bool:
        """The host's root works with the host's ids."""
        return self.identity and not self.own

    @property
    def single(self) -> bool:
        """The host can store one owner only: exactly one id is mapped, or there is no mapping to be had."""
        return self.own or (len(self.uids) == 1 and self.uids[0].size == 1)
