"""What lies at a path in a stack of layer directories that nobody has mounted: links followed inside, removals heeded.

For a look at a few files by whoever owns the store: directories that a container still writes to have no index, so
``layer.merge`` cannot tell. Removals have the forms that :mod:`~contextkernel.store.worker_marks` gives them. What may
not be read counts as not there.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence

from contextkernel.layer.following import follow
from contextkernel.layer.names import OPAQUE, WHITEOUT
from contextkernel.linux import xattr
from contextkernel.store.worker_files import is_whiteout


class LowerFiles:
    """The files of a stack.

    Args:
        directories: of the layers, **base first**.
    """

    def __init__(self, directories: Sequence[str]) -> None:
        self._layers = tuple(reversed(directories))

    def resolve(self, path: str) -> str | None:
        """Where ``path`` leads when all links are followed inside of the stack, the last one too; ``None``: nowhere.

        Args:
            path: counted from the root; ``..`` stops there.
        """

        def link_at(step: str) -> str | None:
            found = self.find(f"/{step}")
            if found is None:
                raise KeyError(step)
            return os.readlink(found) if os.path.islink(found) else None

        try:
            return posixpath.normpath(f"/{follow(path, link_at, KeyError)}")
        except KeyError:
            return None

    def find(self, path: str) -> str | None:
        """The file on this host that lies at ``path``, the one of the uppermost layer; ``None``: there is none.

        Args:
            path: absolute, without links but for its last part, as :meth:`resolve` gives it.
        """
        return next(self._places(path), None)

    def names(self, directory: str) -> set[str]:
        """What is in a directory.

        Args:
            directory: absolute, without links, as :meth:`resolve` gives it.
        """
        found: set[str] = set()
        gone: set[str] = set()
        for place in self._places(directory):
            if os.path.islink(place):  # of a layer below a directory: it leads nowhere
                break
            here: set[str] = set()
            removed: set[str] = set()
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        if entry.name.startswith(WHITEOUT):
                            removed.add(entry.name.removeprefix(WHITEOUT))
                        elif _is_removal(entry.path, entry.stat(follow_symlinks=False)):
                            removed.add(entry.name)
                        else:
                            here.add(entry.name)
            except OSError:
                continue
            found |= here - gone
            gone |= removed
        return found

    def _places(self, path: str) -> Iterator[str]:
        """What the layers have at ``path``, uppermost first, as far down as it shows."""
        parts = [part for part in path.split("/") if part]
        for layer in self._layers:
            here, hides = layer, False
            for count, part in enumerate(parts, 1):
                hides = hides or _is_opaque(here)
                above, here = here, f"{here}/{part}"
                if os.path.lexists(f"{above}/{WHITEOUT}{part}"):
                    return
                try:
                    facts = os.lstat(here)
                except (OSError, ValueError):  # the latter: no file can be called so, for instance with a NUL
                    break
                if _is_removal(here, facts):
                    return
                if not stat.S_ISDIR(facts.st_mode):
                    if count == len(parts):
                        yield here
                    return
            else:
                yield here
                hides = hides or _is_opaque(here)
            if hides:
                return


def _is_removal(path: str, facts: os.stat_result) -> bool:
    """Whether a file stands for the removal of what lies below it."""
    if is_whiteout(facts):
        return True
    if not stat.S_ISREG(facts.st_mode) or facts.st_size:
        return False
    try:
        return any(xattr.get(path, f"{prefix}whiteout") is not None for prefix in xattr.OVERLAY_PREFIXES)
    except OSError:
        return False


def _is_opaque(directory: str) -> bool:
    """Whether nothing of the layers below shows in it."""
    try:
        return xattr.is_opaque(directory) or os.path.lexists(f"{directory}/{OPAQUE}")
    except OSError:
        return False
