"""How much of the host a container may use."""

from __future__ import annotations

import msgspec

from contextkernel.model.step_mounts import Limit


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one container; what can be changed by ``update`` is in here too.

    Attributes:
        ulimits: resource limits of its processes.
        shm_size: bytes of /dev/shm, 0 for the usual 64 MiB.
    """

    ulimits: tuple[Limit, ...] = ()
    shm_size: int = 0
