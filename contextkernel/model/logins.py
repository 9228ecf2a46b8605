"""What ``login`` and ``search`` come to."""

from __future__ import annotations

import msgspec


class LoginResult(msgspec.Struct, frozen=True, kw_only=True):
    """A login that the registry took.

    Attributes:
        registry: as in references.
        username: who; empty with a token alone.
        path: configuration file that tells of it.
        helper: credential helper that keeps the secret; empty: the file has it, unencrypted.
        token: whether a token of the registry is kept, not the password.
    """

    registry: str
    username: str = ""
    path: str = ""
    helper: str = ""
    token: bool = False


class SearchRow(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that a search found.

    Attributes:
        name: as ``pull`` takes it.
        description: in the words of its owner.
        stars: how many users marked it; 0 where the registry does not count.
        official: whether it is one of Docker's official images.
    """

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
