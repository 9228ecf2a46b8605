"""File modes of ``--chmod``: the values are what BuildKit's library gives."""

from __future__ import annotations

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.model.modes import parse_mode


@pytest.mark.parametrize(("text", "mode"), [("755", 0o755), ("0640", 0o640), ("7777", 0o7777), ("0", 0)])
def test_octal(text: str, mode: int) -> None:
    change = parse_mode(text)
    assert (change.apply(0o123, directory=False), change.text) == (mode, f"{mode:04o}")


@pytest.mark.parametrize(
    ("text", "before", "file", "directory"),
    [
        ("u+x,go-w", 0o666, 0o744, 0o744),
        ("a=rX", 0o640, 0o444, 0o555),
        ("a=rX", 0o750, 0o555, 0o555),
        ("u=rwX,g=u,o=", 0o644, 0o660, 0o770),
        ("+x", 0o644, 0o755, 0o755),
        ("go=", 0o777, 0o700, 0o700),
        ("u+s,g+s", 0o755, 0o6755, 0o6755),
        ("+t", 0o755, 0o1755, 0o1755),
        ("+xt", 0o644, 0o1644, 0o1644),  # a clause about nobody with a "t" is about that bit alone
        ("o+s", 0o755, 0o755, 0o755),
        ("a-X", 0o755, 0o644, 0o644),
        ("u=g+w", 0o750, 0o750, 0o750),
        ("g=u-w", 0o640, 0o640, 0o640),
        ("g=u-w", 0o760, 0o750, 0o750),
        ("=", 0o1777, 0o1000, 0o1000),
        ("u=rg", 0o740, 0o440, 0o440),
        ("u+", 0o644, 0o644, 0o644),
        ("a=,+X", 0o755, 0o111, 0o111),
        ("ug=o,o-u", 0o641, 0o110, 0o110),
    ],
)
def test_symbolic(text: str, before: int, file: int, directory: int) -> None:
    change = parse_mode(text)
    assert oct(change.apply(before, directory=False)) == oct(file)
    assert oct(change.apply(before, directory=True)) == oct(directory)
    assert change.text == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10000", "above 7777"),
        ("888", "other digits"),
        ("0x1ff", "other digits"),
        ("7_5", "other digits"),
        ("rwx", "'rwx' is not a change"),
        ("u", "not a change"),
        ("u+q", "not a change"),
        ("u+x,", "'' is not a change"),
        (",u+x", "not a change"),
        ("-1", "not a change"),
        ("+755", "not a change"),
        ("u+x go-w", "not a change"),
        ("u+x\n", "not a change"),
        ("\u0667\u0665\u0665", "other digits"),
    ],
)
def test_what_is_no_mode(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        parse_mode(text)
