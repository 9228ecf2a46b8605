"""Input that stands in a text, typed at a terminal as a person would: a line when the program seems to wait for one.

A terminal has no end of input that could be sent ahead: the key for it counts only if somebody reads just then. So it
is typed again and again until the program has ended.
"""

from __future__ import annotations

_QUIET = 0.03  # seconds without output after which the program seems to wait
_PATIENCE = 0.25  # seconds after which the next line is typed all the same
_END = b"\x04"  # ctrl-d


class Typist:
    """Decides what is typed when. Pure: the time is handed in.

    Args:
        text: what is to be typed.
        now: seconds, growing.
    """

    def __init__(self, text: bytes, now: float) -> None:
        self._lines = text.splitlines(keepends=True)
        if self._lines and not self._lines[-1].endswith((b"\n", b"\r")):
            self._lines[-1] += b"\n"
        self._typed = now
        self._heard: float | None = None

    def hear(self, now: float) -> None:
        """The program has written something."""
        self._heard = now

    @property
    def due(self) -> float:
        """When to type next."""
        latest = self._typed + _PATIENCE
        return latest if self._heard is None else min(latest, max(self._heard + _QUIET, self._typed + _QUIET))

    def next(self, now: float) -> bytes:
        """What to type now; empty if it is not the time."""
        if now < self.due:
            return b""
        self._typed, self._heard = now, None
        return self._lines.pop(0) if self._lines else _END
