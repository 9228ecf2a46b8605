"""What a live build view knows, as a value: ``reduce(state, event, now)`` gives the next state.

Pure: no clock, no display, no IPython. Text that comes from a build is cleaned of terminal control codes here, once;
escaping for HTML is the renderer's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from contextkernel.commands.layer_lines import with_news
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
    from collections.abc import Callable

    from contextkernel.commands.layer_lines import Layers

StepState: TypeAlias = Literal["running", "cached", "done", "failed", "interrupted"]
BuildStatus: TypeAlias = Literal["running", "done", "failed", "interrupted"]
Work: TypeAlias = Literal["build", "transfer", "push", "load", "save"]

LOG_LINES = 4_000
"""Lines of one step's log in the finished view; the middle of a longer one is left out, and that is said."""
FIRST_LINES = LOG_LINES // 10
"""How many of them are from its beginning."""
LINE_LIMIT = 2_000
"""Characters of one output line that are kept; the rest of a longer one is counted and left out."""

# ECMA-48: CSI and OSC sequences, two-byte escapes, then every other control character but tab
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|\x1b")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Log:
    """An immutable sequence of lines with a cheap :meth:`extend`; of a long one the middle is not kept.

    All logs that grew out of each other share one list, of which each sees its own first part; so appending to the
    newest one costs no copy, and an older one never changes. Its first lines are held apart once they leave that list.
    """

    __slots__ = ("_count", "_dropped", "_first", "_lines")

    def __init__(self, lines: tuple[str, ...] = ()) -> None:
        self._lines = list(lines)
        self._count = len(self._lines)
        self._first: tuple[str, ...] = ()
        self._dropped = 0

    def extend(self, lines: list[str]) -> Log:
        """A log with ``lines`` after this one's."""
        if not lines:
            return self
        longer = Log.__new__(Log)
        longer._first, longer._dropped = self._first, self._dropped
        own = self._count - self._dropped
        longer._lines = self._lines if len(self._lines) == own else self._lines[:own]
        longer._lines.extend(lines)
        longer._count = self._count + len(lines)
        if len(longer._lines) > 2 * LOG_LINES:  # cut now and then, not at every line
            longer._first = longer._first or tuple(longer._lines[:FIRST_LINES])
            longer._dropped += len(longer._lines) - LOG_LINES
            longer._lines = longer._lines[-LOG_LINES:]
        return longer

    def last(self, count: int) -> tuple[str, ...]:
        """At most ``count`` lines from the end; of a long log no more than :data:`LOG_LINES`."""
        own = self._count - self._dropped
        return tuple(self._lines[max(0, own - count) : own])

    def first(self, count: int) -> tuple[str, ...]:
        """At most ``count`` lines from the beginning; of a long log no more than :data:`FIRST_LINES`."""
        own = self._count - self._dropped
        return self._first[:count] if self._dropped else tuple(self._lines[: min(count, own)])

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Log):
            return NotImplemented
        return self.last(self._count) == other.last(other._count)

    def __hash__(self) -> int:
        return hash(self.last(self._count))

    def __repr__(self) -> str:
        return f"Log({self.last(self._count)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step as the view shows it.

    Attributes:
        number: as in the events, from 1.
        name: ``[2/6] RUN apt-get update``.
        instruction: Dockerfile text, empty for internal steps.
        line: line in the Dockerfile, 0 for internal steps.
        started: clock reading (seconds) at the start.
        seconds: how long it took; ``None`` while it runs.
        log: finished output lines, notes among them.
        partial: output after the last line end.
        progress: the newest message per transferred item: item, current bytes, total bytes (0: unknown).
        layers: the newest event of each layer that travels.
        problem: why it failed.
    """

    number: int
    name: str
    instruction: str = ""
    line: int = 0
    state: StepState = "running"
    started: float = 0.0
    seconds: float | None = None
    log: Log = field(default_factory=Log)
    partial: str = ""
    progress: tuple[tuple[str, int, int], ...] = ()
    layers: Layers = ()
    problem: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """Every line that is kept, an unfinished last one included."""
        return self.tail(len(self.log) + 1)

    @property
    def count(self) -> int:
        """How many lines there were so far, an unfinished last one included."""
        return len(self.log) + bool(_clean(self.partial))

    def tail(self, count: int) -> tuple[str, ...]:
        """At most ``count`` last lines, an unfinished last one included."""
        pending = _clean(self.partial)
        if not pending:
            return self.log.last(count)
        return (*self.log.last(count - 1), pending) if count > 1 else (pending,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A warning as the view shows it.

    Attributes:
        text: one line.
        line: in the Dockerfile, 0 for none.
        url: page about it, empty for none.
        detail: what was asked for; may be empty.
        source: the line's text; may be empty.
        early: it stands before the steps.
    """

    text: str
    line: int = 0
    url: str = ""
    detail: str = ""
    source: str = ""
    early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildState:
    """A build as the view shows it.

    Attributes:
        title: what is built, as the user named it; may be empty.
        work: ``build``, ``transfer`` for pulls and base images, or what it is called otherwise.
        steps: in order of first appearance.
        layers, notes: of a transfer that is no step (events of step 0).
        warnings: in order.
        status: of the whole.
        image: id of the finished image.
        names: names it was given.
        started: clock reading (seconds) when the view was made.
        seconds: total, once finished.
        problem: why it failed, where no step says it.
        failed_line: the Dockerfile line that failed, 0 if none.
    """

    title: str = ""
    work: Work = "build"
    steps: tuple[StepView, ...] = ()
    layers: Layers = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()
    status: BuildStatus = "running"
    image: str = ""
    names: tuple[str, ...] = ()
    started: float = 0.0
    seconds: float | None = None
    problem: str = ""
    failed_line: int = 0

    @property
    def instructions(self) -> tuple[StepView, ...]:
        """The steps that stand in the Dockerfile, internal ones left out."""
        return tuple(step for step in self.steps if step.line or step.instruction)

    @property
    def all_cached(self) -> bool:
        """Whether the build is done and nothing had to be run for it; a FROM that was resolved counts for neither."""
        work = [step for step in self.instructions if not is_base(step)]
        counted = work or list(self.instructions)
        return self.status == "done" and bool(counted) and all(step.state == "cached" for step in counted)


