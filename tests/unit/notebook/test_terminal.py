from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contextkernel.notebook.terminal import TerminalText


def shown(*pieces: str) -> str:
    text = TerminalText()
    return "".join(text.feed(piece) for piece in pieces) + text.close()


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("a\r\nb\r\n", "a\nb\n"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("/ # \x1b[6nls", "/ # ls"),
        ("\x1b[?2004h$ \x1b[?2004l", "$ "),
        ("\x1b]0;title\x07root", "root"),
        ("\x1b]0;title\x1b\\root", "root"),
        ("a\x1b(Bb\x1b=c\x1b>d\x07", "abcd"),
        ("50%\r100%\n", "50%\r100%\n"),
        ("\x1b[H\x1b[J\x1b[2;3Hx", "x"),
        ("\x1bPq#0\x1b\\y", "y"),
    ],
)
def test_what_is_shown(written, seen):
    assert shown(written) == seen
    assert shown(*written) == seen  # in whatever pieces it comes


@example(["\r", "\x1b", "0", "\n"])
@given(st.lists(st.text(alphabet="ab\r\n\x1b[]0;m6nh(B\x07\\P", max_size=8)))
def test_pieces_do_not_matter(pieces):
    assert shown(*pieces) == shown("".join(pieces))


def test_a_command_that_never_ends_is_none():
    text = TerminalText()
    assert text.feed("\x1b]" + "x" * 5000).endswith("x" * 4000)
