"""What a verb is given: the parsed words, the face, and the engine when it asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from contextkernel.commands.outcome import Nothing, Outcome, Text
from contextkernel.errors import ContextKernelError

if TYPE_CHECKING:
    from types import TracebackType

    from contextkernel.commands.face import Face, Progress
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine import Engine
    from contextkernel.model.ports import Reporter


class Call:
    """One command on its way to the engine.

    Attributes:
        parsed: the words.
        face: where they came from.
        dockerfile: the cell of ``%%dockerfile``.
    """

    def __init__(
        self, make_engine: Callable[[], Engine], parsed: Parsed, face: Face, dockerfile: str | None = None
    ) -> None:
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self.parsed = parsed
        self.face = face
        self.dockerfile = dockerfile

    @property
    def engine(self) -> Engine:
        """The engine, made at the first use."""
        if self._engine is None:
            self._engine = self._make_engine()
            self._engine.on_warning = lambda text: self.face.write_err(f"WARNING: {text}\n")
        return self._engine


class LateReporter:
    """A view that is opened by its first event: a ``run`` that pulls nothing must not draw one.

    Args:
        face: makes the view.
        progress: which one.
    """

    def __init__(self, face: Face, progress: Progress) -> None:
        self._face = face
        self._progress: Progress = progress
        self._view: AbstractContextManager[Reporter] | None = None
        self._report: Reporter | None = None

    def __enter__(self) -> LateReporter:
        return self

    def __call__(self, event: object) -> None:
        """Pass an event on."""
        if self._report is None:
            self._view = self._face.reporter(self._progress)
            self._report = self._view.__enter__()
        self._report(event)

    def finish(self) -> None:
        """Close the view, if there is one; later events open another."""
        self.__exit__(None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        view, self._view, self._report = self._view, None, None
        if view is not None:
            view.__exit__(kind, value, trace)


def for_each(
    names: Iterable[str],
    act: Callable[[str], str],
    *,
    skip: type[ContextKernelError] | tuple[type[ContextKernelError], ...] = (),
    skipped: Callable[[ContextKernelError], None] = lambda _: None,
) -> Outcome:
    """Do something to each of several names, going on after failures, as docker does.

    Args:
        names: what the user named.
        act: does it and returns the text to print.
        skip: errors that do not count (``rm -f`` of what is not there).
        skipped: is told of them.

    Returns:
        The texts, the problems, and exit code 1 if there are any.
    """
    texts: list[str] = []
    problems: list[ContextKernelError] = []
    for name in names:
        try:
            texts.append(act(name))
        except skip as problem:
            skipped(problem)
        except ContextKernelError as problem:
            problems.append(problem)
    value = Text("".join(texts)) if texts else Nothing()
    return Outcome(value=value, exit_code=1 if problems else 0, problems=tuple(problems))


def for_each_name(
    names: Iterable[str],
    act: Callable[[str], object],
    *,
    skip: type[ContextKernelError] | tuple[type[ContextKernelError], ...] = (),
    skipped: Callable[[ContextKernelError], None] = lambda _: None,
) -> Outcome:
    """:func:`for_each` where what is printed is the name, as of most commands of docker's."""

    def one(name: str) -> str:
        act(name)
        return f"{name}\n"

    return for_each(names, one, skip=skip, skipped=skipped)
