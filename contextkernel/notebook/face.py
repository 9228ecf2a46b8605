"""The notebook as a face of the commands: where output goes, what standard input is, how a build is shown."""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from contextkernel.commands.outcome import Table
from contextkernel.commands.progress import text_reporter
from contextkernel.notebook.buildview import LiveView
from contextkernel.notebook.capped import Capped
from contextkernel.notebook.terminal import TerminalText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from contextkernel.commands.face import Progress
    from contextkernel.commands.outcome import Text
    from contextkernel.commands.screen import FixedScreen
    from contextkernel.model.ports import Reporter
    from contextkernel.notebook.buildstate import Work

_ROWS, _COLUMNS = 24, 80  # what a program with a terminal is told


class NotebookFace:
    """Implements :class:`contextkernel.commands.face.Face` for one command.

    Args:
        program: how the user called us: ``%container``, ``%docker``, ``%%dockerfile``.
        words: the command, for the title of a build view.
        stdin: the cell, for ``%%container``.
        shell: an IPython shell whose front end can update displays; without it events are printed as text.
        namespace: the variables that the line sees: a function's own, then the notebook's.
    """

    def __init__(
        self,
        program: str,
        words: Sequence[str],
        *,
        stdin: bytes | None = None,
        shell: Any = None,
        namespace: Mapping[str, object] | None = None,
    ) -> None:
        self._program = program
        self._words = tuple(words)
        self._stdin = stdin
        self._shell = shell
        self._namespace = namespace
        self._terminal: TerminalText | None = None
        self._capped = {"stdout": Capped(), "stderr": Capped()}
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}

    @property
    def program(self) -> str:
        """How the user called us."""
        return self._program

    @property
    def stdin(self) -> bytes | None:
        """The cell; a line magic has no input, because a kernel's standard input is nobody's terminal."""
        return self._stdin

    @property
    def namespace(self) -> Mapping[str, object] | None:
        """The variables that the line sees: a function's own, then the notebook's."""
        return self._namespace

    def write_out(self, text: str) -> None:
        """Print."""
        sys.stdout.write(text)

    def write_err(self, text: str) -> None:
        """Print on standard error."""
        sys.stderr.write(text)

    def write_output(self, stream: str, data: bytes) -> None:
        """Print a container's output as it comes; characters that are split between pieces are put together.

        Of more than a notebook can hold the middle is left out, and that is said.
        """
        target = sys.stderr if stream == "stderr" else sys.stdout
        text = self._decoders[stream].decode(data)
        if self._terminal is not None and stream == "stdout":
            text = self._terminal.feed(text)
        shown = self._capped[stream].feed(text)
        if shown:
            target.write(shown)
            target.flush()

    def close(self) -> None:
        """Print what is left of a character whose end never came."""
        for stream in self._decoders:
            rest = self._decoders[stream].decode(b"", final=True)
            if self._terminal is not None and stream == "stdout":
                rest = self._terminal.feed(rest) + self._terminal.close()
            rest = self._capped[stream].feed(rest) + self._capped[stream].end()
            if rest:
                (sys.stderr if stream == "stderr" else sys.stdout).write(rest)

    def output_descriptors(self) -> tuple[None, None]:
        """None: the kernel's own descriptors are a log file, not the notebook."""
        return (None, None)

    def screen(self, *, keys: bool) -> FixedScreen:
        """A cell's output stands in for a terminal: what comes from here on is a terminal's."""
        from contextkernel.commands.screen import FixedScreen

        del keys
        self._terminal = TerminalText()
        return FixedScreen(_ROWS, _COLUMNS)

    def reporter(self, progress: Progress, *, out: bool = False) -> AbstractContextManager[Reporter]:
        """The live view, or lines of text where that was asked for or displays cannot be updated."""
        del out
        if progress == "auto" and self._shell is not None:
            return LiveView(Display(self._shell), title=_title(self._words), work=_work(self._words))
        return _printed(progress)

    @contextmanager
    def live(self) -> Iterator[Callable[[Table | Text], None]]:
        """One display that is updated, as a table; an interrupt ends it, and the last value stays."""
        from contextkernel.commands.tables import text_of

        display = Display(self._shell) if self._shell is not None else None
        shown = False

        def show(value: Table | Text) -> None:
            nonlocal shown
            if display is None:
                sys.stdout.write(text_of(value))
                return
            bundle = {"text/plain": text_of(value)}
            if isinstance(value, Table):
                from contextkernel.notebook.display import frame_html
                from contextkernel.notebook.frames import to_frame

                bundle["text/html"] = frame_html(to_frame(value))
            display(bundle, shown)
            shown = True

        try:
            yield show
        except KeyboardInterrupt:
            return

    def ask(self, question: str, *, secret: bool) -> str | None:
        """Ask in the front end, for secrets in a field that shows nothing; a headless run has nobody to ask."""
        from getpass import getpass

        try:
            return getpass(question) if secret else input(question)
        except (EOFError, OSError, NotImplementedError):
            return None

    def confirm(self, question: str) -> bool:
        """Ask in the front end; one that cannot ask (a headless run) means no, and the cell says so."""
        try:
            return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
        except (EOFError, OSError, NotImplementedError):  # the last one is ipykernel's "no input here"
            sys.stderr.write(f"{question}\nnothing was done: nobody can be asked here; with --force nobody is\n")
            return False


@contextmanager
def _printed(progress: Progress) -> Iterator[Reporter]:
    with text_reporter(progress, sys.stdout.write) as report:
        yield report


class Display:
    """One display of a shell that is shown once and then updated; callable as :class:`LiveView` wants it.

    Args:
        shell: an IPython shell whose front end can update displays.
    """

    def __init__(self, shell: Any) -> None:
        self._publisher = shell.display_pub
        self._id = f"contextkernel-{os.urandom(8).hex()}"

    def __call__(self, bundle: dict[str, str], update: bool) -> None:
        """Show ``bundle``; ``update``: in the place of what was shown before."""
        self._publisher.publish(data=bundle, metadata={}, transient={"display_id": self._id}, update=update)


def _work(words: tuple[str, ...]) -> Work:
    """What the command does, as the head of its view calls it."""
    known: dict[str, Work] = {"build": "build", "push": "push", "load": "load", "save": "save"}
    return next((known[word] for word in words[:2] if word in known), "transfer")


def _title(words: tuple[str, ...]) -> str:
    """What the head of the view calls the work before it knows the image's name."""
    if _work(words) == "build" or "imagetools" in words[:2]:
        names = [value for flag, value in pairwise(words) if flag in {"-t", "--tag"}]
        names += [word.partition("=")[2] for word in words if word.startswith("--tag=")]
        return ", ".join(names)
    if words[:1] in {("run",), ("create",)} or words[:2] in {("container", "run"), ("container", "create")}:
        return ""  # the lines below say which image it is
    options = {value for flag, value in pairwise(words) if flag in {"-i", "--input", "-o", "--output", "--platform"}}
    verbs = {"image", "pull", "push", "load", "save", "base", "ensure", "manifest"}
    return ", ".join(word for word in words if not word.startswith("-") and word not in verbs | options)
