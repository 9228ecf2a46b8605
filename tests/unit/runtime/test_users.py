from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.errors import InvalidInput
from contextkernel.runtime.users import Identity, resolve

PASSWD = """\
# a comment
root:x:0:0:root:/root:/bin/sh

bob:x:1000:1001:Bob:/home/bob:/bin/sh
42:x:7:7:a number as a name:/seven:
broken
short:x:8
bob:x:2000:2000:a second bob:/second:
"""
GROUP = "root:x:0:root\nbob:x:1001:\nextra:x:50:alice,bob\nother:x:60:bobby\nbroken:x:y:bob\n42:x:9:\n"


@pytest.mark.parametrize(
    ("spec", "identity"),
    [
        ("", Identity(0, 0, (0,), "/root")),
        ("root", Identity(0, 0, (0,), "/root")),
        ("0", Identity(0, 0, (0,), "/root")),
        ("bob", Identity(1000, 1001, (50,), "/home/bob")),
        ("1000", Identity(1000, 1001, (50,), "/home/bob")),
        ("bob:extra", Identity(1000, 50, (), "/home/bob")),
        ("bob:77", Identity(1000, 77, (), "/home/bob")),
        ("4000", Identity(4000, 0, (), "/")),
        ("4000:4001", Identity(4000, 4001, (), "/")),
        ("42", Identity(42, 0, (), "/")),  # a number is an id, never a name
        ("bob:42", Identity(1000, 42, (), "/home/bob")),
        (":extra", Identity(0, 50, (), "/root")),
        ("bob:", Identity(1000, 1001, (50,), "/home/bob")),
        ("2000", Identity(2000, 2000, (50,), "/second")),
    ],
)
def test_resolution(spec, identity):
    assert resolve(spec, PASSWD, GROUP) == identity


def test_without_files():
    assert resolve("", "", "") == Identity(0, 0, (), "/")
    assert resolve("5:6", "", "") == Identity(5, 6, (), "/")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("bob:nogroup", "unable to find group nogroup: no matching entries in group file"),
        ("2147483648", "uids and gids must be in range 0-2147483647, got 2147483648"),
        ("0:99999999999", "uids and gids must be in range 0-2147483647, got 99999999999"),
        ("-1", "uids and gids must be in range 0-2147483647, got -1"),
    ],
)
def test_refused(spec, text):
    with pytest.raises(InvalidInput) as caught:
        resolve(spec, PASSWD, GROUP)
    assert caught.value.problem == text


@given(st.text(max_size=20), st.text(max_size=200), st.text(max_size=200))
def test_attack_any_file_content(spec, passwd, group):
    try:
        found = resolve(spec, passwd, group)
    except InvalidInput:
        return
    assert found.uid >= 0
    assert found.gid >= 0
