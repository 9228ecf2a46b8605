"""The view of a build on a terminal: finished steps as lines that stay, running ones rewritten in place below them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from msgspec.structs import replace

from contextkernel.commands.humanize import display_width, ellipsis, human_size
from contextkernel.commands.layer_lines import ENDED, Layers, fitting, layer_line, with_news
from contextkernel.commands.progress import Clock, Write, last_version, warnings_text
from contextkernel.model.events import (
    BuildWarning,
    LayerProgress,
    StepBroke,
    StepCached,
    StepCanceled,
    StepDone,
    StepNote,
    StepOutput,
    StepProgress,
    StepStarted,
)

_TAIL = 4
_INTERVAL = 0.1
_MOST_RUNNING = 5
_LONGEST = 4096
# ECMA-48 sequences and other control characters: output must not move our cursor
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


class TerminalView:
    """Draws events on a terminal that understands ANSI; use :meth:`close` at the end.

    Redrawn by events alone, without a thread: the command line forks its helper processes.

    Args:
        write: gets text with control sequences.
        width: gives the terminal's columns.
        clock: seconds.
        colour: whether to colour finished and failed steps.
        height: gives the terminal's rows: what moves must not be higher.
    """

    def __init__(
        self,
        write: Write,
        width: Callable[[], int],
        *,
        clock: Clock = time.monotonic,
        colour: bool = True,
        height: Callable[[], int] = lambda: 24,
    ) -> None:
        self._write = write
        self._width = width
        self._height = height
        self._layers: Layers = ()
        self._clock = clock
        self._colour = colour
        self._begin = clock()
        self._drawn = 0
        self._last = float("-inf")
        self._steps: dict[int, _Running] = {}
        self._finished = 0
        self._warnings: list[BuildWarning] = []

    def __call__(self, event: object) -> None:
        """Show one event."""
        match event:
            case StepStarted(number, name):
                self._steps[number] = _Running(name, self._clock())
                self._draw()
            case StepOutput(number, _, text) if number in self._steps:
                self._steps[number].add(text)
                self._draw(lazily=True)
            case StepProgress(number, item, current, total) if number in self._steps:
                of = f" / {human_size(total)}" if total else ""
                self._steps[number].items[item] = f"{item} {human_size(current)}{of}"
                self._draw(lazily=True)
            case LayerProgress(step=0):
                self._layers = with_news(self._layers, event)
                self._draw(lazily=event.phase not in ENDED)
            case LayerProgress(step=number) if number in self._steps:
                self._steps[number].layers = with_news(self._steps[number].layers, event)
                self._draw(lazily=True)
            case StepNote(0, text):
                self._erase()
                if all(layer.phase in ENDED for layer in self._layers):
                    self._keep_layers()
                self._write(self._row(text, "", "", wrap=True))
                self._draw()
            case StepNote(number, text) if number in self._steps:
                self._steps[number].notes.append(text)
                self._draw(lazily=True)
            case StepCached(number) if number in self._steps:
                self._end(number, "CACHED ", "0.0s", "36")
            case StepDone(number, seconds) if number in self._steps:
                self._end(number, "", f"{seconds:.1f}s", "34")
            case StepBroke(number, seconds, _) if number in self._steps:
                self._end(number, "ERROR ", f"{seconds:.1f}s", "31")
            case StepCanceled(number, seconds) if number in self._steps:
                self._end(number, "CANCELED ", f"{seconds:.1f}s", "33")
            case BuildWarning(early=True, text=text):
                self._erase()
                self._write(self._row(f" => WARNING {text}", "", "33"))
                self._draw()
            case BuildWarning(text=text):
                self._warnings.append(replace(event, text=_clean(text)))
            case _:
                pass

    def close(self) -> None:
        """Take the moving part away and say what is left to say."""
        self._erase()
        self._keep_layers()
        for step in self._steps.values():
            self._write(self._row(f" => CANCELED {step.name}", f"{self._clock() - step.started:.1f}s", "33"))
        self._steps.clear()
        if self._warnings:
            self._write(warnings_text(self._warnings))
            self._warnings = []

    def _keep_layers(self) -> None:
        """Let the lines of layers stay as they are."""
        width = max(20, self._width() - 1)
        self._write("".join(self._row(layer_line(layer, width), "", "") for layer in self._layers))
        self._layers = ()

    def _end(self, number: int, word: str, seconds: str, colour: str) -> None:
        step = self._steps.pop(number)
        self._finished += 1
        self._erase()
        self._write(self._row(f" => {word}{step.name}", seconds, colour))
        for note in step.notes:
            self._write(self._row(f" => => {note}", "", colour))
        self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _draw(self, *, lazily: bool = False) -> None:
        now = self._clock()
        if lazily and now - self._last < _INTERVAL:
            return
        self._last = now
        self._erase()
        width = max(20, self._width() - 1)
        rows = [self._row(line, "", "") for line in fitting(self._layers, width, self._height() - 3)]
        if self._steps:
            count = f"({self._finished}/{self._finished + len(self._steps)})"
            rows.append(self._row(f"[+] {now - self._begin:.1f}s {count}", "", ""))
        for step in list(self._steps.values())[:_MOST_RUNNING]:
            rows.append(self._row(f" => {step.name}", f"{now - step.started:.1f}s", ""))
            rows += [self._row(f" => => {item}", "", "") for item in list(step.items.values())[-_TAIL:]]
            rows += [self._row(f" => => {line}", "", "") for line in fitting(step.layers, width - 7, _TAIL)]
            rows += [self._row(f" => => # {line}", "", "") for line in step.tail()]
        self._write("".join(rows))
        self._drawn = len(rows)

    def _row(self, text: str, right: str, colour: str, *, wrap: bool = False) -> str:
        """One line that never wraps unless it may, with ``right`` at the edge."""
        width = max(20, self._width() - 1)
        text = _clean(text) if wrap else ellipsis(_clean(text), width - (len(right) + 1 if right else 0))
        line = text + " " * (width - len(right) - display_width(text)) + right if right else text
        return f"\x1b[{colour}m{line}\x1b[0m\n" if colour and self._colour else line + "\n"


class _Running:
    def __init__(self, name: str, started: float) -> None:
        self.name = name
        self.started = started
        self.items: dict[str, str] = {}
        self.layers: Layers = ()
        self.notes: list[str] = []
        self._lines: list[str] = [""]

    def add(self, text: str) -> None:
        first, *rest = text.split("\n")
        self._lines[-1] = (self._lines[-1] + first)[-_LONGEST:]
        self._lines += rest
        del self._lines[: -_TAIL - 1]

    def tail(self) -> list[str]:
        return [shown for line in self._lines if (shown := _clean(last_version(line)).strip())][-_TAIL:]


def _clean(text: str) -> str:
    return _CONTROL.sub("", text.expandtabs(4).replace("\n", " "))
