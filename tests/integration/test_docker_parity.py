"""Every comparison case gives what docker gave for it (recorded by tests/compare/docker.py)."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from contextkernel import Engine

COMPARE = Path(__file__).parents[1] / "compare"
CASES = sorted(path.name for path in (COMPARE / "cases").iterdir() if path.is_dir())


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, COMPARE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


flatten = load("flatten")
base = load("base")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("parity")
    base.write_base(folder / "base.tar")
    with Engine(folder / "store") as engine:
        engine.import_image(str(folder / "base.tar"), base.BASE)
        yield engine


@pytest.fixture(scope="module")
def base_image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("base") / "base.tar"
    engine.save([base.BASE], str(path))
    return flatten.flatten(path)[0]


def test_every_case_is_recorded() -> None:
    assert sorted(path.stem for path in (COMPARE / "recorded").glob("*.json")) == CASES


@pytest.mark.parametrize("case", CASES)
def test_the_image_is_dockers(case: str, engine: Engine, base_image: dict[str, Any], tmp_path: Path) -> None:
    recorded = json.loads((COMPARE / "recorded" / f"{case}.json").read_text())
    engine.build(str(base.lay_out(COMPARE / "cases" / case, tmp_path)), tags=[f"ck-{case}"])
    engine.save([f"ck-{case}"], str(tmp_path / "image.tar"))
    ours = flatten.beyond(flatten.flatten(tmp_path / "image.tar")[0], base_image)
    assert flatten.differences(ours, recorded) == []
