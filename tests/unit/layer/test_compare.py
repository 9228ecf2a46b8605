from __future__ import annotations

from contextkernel.layer.compare import compare
from contextkernel.model.digest import Digest

A, B, C = (Digest.of(letter) for letter in (b"a", b"b", b"c"))


def test_layers_that_another_image_has_are_shared() -> None:
    first, second = compare([("one", [(A, 100), (B, 20)]), ("two", [(A, 100), (C, 80)])])
    assert (first.size, first.layers, first.shared, first.unique, first.factor) == (120, 2, 100, 20, 1.5)
    assert (second.size, second.shared, second.unique, second.factor) == (180, 100, 80, 1.0)


def test_a_layer_twice_in_one_image_is_not_shared() -> None:
    (row,) = compare([("one", [(A, 10), (A, 10)])])
    assert (row.size, row.shared, row.unique) == (20, 0, 20)


def test_an_image_without_bytes_has_no_factor() -> None:
    assert [row.factor for row in compare([("scratch", []), ("x", [(A, 1)])])] == [0.0, 1.0]


def test_nothing_compares_to_nothing() -> None:
    assert compare([]) == ()
