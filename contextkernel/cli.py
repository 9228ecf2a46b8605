"""The command line: ``contextkernel COMMAND ...``, the terminal face of :mod:`contextkernel.commands`.

Importing this module imports nothing else: what a command needs is imported when it is given.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TextIO

    from contextkernel.commands.face import Progress
    from contextkernel.commands.outcome import Outcome, Table, Text
    from contextkernel.engine import Engine
    from contextkernel.errors import ContextKernelError
    from contextkernel.model.ports import Reporter, Screen

PROGRAM = "contextkernel"
_INTERRUPTED = 130
_BROKEN_PIPE = 141
_INTERNAL = 125
_STDIN, _STDOUT, _STDERR = 0, 1, 2


def main(argv: Sequence[str] | None = None, *, make_engine: Callable[[str | None], Engine] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after the program's name; default: this process's.
        make_engine: makes the engine for ``--root`` (tests); default: the real one.

    Returns:
        The exit code: the container's for ``run``, else 0 or the error's.
    """
    session = _Session(make_engine or _engine)
    try:
        code = session.run(tuple(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        code = _BROKEN_PIPE
    except KeyboardInterrupt:
        code = _INTERRUPTED
    finally:
        session.close()
    return code


class _Session:
    """One command from its words to its exit code."""

    def __init__(self, make_engine: Callable[[str | None], Engine]) -> None:
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self._root: str | None = None
        self._debug = False

    def run(self, words: tuple[str, ...]) -> int:
        from contextkernel.errors import ContextKernelError

        try:
            outcome = self._execute(words)
            return self._show(outcome)
        except ContextKernelError as problem:
            if self._debug:
                raise
            _complain(problem)
            return problem.exit_code
        except (BrokenPipeError, KeyboardInterrupt):
            raise
        except Exception as problem:
            if self._debug:
                raise
            kind = "" if isinstance(problem, OSError) else f"internal error: {type(problem).__name__}: "
            _write(sys.stderr, f"{PROGRAM}: {kind}{problem}\nhint: {PROGRAM} --debug shows where it happened\n")
            return _INTERNAL

    def _execute(self, words: tuple[str, ...]) -> Outcome:
        from contextkernel.commands.declaration import GRAMMAR
        from contextkernel.commands.execute import execute
        from contextkernel.commands.grammar import HelpWanted

        try:
            values, rest = GRAMMAR.split_globals(words, PROGRAM)
        except HelpWanted:
            values, rest = {}, ("--help",)
        self._debug = values.get("debug", ("false",))[-1] in ("true", "1", "t", "T", "TRUE", "True")
        self._root = values.get("root", (None,))[-1]
        if "version" in values:
            rest = ("--version",)
        return execute(self._open, rest, TerminalFace())

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = self._make_engine(self._root)
        return self._engine

    def _show(self, outcome: Outcome) -> int:
        from contextkernel.commands.tables import text_of

        _write(sys.stdout, text_of(outcome.value))
        for problem in outcome.problems:
            _complain(problem)
        return outcome.exit_code

    def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


class TerminalFace:
    """Implements :class:`contextkernel.commands.face.Face` with this process's standard streams."""

    @property
    def program(self) -> str:
        """``contextkernel``."""
        return PROGRAM

    @property
    def stdin(self) -> int | None:
        """Descriptor 0, if it is open."""
        try:
            os.fstat(_STDIN)
        except OSError:
            return None
        return _STDIN

    @property
    def namespace(self) -> None:
        """None: a terminal has no variables."""
        return

    def write_out(self, text: str) -> None:
        """Print."""
        _write(sys.stdout, text)

    def write_err(self, text: str) -> None:
        """Print on standard error."""
        _write(sys.stderr, text)

    def write_output(self, stream: str, data: bytes) -> None:
        """Pass a container's bytes on as they are."""
        _write(sys.stderr if stream == "stderr" else sys.stdout, data)

    def output_descriptors(self) -> tuple[int | None, int | None]:
        """Descriptors 1 and 2: a container writes there without a detour."""
        sys.stdout.flush()
        sys.stderr.flush()
        return (_STDOUT, _STDERR)

    def screen(self, *, keys: bool) -> Screen | None:
        """The terminal of standard input, where keys are typed, or of standard output."""
        from contextkernel.commands.screen import TerminalScreen

        for terminal in (_STDIN,) if keys else (_STDOUT, _STDIN):
            if os.isatty(terminal):
                return TerminalScreen(terminal, raw=keys)
        return None

    def reporter(self, progress: Progress, *, out: bool = False) -> AbstractContextManager[Reporter]:
        """Progress on standard error, or output: in place on a terminal, else line by line."""
        from contextkernel.commands.progress import text_reporter

        stream = sys.stdout if out else sys.stderr
        if progress == "auto" and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            return _in_place(stream)
        return text_reporter(progress, self.write_out if out else self.write_err)

    def live(self) -> AbstractContextManager[Callable[[Table | Text], None]]:
        """On a terminal each value overwrites the one before; else one comes after another."""
        return _overwriting()

    def ask(self, question: str, *, secret: bool) -> str | None:
        """Ask at the terminal; standard input that is none means that there is nobody."""
        from getpass import getpass

        if not sys.stdin.isatty():
            return None
        try:
            if secret:
                return getpass(question)
            self.write_out(question)
            return sys.stdin.readline().rstrip("\r\n")
        except (EOFError, OSError, ValueError):
            return None

    def confirm(self, question: str) -> bool:
        """Ask on standard output, read a line from standard input."""
        self.write_out(f"{question} [y/N] ")
        try:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        except (OSError, ValueError):
            return False


def _in_place(stream: TextIO) -> AbstractContextManager[Reporter]:
    from contextlib import contextmanager

    from contextkernel.commands.progress_tty import TerminalView

    def write(text: str) -> None:
        _write(stream, text)

    def size() -> tuple[int, int]:
        try:
            found = os.get_terminal_size(_STDOUT if stream is sys.stdout else _STDERR)
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24

    @contextmanager
    def view() -> Iterator[Reporter]:
        terminal = TerminalView(write, lambda: size()[0], colour="NO_COLOR" not in os.environ, height=lambda: size()[1])
        try:
            yield terminal
        finally:
            terminal.close()

    return view()


def _overwriting() -> AbstractContextManager[Callable[[Table | Text], None]]:
    """Docker's way (docker/cli, container/stats.go): home, each line to its end, the rest of the screen."""
    from contextlib import contextmanager

    from contextkernel.commands.tables import text_of

    terminal = sys.stdout.isatty()

    def show(value: Table | Text) -> None:
        text = text_of(value)
        if terminal:
            text = "\033[H" + text.replace("\n", "\033[K\n") + "\033[J"
        _write(sys.stdout, text)

    @contextmanager
    def view() -> Iterator[Callable[[Table | Text], None]]:
        if terminal:
            _write(sys.stdout, "\033[2J")
        yield show

    return view()


def _write(stream: TextIO, content: str | bytes) -> None:
    """Write and flush, all of it.

    With ``PYTHONUNBUFFERED`` the text layer writes straight to the descriptor and drops what a short write left over.
    """
    stream.flush()
    if not hasattr(stream, "buffer"):
        stream.write(content if isinstance(content, str) else content.decode("utf-8", "replace"))
        return
    data = content.encode(stream.encoding, "backslashreplace") if isinstance(content, str) else content
    rest = memoryview(data)
    while rest:
        rest = rest[stream.buffer.write(rest) or 0 :]
    stream.buffer.flush()


def _complain(problem: ContextKernelError) -> None:
    """The error after everything that was printed before it."""
    first, *rest = problem.lines()
    _write(sys.stderr, "\n".join((f"{PROGRAM}: {first}", *rest)) + "\n")


def _forget_output() -> None:
    """Nobody reads any more; keep the interpreter from complaining when it flushes at the exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _STDOUT)
    os.close(null)


def _engine(root: str | None) -> Engine:
    from contextkernel.engine import Engine

    return Engine(root, fork_launcher=True)


if __name__ == "__main__":
    sys.exit(main())
