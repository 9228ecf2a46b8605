"""What a program writes to a terminal, as text that a notebook can show: colours stay, the rest of the commands go."""

from __future__ import annotations

import re

#: control sequences other than colours (CSI ... m), commands to the window (OSC), single shifts, bells
_COMMANDS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-ln-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b[ -/]+[0-~]"
    r"|\x1b[0-OQ-WYZ\\`-~]"
    r"|[\x07\x0e\x0f]"
)
#: the beginning of one, at the end of a piece
_BEGUN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)?\Z")
_LONGEST = 4096  # a sequence that does not end is none


class TerminalText:
    """Takes pieces of text as they come, gives what can be shown of them."""

    def __init__(self) -> None:
        self._held = ""
        self._return = ""

    def feed(self, text: str) -> str:
        """What can be shown so far; the beginning of a command is held back until the rest of it comes.

        So is a carriage return: it may belong to the end of a line, with commands between the two.
        """
        text = self._held + text
        begun = _BEGUN.search(text)
        cut = begun.start() if begun is not None and len(text) - begun.start() < _LONGEST else len(text)
        self._held = text[cut:]
        seen = self._return + _COMMANDS.sub("", text[:cut])
        self._return = "\r" if seen.endswith("\r") else ""
        return seen.removesuffix("\r").replace("\r\n", "\n")

    def close(self) -> str:
        """What is left: the beginning of a command is none."""
        held, self._held, self._return = self._return, "", ""
        return held
