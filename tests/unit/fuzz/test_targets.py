"""The fuzz targets themselves: they run over their seeds, and would notice a wrong exception."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.fuzz import targets


@pytest.mark.parametrize("name", targets.TARGETS)
def test_every_target_takes_its_seeds_and_parts_of_them(name: str) -> None:
    seeds = list(targets.SEEDS[name]())
    assert len(seeds) >= 3
    for seed in (*seeds, b"", b"\0", b"\xff\xfe"):
        targets.TARGETS[name](seed)
        targets.TARGETS[name](seed[: len(seed) // 2])


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("parser", "read_instructions"),
        ("expansion", "process"),
        ("ignore", "parse_ignore"),
        ("layer", "read_layer"),
        ("registry", "read_document"),
        ("login", "parse_challenges"),
        ("archive", "images_in"),
    ],
)
def test_a_wrong_exception_leaves_a_target(name: str, inner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise IndexError("a bug")

    monkeypatch.setattr(targets, inner, broken)
    with pytest.raises(IndexError):
        targets.TARGETS[name](b"FROM scratch\n")


@pytest.mark.parametrize("name", targets.TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_changed_seeds_end_with_our_own_errors_too(name: str, data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(list(targets.SEEDS[name]()))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(seed)))
        seed[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    targets.TARGETS[name](bytes(seed))
