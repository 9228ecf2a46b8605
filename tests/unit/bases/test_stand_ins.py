from __future__ import annotations

import pytest

from contextkernel.model.labels import STAND_IN, stand_in
from contextkernel.model.oci import History, ImageConfig, RunConfig

LABELS = {STAND_IN: "mmdebstrap (bookworm)"}


@pytest.mark.parametrize(
    ("labels", "comment", "expected"),
    [(LABELS, "", "mmdebstrap (bookworm)"), (LABELS, "buildkit.dockerfile.v0", None), (None, "", None)],
)
def test_a_stand_in_is_known_by_its_label_unless_it_was_built_upon(
    labels: dict[str, str] | None, comment: str, expected: str | None
) -> None:
    config = ImageConfig(config=RunConfig(labels=labels), history=(History(comment=comment),))
    assert stand_in(config) == expected
