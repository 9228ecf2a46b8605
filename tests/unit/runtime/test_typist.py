from __future__ import annotations

from contextkernel.runtime.typist import Typist


def test_a_line_when_the_program_has_become_quiet():
    typist = Typist(b"ls\nexit", 0.0)
    assert typist.next(0.1) == b""  # it has not said anything
    typist.hear(0.1)
    assert typist.next(0.11) == b""  # it may go on
    assert typist.next(0.14) == b"ls\n"
    typist.hear(0.15)
    assert typist.next(0.2) == b"exit\n"


def test_a_silent_program_gets_its_lines_all_the_same():
    typist = Typist(b"a\nb\n", 0.0)
    assert [typist.next(at) for at in (0.2, 0.3, 0.4, 0.6)] == [b"", b"a\n", b"", b"b\n"]


def test_the_end_is_typed_again_and_again():
    typist = Typist(b"", 0.0)
    assert [typist.next(at) for at in (0.3, 0.6, 0.9)] == [b"\x04"] * 3


def test_due_says_when():
    typist = Typist(b"x", 10.0)
    assert typist.next(typist.due - 0.001) == b""
    assert typist.next(typist.due) == b"x\n"
