from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.errors import InvalidInput
from contextkernel.runtime.detaching import DEFAULT, DetachKeys, parse_keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [(DEFAULT, b"\x10\x11"), ("a,b", b"ab"), ("ctrl-@", b"\0"), ("ctrl-[,ctrl-_", b"\x1b\x1f"), ("CTRL-A", b"\x01")],
)
def test_keys(text, keys):
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["", "ctrl-1", "ab", "ctrl-p,", "\u00e4", "ctrl-"])
def test_keys_that_are_none(text):
    with pytest.raises(InvalidInput, match="invalid detach keys"):
        parse_keys(text)


@pytest.mark.parametrize(
    ("pieces", "passed", "left"),
    [
        ([b"hello"], b"hello", False),
        ([b"a\x10\x11b"], b"a", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"\x10x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x10", b"a"], b"\x10a", False),
    ],
)
def test_scan(pieces, passed, left):
    keys = DetachKeys(b"\x10\x11")
    found = [keys.scan(piece) for piece in pieces]
    assert (b"".join(data for data, _ in found), any(end for _, end in found)) == (passed, left)


@given(st.lists(st.binary(max_size=6)))
def test_nothing_is_lost_without_the_keys(pieces):
    keys = DetachKeys(b"\x10\x11")
    text = b"".join(pieces)
    out = b""
    for piece in pieces:
        data, left = keys.scan(piece)
        out += data
        if left:
            assert text.startswith(out + b"\x10\x11")
            return
    assert out == text or out + b"\x10" == text


def test_no_keys():
    assert DetachKeys(b"").scan(b"\x10\x11") == (b"\x10\x11", False)
