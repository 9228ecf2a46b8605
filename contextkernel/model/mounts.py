"""What a container is to see besides its image: volumes, directories of the host, memory."""

from __future__ import annotations

from typing import Literal

import msgspec


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One mount (``-v``, ``--mount``, ``--tmpfs``, VOLUME).

    Attributes:
        type: what is mounted.
        source: absolute path of the host, name of a volume, or empty.
        target: absolute path inside, resolved inside the container's root.
    """

    type: Literal["bind", "volume", "tmpfs"]
    source: str = ""
    target: str
    read_only: bool = False
