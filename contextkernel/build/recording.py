"""Keeps the record of a build: listens to its events, and hands what they say to the store."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

from contextkernel.build.request import ArchiveContext, BuildRequest, FilesContext, RemoteContext
from contextkernel.errors import ContextKernelError, StoreProblem
from contextkernel.model.builds import BuildLog, BuildRow, BuildStatus, BuildStepRow, StepState
from contextkernel.model.digest import Digest
from contextkernel.model.events import (
    StepBroke,
    StepCached,
    StepCanceled,
    StepDone,
    StepLayer,
    StepNote,
    StepOutput,
    StepStarted,
    StepUsage,
)
from contextkernel.model.ports import Reporter
from contextkernel.model.results import BuildResult
from contextkernel.plan.arguments import PROXY_NAMES
from contextkernel.plan.remote import redacted
from contextkernel.store.builds import StepEntry

if TYPE_CHECKING:
    from contextkernel.build.builder import Builder

LOG_LIMIT = 256 * 1024
"""Characters of one step's output that are kept: this many from its start, and as many from its end."""

_LETTERS = string.digits + string.ascii_lowercase
_ID_LENGTH = 25


class RecordStore(Protocol):
    """Where records go; see :class:`contextkernel.store.Store`."""

    def begin_build(self, row: BuildRow) -> None:
        """Record that a build begins."""
        ...

    def record_build(self, build: str, steps: list[StepEntry], row: BuildRow | None = None) -> None:
        """Record steps, and with ``row`` the end."""
        ...


class _Log:
    """The output of a step: its first and its last part."""

    __slots__ = ("_first", "_last", "_length")

    def __init__(self) -> None:
        self._first = ""
        self._last = ""
        self._length = 0

    def add(self, text: str) -> None:
        self._length += len(text)
        room = LOG_LIMIT - len(self._first)
        self._first += text[:room]
        if len(text) > room:
            self._last += text[room:]
            if len(self._last) > 2 * LOG_LIMIT:  # cut now and then, not at every piece
                self._last = self._last[-LOG_LIMIT:]

    def value(self, number: int, name: str) -> BuildLog | None:
        if not self._length:
            return None
        last = self._last[-LOG_LIMIT:]
        left_out = self._length - len(self._first) - len(last)
        gap = f"\n[{left_out} characters left out]\n" if left_out else ""
        return BuildLog(number=number, name=name, text=self._first + gap + last, left_out=left_out)


