from __future__ import annotations

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.linux.caps import CAPABILITIES, DEFAULT_CAPABILITIES, for_user, from_mask, to_mask


def test_default_set_has_dockers_bits() -> None:
    assert len(DEFAULT_CAPABILITIES) == 14
    assert to_mask(DEFAULT_CAPABILITIES) == 0xA80425FB


def test_numbers_are_the_kernels() -> None:
    known = {"CAP_CHOWN": 0, "CAP_SETPCAP": 8, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27, "CAP_SETFCAP": 31, "CAP_BPF": 39}
    for name, number in known.items():
        assert CAPABILITIES[number] == name
    assert len(CAPABILITIES) == 41


def test_masks_go_both_ways_and_newer_bits_are_left_out() -> None:
    for name in CAPABILITIES:
        assert from_mask(to_mask([name])) == {name}
    assert from_mask(1 << 60 | 1) == {"CAP_CHOWN"}
    assert from_mask(0) == frozenset()


def test_unknown_name() -> None:
    with pytest.raises(InvalidInput, match="'CAP_FLY'"):
        to_mask(["CAP_FLY"])


def test_root_has_them_and_others_only_the_bound() -> None:
    names = frozenset({"CAP_CHOWN", "CAP_KILL"})
    root, other = for_user(names, 0), for_user(names, 1000)
    assert root.permitted == root.effective == root.bounding == names
    assert other.bounding == names
    assert other.permitted == other.effective == frozenset()
    for sets in (root, other):
        assert sets.inheritable == sets.ambient == frozenset()
