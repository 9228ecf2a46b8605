"""Events of builds and transfers as text: BuildKit's plain layout, JSON lines, nothing, and an in-place view."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from contextkernel.commands.layer_lines import ENDED, MOVING, phase_words
from contextkernel.model.events import (
    BuildFinished,
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

if TYPE_CHECKING:
    from contextkernel.commands.face import Progress
    from contextkernel.model.ports import Reporter

Write = Callable[[str], object]
Clock = Callable[[], float]

_LEAST_SHARE = 0.05
_LEAST_SECONDS = 5.0
_FINISHED_NOTES = ("naming to ", "writing image ", "exporting layers", "exporting manifest", "transferring ")
_SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")


@contextmanager
def text_reporter(progress: Progress, write: Write, *, clock: Clock = time.monotonic) -> Iterator[Reporter]:
    """A view of events as text.

    Args:
        progress: ``plain`` and ``auto``: BuildKit's plain layout; ``json``: one JSON object for each event, ``type``
            names it; ``quiet``: nothing.
        write: gets the text.
        clock: seconds, for the time before lines of output.
    """
    if progress == "quiet":
        yield _silent
    elif progress == "json":
        yield JsonLines(write)
    else:
        view = PlainView(write, clock)
        try:
            yield view
        finally:
            view.close()


def _silent(_event: object) -> None:
    """Nothing is shown."""


class JsonLines:
    """Each event as one line of JSON; the keys are the event's fields."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def __call__(self, event: object) -> None:
        """Write one event."""
        from contextkernel.model.codec import to_json

        self._write(to_json(event).decode() + "\n")


class _Step:
    """What the plain view remembers of a step that has not finished."""

    __slots__ = ("items", "name", "number", "partial", "started")

    def __init__(self, number: int, name: str, started: float) -> None:
        self.number = number
        self.name = name
        self.started = started
        self.partial: dict[str, str] = {}
        self.items: dict[str, tuple[float, float]] = {}


