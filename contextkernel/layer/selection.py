"""Which entries below a source directory a COPY takes: ``--parents`` and ``--exclude``.

Source of the rules: BuildKit's ``fsutil/copy`` and moby/patternmatcher. The source itself is always taken. Of what is
below it an entry must match the pattern of ``--parents`` or lie in a directory that does, and must not be left out by
the patterns of ``--exclude``. A directory that is not taken is made when something in it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from contextkernel.dockerfile.ignore import IgnoreMatcher


class Selection:
    """The choice among the entries below one source.

    Args:
        include: pattern of ``--parents``, ``None`` for everything.
        exclude: patterns of ``--exclude``.

    Raises:
        InvalidInput: a malformed pattern.
    """

    def __init__(self, include: str | None, exclude: Iterable[str]) -> None:
        self._include = None if include is None else IgnoreMatcher((include,))
        self._exclude = IgnoreMatcher(exclude)

    def __bool__(self) -> bool:
        """Whether anything is ever left out."""
        return self._include is not None or bool(self._exclude)

    def takes(self, below: str) -> bool:
        """Whether an entry is copied by itself; ``below`` is its path in the source, empty or ``.`` for the source."""
        if below in {"", "."}:
            return True
        if self._include is not None and not self._include.excludes(below):
            return False
        return not self._exclude.excludes(below)

    def enters(self, below: str) -> bool:
        """Whether something inside of the directory ``below`` may be copied."""
        return not self._exclude.excludes(below) or self._exclude.may_contain_exceptions(below)
