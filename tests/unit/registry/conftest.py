from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contextkernel.registry.retrying import Tries
from contextkernel.testing.registry import ServedRegistry, serve_registry


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings and credentials but the test's own; the directory that they would be in."""
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CONTEXTKERNEL_REGISTRIES", str(home / "registries.toml"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "registries.conf"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    for name in (
        "CONTEXTKERNEL_MIRROR",
        "DOCKER_CONFIG",
        "DOCKER_AUTH_CONFIG",
        "REGISTRY_AUTH_FILE",
        "XDG_CONFIG_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return home


@pytest.fixture
def registry() -> Iterator[ServedRegistry]:
    with serve_registry() as served:
        yield served


@pytest.fixture
def waits() -> list[float]:
    """The seconds that were waited, by the patience of :func:`tries`."""
    return []


@pytest.fixture
def tries(waits: list[float]) -> Tries:
    """Patience that takes no time."""
    return Tries(sleep=waits.append, chance=lambda: 0.0, now=lambda: 1_800_000_000.0, silence=10.0)