class PlainView:
    """BuildKit's ``--progress plain``: one block of lines for each step, ``#4 [2/6] RUN apt-get update``.

    Args:
        write: gets whole lines.
        clock: seconds.
    """

    def __init__(self, write: Write, clock: Clock = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._steps: dict[int, _Step] = {}
        self._names: dict[int, str] = {}
        self._current = 0
        self._written = self._interjected = False
        self._warnings: list[BuildWarning] = []
        self._phases: dict[str, str] = {}

    def __call__(self, event: object) -> None:
        """Show one event."""
        match event:
            case StepStarted(step, name):
                self._names[step] = name
                self._steps[step] = _Step(step, name, self._clock())
                self._turn_to(step)
            case StepOutput(step, stream, text):
                self._output(step, stream, text)
            case StepNote(0, text):
                self._interject(f"{text}\n")
            case StepNote(step, text):
                finished = text.startswith(_FINISHED_NOTES) and not text.endswith("done")
                self._line(step, text + (" done" if finished else ""))
            case StepProgress(step, item, current, total):
                self._transfer(step, item, current, total)
            case LayerProgress():
                self._layer(event)
            case StepCached(step):
                self._end(step, "CACHED")
            case StepDone(step, seconds):
                self._end(step, f"DONE {seconds:.1f}s")
            case StepBroke(step, _, problem):
                self._end(step, f"ERROR: {problem.splitlines()[0] if problem else 'failed'}")
            case StepCanceled(step):
                self._end(step, "CANCELED")
            case BuildWarning(early=True, text=text):
                self._interject(f"WARNING: {text}\n")
            case BuildWarning():
                self._warnings.append(event)
            case BuildFinished():
                self._warn()
            case _:  # an event of a newer version: nothing to show
                pass

    def close(self) -> None:
        """Write what is still held back: open lines of output and warnings of a build that failed."""
        for step in list(self._steps.values()):
            self._flush(step)
        self._warn()

    def _turn_to(self, step: int) -> None:
        """Make ``step`` the one whose block is being written."""
        if self._current == step:
            return
        if self._current in self._steps:
            self._write(f"#{self._current} ...\n")
        if self._written:
            self._write("\n")
        self._written, self._interjected = True, False
        self._current = step
        self._write(f"#{step} {self._names.get(step, '')}".rstrip() + "\n")

    def _interject(self, text: str) -> None:
        """Write what belongs to no step; several such lines stand together."""
        if self._current in self._steps:
            self._write(f"#{self._current} ...\n")
        if self._written and not self._interjected:
            self._write("\n")
        self._current, self._written, self._interjected = 0, True, True
        self._write(text)

    def _line(self, step: int, text: str) -> None:
        self._turn_to(step)
        self._write(f"#{step} {text}\n")

    def _output(self, number: int, stream: str, text: str) -> None:
        step = self._steps.get(number)
        if step is None:
            return
        *lines, rest = (step.partial.get(stream, "") + text).split("\n")
        step.partial[stream] = rest
        seconds = self._clock() - step.started
        for line in lines:
            self._line(number, f"{seconds:.3f} {last_version(line)}".rstrip())

    def _flush(self, step: _Step) -> None:
        seconds = self._clock() - step.started
        for stream, rest in step.partial.items():
            if rest:
                self._line(step.number, f"{seconds:.3f} {last_version(rest)}".rstrip())
            step.partial[stream] = ""

    def _transfer(self, number: int, item: str, current: int, total: int) -> None:
        step = self._steps.get(number)
        if step is None:
            return
        now, share = self._clock(), current / total if total else 0.0
        finished = bool(total) and current >= total
        if item in step.items and not finished:
            when, before = step.items[item]
            if share - before < _LEAST_SHARE - 1e-9 and now - when < _LEAST_SECONDS:
                return
        if finished and step.items.get(item, (0.0, 0.0))[1] >= 1.0:
            return
        step.items[item] = (now, share)
        of = f" / {_size(total)}" if total else ""
        self._line(number, f"{item} {_size(current)}{of}{' done' if finished else ''}")

    def _layer(self, event: LayerProgress) -> None:
        """Docker's lines, which have no numbers of bytes, or BuildKit's within a step."""
        if event.step and event.step not in self._steps:
            return
        if event.step and event.phase in MOVING and event.phase != "extracting":
            self._transfer(event.step, event.layer, event.current, event.total)
            return
        key = f"{event.step} {event.layer}"
        before, self._phases[key] = self._phases.get(key), event.phase
        if before == event.phase:
            return
        if not event.step:
            if event.phase not in MOVING:
                self._interject(f"{event.layer}: {phase_words(event)}\n")
        elif event.phase == "downloaded":
            self._transfer(event.step, event.layer, event.total, event.total)
        elif event.phase == "extracting":
            self._line(event.step, f"extracting {event.layer}")
        elif event.phase == "complete":
            self._line(event.step, f"extracting {event.layer} done")
        elif event.phase == "retrying" or event.phase in ENDED - {"exists"}:
            self._line(event.step, f"{event.layer} {phase_words(event).lower()}")

    def _end(self, number: int, text: str) -> None:
        step = self._steps.get(number)
        if step is None:  # CACHED may be followed by DONE
            return
        self._flush(step)
        self._line(number, text)
        del self._steps[number]
        self._current = 0

    def _warn(self) -> None:
        if self._warnings:
            self._write(warnings_text(self._warnings))
        self._warnings = []


def warnings_text(warnings: Sequence[BuildWarning]) -> str:
    """What stands at the end of a build: how many warnings, and each in a line."""
    count = len(warnings)
    more = " (use build --check to expand)" if any(warning.rule for warning in warnings) else ""
    lines = [f"\n {count} warning{'s' if count != 1 else ''} found{more}:\n"]
    for warning in warnings:
        where = f" (line {warning.line})" if warning.line else ""
        lines.append(f" - {warning.text}{where}\n")
    return "".join(lines)


def last_version(line: str) -> str:
    """What a terminal would show of a line that was rewritten with carriage returns."""
    if "\r" not in line:
        return line
    return next((part for part in reversed(line.split("\r")) if part), "")


def _size(size: float) -> str:
    unit = 0
    while size >= 1000 and unit < len(_SIZE_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.2f}{_SIZE_UNITS[unit]}" if unit else f"{size:.0f}B"
