from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from contextkernel.build import hostfiles, recipes
from contextkernel.model.reference import ImageRef


@pytest.mark.parametrize(
    ("reference", "suite"),
    [
        ("ubuntu:20.04", "focal"),
        ("ubuntu", "noble"),
        ("debian:12", "bookworm"),
        ("debian:12-slim", "bookworm"),
        ("debian:sid", "sid"),
    ],
)
def test_the_release_of_a_reference(reference: str, suite: str) -> None:
    recipe = recipes.recipe_for(ImageRef.parse(reference))
    assert recipe is not None
    assert recipe.suite == suite
    assert recipe.genuine


@pytest.mark.parametrize(
    "reference", ["alpine:3.15.0", "somebody/ubuntu", "ghcr.io/library/ubuntu", f"ubuntu@sha256:{'0' * 64}"]
)
def test_images_that_are_not_bootstrapped(reference: str) -> None:
    assert recipes.recipe_for(ImageRef.parse(reference)) is None


def test_a_host_root_has_a_shell(tmp_path: Path) -> None:
    tools = hostfiles.write_root(str(tmp_path / "root.tar"), "alpine:3.15.0")
    assert "sh" in tools
    with tarfile.open(tmp_path / "root.tar") as tar:
        names = {member.name: member for member in tar}
        assert names["tmp"].mode == 0o1777
        assert "bin/sh" in names
        release = tar.extractfile("etc/os-release")
        assert release is not None
        assert b"stand-in for alpine:3.15.0" in release.read()
        assert all(member.uid == 0 and not member.name.startswith(("/", "..")) for member in names.values())
