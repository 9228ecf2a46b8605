"""What a container may do, and what it is kept apart from."""

from __future__ import annotations

import msgspec


class Security(msgspec.Struct, frozen=True, kw_only=True):
    """Privileges and isolation that were asked for; all defaults are docker's.

    Attributes:
        privileged: all there is: capabilities, devices, system calls, no masked paths.
    """

    privileged: bool = False