class Recorder:
    """A reporter that writes down what it hears, and passes it on.

    A step that was run is written when it ends, so that a build that is killed later leaves what it had done. What
    the store refuses to take (it may be full, of just this build) is left out: a record is not worth a build.

    Args:
        store: where records go.
        request: what is built.
        report: gets every event.
        clock: seconds, monotonic.
        now: the time.

    Attributes:
        row: the record of the build so far.
    """

    def __init__(
        self,
        store: RecordStore,
        request: BuildRequest,
        report: Reporter,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._report = report
        self._clock = clock
        self._now = now
        self._began = clock()
        self._steps: dict[int, BuildStepRow] = {}
        self._logs: dict[int, _Log] = {}
        self._unwritten: dict[int, None] = {}
        self.row = _row(request, now())
        self._write(lambda: store.begin_build(self.row))

    def __call__(self, event: object) -> None:
        """Take an event."""
        self._note(event)
        self._report(event)

    def _note(self, event: object) -> None:
        match event:
            case StepStarted(step=number, name=name, instruction=instruction, line=line):
                started = self.row.created + timedelta(seconds=self._clock() - self._began)
                row = BuildStepRow(number=number, name=name, instruction=instruction, line=line, started=started)
                self._steps[number] = row
                self._unwritten[number] = None
            case StepOutput(step=number, text=text):
                self._log(number).add(text)
            case StepNote(step=number, text=text):
                self._log(number).add(text + "\n")
            case StepUsage(step=number, cpu_seconds=used, peak_memory=peak):
                self._change(number, cpu_seconds=used, peak_memory=peak)
            case StepLayer(step=number, layer=layer, written=written):
                self._change(number, layer=layer, written=written)
            case StepCached(step=number):
                self._end(number, "cached", 0.0)
            case StepDone(step=number, seconds=seconds):
                if self._end(number, "done", seconds):
                    self._flush()
            case StepCanceled(step=number, seconds=seconds):
                self._end(number, "canceled", seconds)
            case StepBroke(step=number, seconds=seconds, problem=problem):
                self._change(number, problem=problem)
                self._end(number, "error", seconds)
            case _:
                pass

    def finish(self, result: BuildResult) -> BuildResult:
        """Record that the build came to its end; the result with the record's id."""
        self._close("completed", image=result.image, names=result.names)
        return msgspec.structs.replace(result, record=self.row.id)

    def fail(self, problem: BaseException) -> None:
        """Record what ended the build."""
        if isinstance(problem, ContextKernelError):
            self._close("error", problem=problem.problem)
        elif isinstance(problem, Exception):
            self._close("error", problem=f"{type(problem).__name__}: {problem}")
        else:
            self._close("canceled", problem="interrupted")

    def _close(self, status: BuildStatus, **facts: object) -> None:
        shown = [step for step in self._steps.values() if step.instruction]
        self.row = msgspec.structs.replace(
            self.row,
            status=status,
            seconds=self._clock() - self._began,
            steps=len(shown),
            cached=sum(step.state == "cached" for step in shown),
            **facts,
        )
        self._flush(self.row)

    def _log(self, number: int) -> _Log:
        self._unwritten[number] = None
        return self._logs.setdefault(number, _Log())

    def _change(self, number: int, **facts: object) -> None:
        if number in self._steps:
            self._steps[number] = msgspec.structs.replace(self._steps[number], **facts)
            self._unwritten[number] = None

    def _end(self, number: int, state: StepState, seconds: float) -> bool:
        """Note a step's end; whether it was one of the Dockerfile's."""
        self._change(number, state=state, seconds=seconds)
        return number in self._steps and bool(self._steps[number].instruction)

    def _flush(self, row: BuildRow | None = None) -> None:
        """Write what has changed."""
        entries = []
        for number in self._unwritten:
            step = self._steps.get(number)
            if step is not None:
                log = self._logs[number].value(number, step.name) if number in self._logs else None
                entries.append(StepEntry(row=step, log=log))
        self._unwritten = {}
        self._write(lambda: self._store.record_build(self.row.id, entries, row))

    @staticmethod
    def _write(work: Callable[[], None]) -> None:
        try:
            work()
        except StoreProblem:
            return


def _row(request: BuildRequest, created: datetime) -> BuildRow:
    text = request.dockerfile
    content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    shown = [
        name if name.lower() in PROXY_NAMES else f"{name}={value}" for name, value in sorted(request.given_args.items())
    ]
    target = request.target or ""
    return BuildRow(
        id="".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH)),
        name=_name(request) + (f" ({target})" if target else ""),
        created=created,
        context=_plain(_context(request)),
        dockerfile=_plain(request.dockerfile_name) or "Dockerfile",
        dockerfile_digest=None if content is None else Digest.of(content),
        target=target,
        platform=",".join(map(str, request.platforms or filter(None, (request.platform,)))),
        build_args=tuple(_plain(one) or "" for one in shown),
        secrets=tuple(sorted({*request.steps.secrets, *request.steps.agents})),
    )


def recorded(builder: Builder, request: BuildRequest, report: Reporter, store: RecordStore) -> BuildResult:
    """Build, and keep a record of it.

    Args:
        builder: does it.
        request: what to build.
        report: receives the events.
        store: where the record goes.

    Raises:
        BaseException: whatever the build raises, after it has been recorded.
    """
    recorder = Recorder(store, request, report)
    try:
        return recorder.finish(builder.build(msgspec.structs.replace(request, record=recorder.row.id), recorder))
    except BaseException as problem:
        recorder.fail(problem)
        raise


def _name(request: BuildRequest) -> str:
    """As docker has it: the directory of the context; without one, what the image is going to be called."""
    context = _context(request)
    if context is not None:
        return _plain(context.partition("#")[0].rstrip("/").rpartition("/")[2]) or "/"
    return request.tags[0].familiar_name if request.tags else "-"


def _context(request: BuildRequest) -> str | None:
    """Where the files come from, as it may be shown."""
    match request.source:
        case RemoteContext(url=url):
            return redacted(url)
        case ArchiveContext():
            return "an archive"
        case FilesContext():
            return "files in memory"
        case None:
            return request.context


def _plain(text: str | None) -> str | None:
    """Without bytes that are not UTF-8, which JSON cannot carry."""
    return None if text is None else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
