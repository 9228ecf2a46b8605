from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contextkernel.runtime.attach import Client, converse


class Screen:
    """A terminal whose window is drawn larger when the test says so."""

    size = (30, 100)

    def __init__(self) -> None:
        self.tell: Callable[[int, int], None] = lambda _rows, _columns: None

    @contextmanager
    def hold(self, resized: Callable[[int, int], None]) -> Iterator[None]:
        self.tell = resized
        yield


class Program:
    """One that is sent sizes, and ends when it is waited for."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.sizes: list[tuple[int, int]] = []
        self._meanwhile = meanwhile

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    def wait(self, timeout: float | None = None) -> int:
        assert timeout is None
        self._meanwhile()
        return 3

    def close(self) -> None:
        pass


def test_sizes_that_a_terminal_has_while_its_program_starts_are_handed_on_then():
    screen, program = Screen(), Program()

    def begin(*_descriptors: int | None) -> Program:
        screen.tell(40, 80)
        screen.tell(41, 42)
        return program

    assert converse(begin, Client(screen=screen)).exit_code == 3
    assert program.sizes == [(41, 42)]


def test_sizes_of_later_are_handed_on_at_once_and_none_otherwise():
    screen = Screen()
    program = Program(lambda: screen.tell(41, 42))
    assert converse(lambda *_: program, Client(screen=screen)).exit_code == 3
    assert program.sizes == [(41, 42)]
    still = Program()
    converse(lambda *_: still, Client(screen=screen))
    assert still.sizes == []
