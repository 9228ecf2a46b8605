"""A base image that somebody prunes between its pull and its first use is found once more, and not without end."""

from __future__ import annotations

from typing import Any

import pytest

from contextkernel.errors import ImageNotFound


@pytest.mark.parametrize(("pruned", "asked"), [(0, 1), (2, 3), (9, 3)])
def test_a_base_that_is_pruned_at_once(bench: Any, monkeypatch: pytest.MonkeyPatch, pruned: int, asked: int) -> None:
    looked, found = 0, 0
    real = bench.store.layers_of

    def layers_of(image: Any) -> Any:
        nonlocal looked
        looked += 1
        if looked <= pruned:
            raise ImageNotFound(f"no such image: {image}")
        return real(image)

    def resolve(*words: Any, **options: Any) -> Any:
        nonlocal found
        found += 1
        return bench.store.resolve_base(*words, **options)

    monkeypatch.setattr(bench.store, "layers_of", layers_of)
    if pruned > asked:
        with pytest.raises(ImageNotFound):
            bench.build("FROM base\nENV A=b\n", resolve=resolve)
    else:
        bench.build("FROM base\nENV A=b\n", resolve=resolve)
    assert found == asked
