"""Logins, searching and build caches with the real registry server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contextkernel import Engine
from contextkernel.errors import RegistryProblem, RegistryUnauthorized

FILE = "FROM scratch AS first\nCOPY file /one\nFROM scratch\nCOPY --from=first /one /two\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("CONTEXTKERNEL_REGISTRIES", str(tmp_path / "registries.toml"))
    return tmp_path


@pytest.fixture
def context(tmp_path: Path) -> str:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "file").write_text("content")
    return str(tmp_path / "context")


def test_login_push_search_logout(home: Path, context: str, start_registry: Callable[..., Any]) -> None:
    registry = start_registry(login=True)
    name = f"{registry.address}/team/demo:v1"
    with Engine(root=home / "store") as engine:
        engine.build(context, text=FILE, tags=[name])
        with pytest.raises(RegistryUnauthorized, match="it wants a login"):
            engine.push(name)
        with pytest.raises(RegistryUnauthorized) as caught:
            engine.login(registry.user, "not the one", registry=registry.address)
        assert "not the one" not in str(caught.value)
        assert not (home / "docker").exists()
        kept = engine.login(registry.user, registry.password, registry=f"http://{registry.address}/v2/")
        assert kept.path == str(home / "docker" / "config.json")
        assert engine.login(registry=registry.address).username == registry.user
        engine.push(name)
        assert [row.name for row in engine.search(f"{registry.address}/demo")] == [f"{registry.address}/team/demo"]
        assert engine.search(f"{registry.address}/other") == ()
        assert engine.logout(registry.address)
        assert json.loads((home / "docker" / "config.json").read_text())["auths"] == {}
        with pytest.raises(RegistryProblem):
            engine.search(f"{registry.address}/demo")


@pytest.mark.parametrize("words", ["", ",image-manifest=false", ",oci-mediatypes=false"])
def test_a_build_cache_travels(home: Path, context: str, real_registry: Any, words: str) -> None:
    ref = f"{real_registry.address}/cache/app:main"
    with Engine(root=home / "store") as engine:
        made = engine.build(context, text=FILE, cache_to=[f"type=registry,ref={ref},mode=max{words}"])
    with Engine(root=home / "other") as other:
        again = other.build(context, text=FILE, cache_from=[f"type=registry,ref={ref}"])
        assert again.image == made.image
        assert again.warnings == ()
        assert {step.state for step in again.steps if "COPY" in step.name} == {"cached"}