def is_base(step: StepView) -> bool:
    """Whether the step only names a base image."""
    return step.instruction[:5].upper() == "FROM " or bool(re.match(r"(\[[^\]]*\] )?FROM ", step.name))


def reduce(state: BuildState, event: object, now: float) -> BuildState:
    """The state after ``event``.

    Args:
        state: the state before.
        event: one of :data:`contextkernel.model.events.Event`; others, and those of an unknown step, change nothing.
        now: clock reading in seconds, the same clock as for the other events.
    """
    match event:
        case StepStarted(step=number, name=name, instruction=instruction, line=line):
            view = StepView(number=number, name=_one_line(name), instruction=instruction, line=line, started=now)
            if any(step.number == number for step in state.steps):
                return _with(state, number, lambda step: replace(view, log=step.log, started=step.started))
            return replace(state, steps=(*state.steps, view))
        case StepOutput(step=number, text=text):
            return _with(state, number, lambda step: _append(step, text))
        case StepNote(step=0, text=text):
            return replace(state, notes=(*state.notes, _one_line(text)))
        case LayerProgress(step=0):
            return replace(state, layers=with_news(state.layers, event))
        case LayerProgress(step=number):
            return _with(state, number, lambda step: replace(step, layers=with_news(step.layers, event)))
        case StepNote(step=number, text=text):
            return _with(state, number, lambda step: _append(_flush(step), text + "\n"))
        case StepProgress(step=number, item=item, current=current, total=total):
            return _with(state, number, lambda step: _progress(step, (_one_line(item), current, total)))
        case StepCached(step=number):
            return _with(state, number, lambda step: replace(_flush(step), state="cached", seconds=0.0))
        case StepDone(step=number, seconds=seconds):
            # a step that was cached may still be told to be done: cached is what the reader wants to know
            return _with(
                state,
                number,
                lambda step: replace(
                    _flush(step), state="cached" if step.state == "cached" else "done", seconds=seconds
                ),
            )
        case StepBroke(step=number, seconds=seconds, problem=problem):
            broken = _with(
                state,
                number,
                lambda step: replace(_flush(step), state="failed", seconds=seconds, problem=_one_line(problem)),
            )
            line = next((step.line for step in broken.steps if step.number == number), 0)
            return replace(broken, status="failed", failed_line=line or broken.failed_line)
        case StepCanceled(step=number, seconds=seconds):
            return _with(state, number, lambda step: replace(_flush(step), state="interrupted", seconds=seconds))
        case BuildWarning():
            return replace(state, warnings=(*state.warnings, _warned(event)))
        case BuildFinished(image=image, names=names, seconds=seconds):
            return replace(state, status="done", image=str(image), names=tuple(names), seconds=seconds)
        case _:
            return state


