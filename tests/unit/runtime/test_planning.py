"""The user that a shown plan names: as the files of the image tell, without mounting them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contextkernel.model.container import LaunchRequest
from contextkernel.runtime.planning import find_identity


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path]:
    base, top = tmp_path / "base", tmp_path / "top"
    for layer in (base, top):
        (layer / "etc").mkdir(parents=True)
    (base / "etc/passwd").write_text("web:x:33:33::/srv:/bin/sh\n")
    return base, top


def uid(layers: tuple[Path, Path], user: str = "web") -> int | None:
    lowers = tuple(map(str, layers))
    request = LaunchRequest(
        id="", argv=("",), env=(), hostname="", network="none", lowers=lowers, upper="/u", work="/w", user=user
    )
    identity = find_identity(request)
    return None if identity is None else identity.uid


def test_the_uppermost_file_counts(layers: tuple[Path, Path]) -> None:
    assert uid(layers) == 33
    (layers[1] / "etc/passwd").write_text("web:x:44:44::/srv:/bin/sh\n")
    assert uid(layers) == 44


def test_a_link_is_followed_inside_of_the_image(layers: tuple[Path, Path]) -> None:
    (layers[1] / "etc/passwd").symlink_to("/lib/passwd")
    (layers[0] / "lib").mkdir()
    (layers[0] / "lib/passwd").write_text("web:x:55:55::/srv:/bin/sh\n")
    assert uid(layers) == 55


def test_a_file_that_a_layer_removed_tells_nothing(layers: tuple[Path, Path]) -> None:
    (layers[1] / "etc/.wh.passwd").touch()
    assert uid(layers) is None


def test_an_unknown_user_is_no_error(layers: tuple[Path, Path]) -> None:
    assert uid(layers, "nobody-knows") is None
