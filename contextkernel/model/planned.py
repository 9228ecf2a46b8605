"""What a container's start will do, before anything is started."""

from __future__ import annotations

from typing import Any

import msgspec

from contextkernel.model.backing import Backing


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One set-up operation.

    Attributes:
        number: from 1, in the order in which they are carried out.
        operation: its name.
        values: what it is about, by name.
    """

    number: int
    operation: str
    values: dict[str, Any]


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plan of ``run --plan``.

    Attributes:
        document: ``config.json`` of the OCI runtime specification.
        operations: the ordered steps that this engine carries out for it on this host.
        backing: what the root is made with; with ``copy`` all layers are copied into a directory before.
        isolation: what keeps it apart, by ``inspect``'s names.
        fallbacks: what stands in for what this host refuses, with the reason.
    """

    document: dict[str, Any]
    operations: tuple[PlannedStep, ...]
    backing: Backing = "overlay"
    isolation: dict[str, str] = {}
    fallbacks: tuple[str, ...] = ()
