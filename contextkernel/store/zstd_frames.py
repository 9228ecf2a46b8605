"""Whether a zstd stream has come to its end: its reader returns nothing more where the stream breaks off, too.

Format: RFC 8878, sections 3.1.1 (frames and their blocks) and 3.1.2 (skippable frames).
"""

from __future__ import annotations

from typing import Protocol

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A50  # and the next fifteen
_DICTIONARY = (0, 1, 2, 4)  # bytes of the dictionary's id, by its flag
_SIZE = (0, 2, 4, 8)  # bytes of the content's size; a single segment has one at least
_RLE = 1


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Frames:
    """Packed content that passes through; its blocks are stepped over, not looked into.

    Args:
        stream: from its beginning.

    Attributes:
        complete: what has passed ends with the end of a frame, or is no zstd, which is for the reader to say.
    """

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._at = "magic"
        self._held = b""
        self._skip = 0
        self._checksum = 0

    @property
    def complete(self) -> bool:
        """See the class."""
        return self._at == "unknown" or (self._at == "magic" and not self._held and not self._skip)

    def read(self, size: int = -1, /) -> bytes:
        """What the stream gives."""
        data = self._stream.read(size)
        self._pass(data)
        return data

    def _pass(self, data: bytes) -> None:
        at = 0
        while at < len(data) and self._at != "unknown":
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
            else:
                wanted = {"descriptor": 1, "block": 3}.get(self._at, 4)
                step = min(wanted - len(self._held), len(data) - at)
                self._held += data[at : at + step]
                if len(self._held) == wanted:
                    self._step(int.from_bytes(self._held, "little"))
                    self._held = b""
            at += step

    def _step(self, value: int) -> None:
        match self._at:
            case "magic" if value == _MAGIC:
                self._at = "descriptor"
            case "magic" if value & ~0xF == _SKIPPABLE:
                self._at = "skippable"
            case "skippable":
                self._at, self._skip = "magic", value
            case "descriptor":
                single = value >> 5 & 1
                self._checksum = 4 if value >> 2 & 1 else 0
                self._skip = (1 - single) + _DICTIONARY[value & 3] + (_SIZE[value >> 6] or single)
                self._at = "block"
            case "block":
                self._skip = 1 if value >> 1 & 3 == _RLE else value >> 3
                if value & 1:  # the last one
                    self._at, self._skip = "magic", self._skip + self._checksum
            case _:
                self._at = "unknown"