def stop(
    state: BuildState, status: Literal["done", "failed", "interrupted"], now: float, problem: str = ""
) -> BuildState:
    """The state when no more events come: what still ran did not finish.

    Args:
        state: the last state.
        status: how it ended; ``done`` for work that has no event for its end (pulls, base images).
        now: clock reading in seconds.
        problem: why, where no step says it.
    """
    end: StepState = "done" if status == "done" else "interrupted"
    left = []
    for step in state.steps:
        if step.state == "running":
            left.append(replace(_flush(step), state=end, seconds=now - step.started))
        elif step.state == "failed" and status == "interrupted":  # it failed because it was killed for us
            left.append(replace(step, state=end, problem=""))
        else:
            left.append(step)
    return replace(
        state, steps=tuple(left), status=status, seconds=now - state.started, problem=problem or state.problem
    )


def _warned(event: BuildWarning) -> Warned:
    return Warned(
        text=_one_line(event.text),
        line=event.line,
        url=event.url if event.url.startswith("https://") else "",
        detail=_one_line(event.detail),
        source=_clean(event.source),
        early=event.early,
    )


def _with(state: BuildState, number: int, change: Callable[[StepView], StepView]) -> BuildState:
    for place in range(len(state.steps) - 1, -1, -1):  # the newest steps are the busy ones
        if state.steps[place].number == number:
            changed = change(state.steps[place])
            return replace(state, steps=(*state.steps[:place], changed, *state.steps[place + 1 :]))
    return state


def _append(step: StepView, text: str) -> StepView:
    *whole, partial = (step.partial + text).split("\n")
    # a program that redraws one line for minutes must not make the pending text grow
    partial = partial[partial.rstrip("\r").rfind("\r") + 1 :]
    if len(partial) > LINE_LIMIT * 2:
        partial = partial[: LINE_LIMIT * 2]
    return replace(step, log=step.log.extend([_clean(line) for line in whole]), partial=partial)


def _flush(step: StepView) -> StepView:
    """End an unfinished line."""
    return _append(step, "\n") if _clean(step.partial) else replace(step, partial="")


def _progress(step: StepView, news: tuple[str, int, int]) -> StepView:
    items = list(step.progress)
    for place, (item, _, _) in enumerate(items):
        if item == news[0]:
            items[place] = news
            break
    else:
        items.append(news)
    return replace(step, progress=tuple(items))


def _clean(line: str) -> str:
    """One line of terminal output as plain text: redrawn parts overwritten, control codes gone, bounded."""
    line = _ESCAPES.sub("", line.rstrip("\r"))
    line = line[line.rfind("\r") + 1 :]
    line = _CONTROLS.sub("", line)
    if len(line) > LINE_LIMIT:
        return f"{line[:LINE_LIMIT]} … {len(line) - LINE_LIMIT} more characters"
    return line


def _one_line(text: str) -> str:
    return _clean(" ".join(text.splitlines()))
