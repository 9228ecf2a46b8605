"""What the file system of a container or a build step is made from its layers with."""

from __future__ import annotations

from typing import Literal, get_args

Backing = Literal["overlay", "copy"]
"""``overlay``: the kernel lays the layers over each other, and changes go to a directory of their own. ``copy``: the
layers are copied into one tree, and what has changed is found by looking at every file afterwards."""

BACKINGS: tuple[Backing, ...] = get_args(Backing)

VARIABLE = "CONTEXTKERNEL_BACKING"
"""Environment variable that asks for less than the host allows."""

TREE = "tree"
"""Name of the complete tree in the directory of a container or a build step, with ``copy``."""
