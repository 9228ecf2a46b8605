"""Events of a build, numbered and timed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec

from contextkernel.build.board import Canceled
from contextkernel.errors import ContextKernelError, Span
from contextkernel.model.checks import RuleFinding
from contextkernel.model.container import Usage
from contextkernel.model.digest import Digest
from contextkernel.model.events import (
    BuildWarning,
    LayerProgress,
    StepBroke,
    StepCached,
    StepCanceled,
    StepDone,
    StepLayer,
    StepNote,
    StepOutput,
    StepProgress,
    StepStarted,
    StepUsage,
)
from contextkernel.model.ports import Reporter
from contextkernel.model.results import BuildStep
from contextkernel.plan.steps import CopyStep


class StepReport:
    """The events of one step that runs.

    Attributes:
        number: within the build, from 1.
        state: ``done`` unless :meth:`cached` was called.
        transferred: something had to be fetched for it.
    """

    def __init__(self, number: int, report: Reporter) -> None:
        self.number = number
        self.state = "done"
        self.transferred = False
        self._report = report

    def note(self, text: str) -> None:
        """A one-line message."""
        self._report(StepNote(self.number, text))

    def cached(self) -> None:
        """Nothing has to be done."""
        self.state = "cached"

    def output(self, stream: str, text: str) -> None:
        """Output of the step's program."""
        self._report(StepOutput(self.number, "stderr" if stream == "stderr" else "stdout", text))

    def used(self, usage: Usage | None) -> None:
        """What the step's program used, if somebody could tell."""
        if usage is not None:
            self._report(StepUsage(self.number, usage.cpu_seconds, usage.peak_memory))

    def nested(self, event: object) -> None:
        """Pass on what a transfer inside of this step says, as this step's."""
        self.transferred |= isinstance(event, StepProgress)
        self.transferred |= isinstance(event, LayerProgress) and event.phase not in {"waiting", "exists", "present"}
        if isinstance(event, LayerProgress | StepProgress | StepNote | StepOutput):
            self._report(msgspec.structs.replace(event, step=self.number))


class BuildReport:
    """The events of a build; steps may be those of several threads.

    Args:
        report: receives them.
        clock: seconds, monotonic.

    Attributes:
        warnings: texts of the warnings so far.
    """

    def __init__(self, report: Reporter, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._count = 0
        self._numbering = threading.Lock()
        self._began = clock()
        self._steps: list[BuildStep] = []
        self.warnings: list[str] = []

    @property
    def steps(self) -> tuple[BuildStep, ...]:
        """Finished steps that belong to an instruction, by number."""
        return tuple(sorted(self._steps, key=lambda step: step.step))

    @property
    def seconds(self) -> float:
        """Since the build began."""
        return self._clock() - self._began

    def warn(self, text: str, span: Span | None = None, *, early: bool = False) -> None:
        """Say something that does not change the result; ``early``: before what follows."""
        self.warnings.append(text)
        self._report(BuildWarning(text, span.line if span else 0, early=early))

    def warn_once(self, text: str, span: Span | None = None, *, early: bool = False) -> None:
        """Say it unless it was said in this build."""
        with self._numbering:
            if text in self.warnings:
                return
            self.warn(text, span, early=early)

    def find(self, finding: RuleFinding, source: str) -> None:
        """Report a finding of a build check in the Dockerfile ``source``."""
        lines = source.split("\n")[finding.span.line - 1 :]
        self.warnings.append(finding.short)
        self._report(
            BuildWarning(
                text=f"{finding.rule}: {finding.message}",
                line=finding.span.line,
                rule=finding.rule,
                url=finding.url,
                detail=finding.description,
                source=shown_line(lines[0]) if lines else "",
            )
        )

    def unmatched(self, step: CopyStep, patterns: Iterable[str]) -> None:
        """Say that wildcards of a COPY matched nothing, which copies nothing and is no error."""
        for pattern in patterns:
            self.warn(f"{step.original.split()[0].upper()}: nothing matches {pattern!r}", step.span)

    def layer(self, number: int, layer: Digest, written: int = 0) -> None:
        """Say what a step led to."""
        self._report(StepLayer(number, layer, written))

    def emit(self, event: object) -> None:
        """Pass an event on."""
        self._report(event)

    @contextmanager
    def through(self, take: Reporter) -> Iterator[Reporter]:
        """Within the block, events go to ``take``; yields who got them before."""
        before, self._report = self._report, take
        try:
            yield before
        finally:
            self._report = before

    def reserve(self, count: int) -> int:
        """Keep numbers for steps to come, which may begin in any order; returns the first of them."""
        with self._numbering:
            self._count += count
            return self._count - count + 1

    @contextmanager
    def step(
        self, name: str, *, instruction: str = "", span: Span | None = None, number: int = 0
    ) -> Iterator[StepReport]:
        """A step from its start to its end, whatever that is.

        Args:
            name: as docker shows it.
            instruction: its text in the Dockerfile, empty for internal steps.
            span: where that is.
            number: a reserved one; the next by default.
        """
        line = span.line if span else 0
        with self._numbering:  # numbers are in the order in which steps are heard of
            if not number:
                self._count = number = self._count + 1
            began = self._clock()
            self._report(StepStarted(number, name, instruction, line))
        one = StepReport(number, self._report)
        try:
            yield one
        except ContextKernelError as problem:
            self._report(StepBroke(number, self._clock() - began, problem.problem))
            raise
        except (Canceled, KeyboardInterrupt):
            self._report(StepCanceled(number, self._clock() - began))
            raise
        except BaseException as problem:
            self._report(StepBroke(number, self._clock() - began, f"{type(problem).__name__}: {problem}"))
            raise
        seconds = self._clock() - began
        if one.state == "cached":
            self._report(StepCached(number))
        else:
            self._report(StepDone(number, seconds))
        if instruction:
            self._steps.append(BuildStep(step=number, name=name, state=one.state, seconds=seconds, line=line))


def shown_line(line: str) -> str:
    """A line of a Dockerfile as an event can carry it: bytes that are not UTF-8 become U+FFFD."""
    return line.rstrip("\r").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def bytes_text(size: int) -> str:
    """A number of bytes as docker's progress has it: ``518B``, ``1.234kB``, ``2.5MB``."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.4g}{unit}"
