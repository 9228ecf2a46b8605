"""What differs from run to run is taken out of outputs; what a case says itself is left.

Always: identifiers (numbered by first appearance, so that equal ones stay equal), times, durations, addresses of
default pools, MAC addresses, ephemeral ports, and the widths of columns. The treatments of a line:

``raw``
    nothing of this: the bytes.
``sort``
    the order of lines.
``sizes``
    numbers with units of bytes, ``1.2MB``.
``numbers``
    every number.
``words``
    the order of words, and of the elements of lists.
``unread``
    the whole output: what the command did is seen by a later line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TREATMENTS = frozenset({"raw", "sort", "sizes", "numbers", "words", "unread"})
_LONG_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_SHORT_ID = re.compile(r"(?<![0-9a-zA-Z_.-])[0-9a-f]{12}(?![0-9a-zA-Z_-])")
_NEVER = "0001-01-01T00:00:00Z"
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?([+-]\d\d:?\d\d|Z|UTC)( [A-Z]{3,4})?)?")
_WHILE = re.compile(
    r"(Less than a second|About an? (minute|hour)|\d+ (second|minute|hour)s?)( ago)?"
    r"|(?<=for )\d+(\.\d+)?m?s\b"
)
_POOL = re.compile(r"\b(172\.(1[6-9]|2\d|3[01])|192\.168|10\.\d+)\.\d+\.\d+\b")
_MAC = re.compile(r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b")
_PORT = re.compile(r"(?<=[: \"'])(3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4}|60\d{3})\b")
_SIZE = re.compile(r"\b\d+(\.\d+)?(?=\s?([kKMGT]i?)?B\b)([ ]?[kKMGT]?i?B\b)")


@dataclass
class Normal:
    """Takes the incidental out of one case's outputs.

    Args:
        said: the case's own text.
    """

    said: str
    _ids: dict[str, int] = field(default_factory=dict)

    def __call__(self, output: bytes, treatments: tuple[str, ...]) -> str:
        """Normalise one output.

        Args:
            output: as it was written.
            treatments: of its line.
        """
        if "unread" in treatments:
            return ""
        text = output.decode("utf-8", "backslashreplace")
        if "raw" in treatments:
            return text
        text = _LONG_ID.sub(self._long, text)
        text = _SHORT_ID.sub(self._short, text)
        text = _TIME.sub(lambda found: found[0] if found[0] == _NEVER else self._unless_said(found[0], "<time>"), text)
        text = _WHILE.sub(lambda found: self._unless_said(found[0], "<while>"), text)
        text = _POOL.sub(lambda found: self._unless_said(found[0], "<ip>"), text)
        text = _MAC.sub(lambda found: self._unless_said(found[0], "<mac>"), text)
        text = _PORT.sub(lambda found: self._unless_said(found[0], "<port>"), text)
        if "sizes" in treatments:
            text = _SIZE.sub("<size>", text)
        if "numbers" in treatments:
            text = re.sub(r"\d+(\.\d+)?", "<n>", text)
        lines = [re.sub(r"  +", "   ", line).rstrip(" ") for line in text.split("\n")]
        if "words" in treatments:
            lines = [" ".join(sorted(re.split(r"[ ,]+", line))) for line in lines]
        if "sort" in treatments:
            last = lines.pop() if lines[-1] == "" else None
            lines = sorted(lines) + ([] if last is None else [last])
        return "\n".join(lines)

    def _unless_said(self, found: str, instead: str) -> str:
        return found if found in self.said else instead

    def _long(self, found: re.Match[str]) -> str:
        return found[0] if found[0] in self.said else f"<id {self._number(found[0])}>"

    def _short(self, found: re.Match[str]) -> str:
        if found[0] in self.said or not re.search(r"\d", found[0]):
            return found[0]
        return f"<short id {self._number(found[0])}>"

    def _number(self, identifier: str) -> int:
        for known, number in self._ids.items():
            if known.startswith(identifier) or identifier.startswith(known):
                return number
        self._ids[identifier] = len(self._ids) + 1
        return len(self._ids)
