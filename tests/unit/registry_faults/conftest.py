"""Pulling from, and pushing to, a registry that misbehaves; nothing waits for a clock."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import msgspec
import pytest
from judge.faulty import BASIC, REPOSITORY, Faulty, Image

from contextkernel.model.digest import Digest
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.registry.retrying import Tries
from contextkernel.store import Store
from contextkernel.testing.stores import InProcessLayerWorker

AMD64 = Platform("linux", "amd64")


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Nothing of the user's: no credentials, settings, proxies; and waits are noted instead of waited for."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "CONTEXTKERNEL_MIRROR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("CONTEXTKERNEL_REGISTRIES", str(tmp_path / "registries.toml"))


@pytest.fixture
def server() -> Iterator[Faulty]:
    with Faulty() as made:
        yield made


@pytest.fixture
def other() -> Iterator[Faulty]:
    """A second server, which is a stranger to the first."""
    with Faulty() as made:
        yield made


@pytest.fixture
def image(server) -> Image:
    """What :func:`name` is the name of, to begin with."""
    made = Image.of({"one": b"1" * 3000}, {"two": bytes(range(256)) * 700})
    made.publish(server, REPOSITORY, "v1")
    return made


@pytest.fixture
def name(server, image) -> str:
    del image
    return f"{server.address}/{REPOSITORY}:v1"


@pytest.fixture
def log_in(tmp_path) -> Callable[..., None]:
    """Have credentials for addresses in docker's file."""

    def write(*addresses: str) -> None:
        (tmp_path / "docker").mkdir(exist_ok=True)
        document = {"auths": {address: {"auth": BASIC} for address in addresses}}
        (tmp_path / "docker" / "config.json").write_text(json.dumps(document))

    return write


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def waits() -> list[float]:
    """The seconds that would have been waited, in order."""
    return []


@pytest.fixture
def tries(waits) -> Tries:
    """A patience that waits for nothing."""
    return Tries(silence=20.0, sleep=waits.append, chance=lambda: 0.5)


@pytest.fixture
def pull(store, tries) -> Callable[..., Digest]:
    """Pull a name for linux/amd64 into ``store``; ``silence``: seconds that a server may be silent."""
    from contextkernel.registry.pull import pull_reference

    worker = InProcessLayerWorker()

    def run(name: str, silence: float = 20.0, **options: object) -> Digest:
        patience = msgspec.structs.replace(tries, silence=silence)
        return pull_reference(store, worker, ImageRef.parse(name), platform=AMD64, tries=patience, **options).image  # type: ignore[arg-type]

    return run


@pytest.fixture
def nothing_left(store) -> Callable[[], None]:
    """Asserts that no image, layer, blob, half-made file or layer is in the store; downloads are complete or none."""

    def look() -> None:
        assert store.image_rows() == ()
        assert store._database.all("SELECT diff_id FROM layers") == []
        assert store._database.all("SELECT digest FROM leases") == []
        assert [name for _, _, names in os.walk(f"{store.root}/blobs") for name in names] == []
        assert os.listdir(f"{store.root}/tmp") == os.listdir(f"{store.root}/layers") == []
        assert store.check() == ()

    return look
