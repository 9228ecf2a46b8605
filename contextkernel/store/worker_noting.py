"""With a single id: notes of owners and devices on the files of layers, so that they stay with a file that is moved.

The layer index knows the owner of what is at a path. A program that gives a file another name (``mv``), or copies it
with its attributes (``cp -a``), takes the note along; see :mod:`contextkernel.store.worker_records` for its reader.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from contextkernel.linux import xattr
from contextkernel.model.layers import Entry
from contextkernel.model.recorded import DEVICE, OWNER, RecordedOwner
from contextkernel.store.worker_owners import Owner
from contextkernel.store.worker_tree import Tree

_NOBODY_RAN = ""  # it was said in no run


def note_owner(target: int | str, owner: Owner) -> None:
    """Note whose a regular file or directory is, unless it is root's; where there are no attributes, nothing happens.

    Args:
        target: descriptor, or path; links are not followed.
        owner: uid and gid in the image.
    """
    if owner == (0, 0):
        return
    note = RecordedOwner(*owner).encode(_NOBODY_RAN)
    with suppress(OSError):
        if isinstance(target, int):
            os.setxattr(target, OWNER, note)
        else:
            os.setxattr(target, OWNER, note, follow_symlinks=False)


def note_owners(tree: Tree, entries: Iterable[Entry]) -> None:
    """Note the owners that an index has on the files of its layer.

    Args:
        tree: the layer's directory.
        entries: its index.
    """
    for entry in entries:
        if (entry.uid or entry.gid) and entry.kind in ("file", "dir", "char", "block"):
            directory, name = tree.parent(entry.path)
            note_owner(f"/proc/self/fd/{directory}/{name}", (entry.uid, entry.gid))


def copy_device(source: int, target: int) -> None:
    """Let a file stand for the same device node as another one, if that one does.

    Args:
        source, target: descriptors of open files.
    """
    mark = xattr.get(source, DEVICE)
    if mark is not None:
        os.setxattr(target, DEVICE, mark)
