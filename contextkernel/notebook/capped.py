"""A program's output as a notebook can hold it: its beginning as it comes, its end when it is over, and a note between.

What a cell prints is kept three times: by the front end, by the server, and in the notebook's file. Pure.
"""

from __future__ import annotations

FIRST = 1_000_000
"""Characters that are shown as they come."""
LAST = 100_000
"""Characters from the end that are kept beyond them."""


class Capped:
    """One stream of text.

    Args:
        first, last: characters; see :data:`FIRST`, :data:`LAST`.
    """

    def __init__(self, first: int = FIRST, last: int = LAST) -> None:
        self._room = first
        self._last = last
        self._tail = ""
        self._left_out = 0
        self._full = False

    def feed(self, text: str) -> str:
        """What is to be shown now of ``text``."""
        if not self._full and len(text) <= self._room:
            self._room -= len(text)
            return text
        shown, rest = ("", text) if self._full else (text[: self._room], text[self._room :])
        if not self._full:
            self._full = True
            shown += (
                "\n[… this is more than a notebook holds: from here on the end is kept, and shown when it is over]\n"
            )
        self._tail += rest
        if len(self._tail) > 2 * self._last:  # cut now and then, not at every piece
            self._left_out += len(self._tail) - self._last
            self._tail = self._tail[-self._last :]
        return shown

    def end(self) -> str:
        """What is to be shown at the end, once."""
        if not self._full:
            return ""
        last = self._tail[-self._last :]
        left_out = self._left_out + len(self._tail) - len(last)
        self._tail, self._left_out = "", 0
        return (f"[… {left_out:,} characters left out]\n" if left_out else "") + last
