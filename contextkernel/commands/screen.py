"""The terminal that shows a container's terminal: its size, raw mode, and the way back from it."""

from __future__ import annotations

import os
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class TerminalScreen:
    """This process's terminal; implements :class:`contextkernel.model.ports.Screen`.

    Args:
        terminal: descriptor of it.
        raw: keys are typed there: all are passed on, ctrl-c included.
    """

    def __init__(self, terminal: int, *, raw: bool) -> None:
        self._terminal = terminal
        self._raw = raw

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns; zeros if they are not known."""
        try:
            found = os.get_terminal_size(self._terminal)
        except OSError:
            return 0, 0
        return found.lines, found.columns

    @contextmanager
    def hold(self, resized: Callable[[int, int], None]) -> Iterator[None]:
        """Raw mode, and news of each new size, while the block lasts; see the port."""
        before = termios.tcgetattr(self._terminal) if self._raw else None

        def restore() -> None:
            if before is not None:
                with suppress(termios.error):  # it has hung up
                    termios.tcsetattr(self._terminal, termios.TCSADRAIN, before)

        def tell(_number: int, _frame: FrameType | None) -> None:
            resized(*self.size)

        def end(number: int, _frame: FrameType | None) -> None:
            restore()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        handlers: dict[int, Callable[[int, FrameType | None], None]] = {}
        if threading.current_thread() is threading.main_thread():
            handlers[signal.SIGWINCH] = tell
            # what would end this process without a word would leave the terminal as it is now
            handlers |= {number: end for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL}
        found = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            if self._raw:
                tty.setraw(self._terminal, termios.TCSANOW)
            yield
        finally:
            restore()
            for number, handler in found.items():
                signal.signal(number, handler)


class FixedScreen:
    """No terminal, but a place that shows what one would; implements :class:`contextkernel.model.ports.Screen`.

    Args:
        rows, columns: what programs are told.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._size = rows, columns

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._size

    @contextmanager
    def hold(self, resized: Callable[[int, int], None]) -> Iterator[None]:
        """Nothing to change, and no news."""
        del resized
        yield
