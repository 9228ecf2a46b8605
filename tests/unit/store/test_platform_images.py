"""One name, images of several platforms."""

from __future__ import annotations

import pytest

from contextkernel.errors import ImageNotFound
from contextkernel.model.codec import to_json
from contextkernel.model.oci import ImageConfig, RootFS
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.store import Store

AMD64, ARM64, ARM = Platform("linux", "amd64"), Platform("linux", "arm64"), Platform("linux", "arm", "v7")
NAME = ImageRef.parse("alpine")


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store") as opened:
        yield opened


def image(store, architecture, *names):
    config = ImageConfig(architecture=architecture, os="linux", rootfs=RootFS("layers", ()))
    return store.add_image(to_json(config), origin="pull", names=names)


def test_a_name_stands_for_its_own_platform(store):
    native = image(store, "amd64", NAME)
    assert store.for_platform(NAME, AMD64) == native
    with pytest.raises(ImageNotFound, match="is for linux/amd64, not for linux/arm64"):
        store.for_platform(NAME, ARM64)
    with pytest.raises(ImageNotFound, match="no such image"):
        store.for_platform(ImageRef.parse("other"), AMD64)


def test_others_lie_beside_it(store):
    native, other = image(store, "amd64", NAME), image(store, "arm64")
    store.remember_platform(NAME, ARM64, other)
    assert store.for_platform(NAME, ARM64) == other
    assert store.for_platform(NAME, AMD64) == store.resolve("alpine") == native
    store.remove_image(str(other))
    with pytest.raises(ImageNotFound):
        store.for_platform(NAME, ARM64)


def test_what_a_processor_runs_as_well_will_do(store):
    old = image(store, "386", NAME)
    assert store.for_platform(NAME, AMD64) == old
    with pytest.raises(ImageNotFound):
        store.for_platform(NAME, ARM)
