"""What the file system of a container or a build step is made from its layers with."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Backing = Literal["overlay", "copy"]
"""``overlay``: the kernel lays the layers over each other, and changes go to a directory of their own. ``copy``: the
layers are copied into one tree, and what has changed is found by looking at every file afterwards."""

BACKINGS: tuple[Backing, ...] = get_args(Backing)

VARIABLE = "CONTEXTKERNEL_BACKING"
"""Environment variable that asks for less than the host allows."""

TREE = "tree"
"""Name of the complete tree in the directory of a container or a build step, with ``copy``."""


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """What the root of a container or a build step is made of.

    Attributes:
        lowers: ``diff`` directories of layers, base first; none: ``upper`` is the root as it is.
        upper: receives the changes.
        work: overlay's work directory, on the file system of ``upper``.
    """

    lowers: tuple[str, ...]
    upper: str
    work: str


class PrepareRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Make a root ready for a launch.

    Attributes:
        root: of what; its ``upper`` and ``work`` lie side by side in a directory of its own.
        parked: directory with a tree, from :class:`SettleRequest`, that is taken over instead of a copy; empty: none.
        above: of ``root.lowers``, those that the parked tree does not have yet, base first.
        read_only: nothing is to be changed: a single layer may be shown as it is, where mounts keep it from harm.
    """

    root: Root
    parked: str = ""
    above: tuple[str, ...] = ()
    read_only: bool = False


class SettleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Put what a program has changed into ``upper``, where overlay would have put it.

    Attributes:
        upper: as of the root that was prepared.
        park: directory that the tree is moved to; empty: it is removed.
        keep: a later step goes on with the parked tree; else its files are moved to ``upper`` instead of copied, and
            what is left of it is of no use.
    """

    upper: str
    park: str = ""
    keep: bool = False
