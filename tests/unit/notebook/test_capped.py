"""More output than a notebook can hold: the beginning as it comes, the end, and what lies between is counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.notebook.capped import Capped
from contextkernel.notebook.face import NotebookFace

NOTE = "\n[… this is more than a notebook holds: from here on the end is kept, and shown when it is over]\n"


@given(pieces=st.lists(st.text(alphabet="abc\n", max_size=30)))
def test_what_fits_is_shown_as_it_comes(pieces: list[str]) -> None:
    capped = Capped(first=10_000, last=5)
    assert [capped.feed(piece) for piece in pieces] == pieces
    assert capped.end() == ""


@given(
    pieces=st.lists(st.text(alphabet="abcdefgh", min_size=1, max_size=30)),
    first=st.integers(0, 40),
    last=st.integers(1, 20),
)
def test_all_of_it_is_shown_or_counted(pieces: list[str], first: int, last: int) -> None:
    text = "".join(pieces)
    capped = Capped(first=first, last=last)
    shown = "".join(capped.feed(piece) for piece in pieces)
    end = capped.end()
    if len(text) <= first:
        assert (shown, end) == (text, "")
        return
    assert shown == text[:first] + NOTE
    rest = text[first:]
    left_out = max(0, len(rest) - last)
    assert end == (f"[… {left_out} characters left out]\n" if left_out else "") + rest[left_out:]


def test_what_is_held_is_bounded() -> None:
    capped = Capped(first=10, last=100)
    for _ in range(1000):
        capped.feed("x" * 37)
        assert len(capped._tail) <= 237
    assert capped.end() == f"[… {37_000 - 10 - 100:,} characters left out]\n" + "x" * 100
    assert capped.end() == ""


def test_a_cell_shows_the_beginning_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    face = NotebookFace("%container", ("run",))
    face.write_output("stdout", b"begin\n")
    for _ in range(40):
        face.write_output("stdout", b"x" * 65536)
    face.write_output("stderr", b"other\n")
    face.write_output("stdout", b"\nend\n")
    face.close()
    out, err = capsys.readouterr()
    assert out.startswith("begin\nxxx")
    assert out.endswith("xxx\nend\n")
    assert "characters left out]" in out
    assert len(out) < 1_200_000
    assert err == "other\n"
