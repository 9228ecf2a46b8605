"""The engine's verbs that look at Dockerfiles: nothing is started for them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from contextkernel.engine import Engine
from contextkernel.errors import InvalidInput, SourceNotFound

TEXT = "# app is the program\nFROM scratch as app\nARG WHICH=1\nCOPY secret.txt /\n"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store") as engine:
        yield engine


def rules(report: object) -> list[str]:
    return [finding.rule for finding in report.findings]  # type: ignore[attr-defined]


def test_a_directory_with_its_ignore_file(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(TEXT)
    (tmp_path / ".dockerignore").write_text("*.txt\n")
    report = engine.check(str(tmp_path))
    assert rules(report) == ["FromAsCasing", "CopyIgnoredFile"]
    assert report.file == "Dockerfile"
    assert engine._runtime_made is None
    assert engine._worker_made is None
    (tmp_path / ".dockerignore").write_text("[\n")
    with pytest.raises(InvalidInput, match=r"\.dockerignore: invalid pattern"):
        engine.check(str(tmp_path))
    with pytest.raises(SourceNotFound):
        engine.check(str(tmp_path), dockerfile="Other")


def test_text_and_other_contexts(engine: Engine) -> None:
    assert rules(engine.check(None, text=TEXT)) == ["FromAsCasing"]
    assert rules(engine.check({"Dockerfile": TEXT, ".dockerignore": "*"})) == ["FromAsCasing"]
    assert rules(engine.check({"f": TEXT.encode()}, dockerfile="f")) == ["FromAsCasing"]
    assert rules(engine.check("https://example.com/context.tar", text=TEXT)) == ["FromAsCasing"]
    with pytest.raises(SourceNotFound):
        engine.check({"f": TEXT})
    for context in ("https://example.com/context.tar", io.BytesIO(b"")):
        with pytest.raises(InvalidInput, match="only a Dockerfile of this machine"):
            engine.check(context)


def test_arguments_and_platform(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "ARG TAG\nFROM --platform=$TARGETPLATFORM app:$TAG AS x\nUSER $U\n"
    monkeypatch.setenv("TAG", "1")
    report = engine.check(None, text=text, build_args={"TAG": None, "U": "1"}, platform="linux/arm64")
    assert rules(report) == ["InvalidDefaultArgInFrom", "RedundantTargetPlatform", "UndefinedVar"]
    assert report.problem is None
    with pytest.raises(InvalidInput):
        engine.check(None, text=text, platform="linux/")


def test_outline_and_targets(engine: Engine) -> None:
    outline = engine.outline(None, text=TEXT, build_args={"WHICH": "2"})
    assert (outline.target, outline.description) == ("app", "is the program")
    assert [(one.name, one.value) for one in outline.arguments] == [("WHICH", "2")]
    assert [(row.name, row.default) for row in engine.targets(None, text=TEXT).rows] == [("app", True)]
