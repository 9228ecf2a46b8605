"""A check of a whole file: with the base images that are there, and with what would stop the build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from contextkernel.build.looking import check_file, outline_file
from contextkernel.dockerfile.parse import read_instructions
from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.model.checks import CheckReport
from contextkernel.model.oci import ImageConfig
from contextkernel.model.reference import ImageRef
from contextkernel.plan.checks import Subject
from tests.unit.checks.looking import AMD64, image


def find_in(images: Mapping[str, ImageConfig]) -> Any:
    known = {str(ImageRef.parse(name)): config for name, config in images.items()}
    return lambda ref: known.get(str(ref))


def checked(
    text: str,
    images: Mapping[str, ImageConfig] | None = None,
    contexts: Mapping[str, str] | None = None,
    **subject: Any,
) -> CheckReport:
    given = Subject(build_platform=AMD64, platform=AMD64, **subject)
    return check_file(read_instructions(text), given, find_in(images or {}), contexts)


def rules(report: CheckReport) -> list[str]:
    return [finding.rule for finding in report.findings]


def test_a_clean_file() -> None:
    report = checked("FROM base\nRUN true\n")
    assert report.clean
    assert report.notes == ()


def test_bases_that_are_here_are_known() -> None:
    text = "FROM golang AS go\nFROM go\nENV SRC=$GOPATH/src\n"
    assert rules(checked(text, {"golang:latest": image(env=("GOPATH=/go",))})) == []
    report = checked(text)
    assert rules(report) == ["UndefinedVar"]
    assert report.notes == (
        "the base image golang:latest is not in the store: what it sets is not known, and counts as undefined",
    )
    # without such a finding there is nothing to be unsure of
    assert checked("FROM golang\nRUN true\n").notes == ()


def test_named_contexts_stand_for_stages_and_images() -> None:
    text = "FROM golang AS go\nUSER $NOBODY\nFROM go\nENV SRC=$GOPATH/src\n"
    known = {"mine:1": image(env=("GOPATH=/go",)), "golang": image(env=("NOBODY=1",))}
    assert checked(text, known, {"go": "docker-image://mine:1"}).clean
    assert checked(text, known, {"golang": "docker-image://mine:1"}).findings[0].span.line == 2
    report = checked(text, known, {"go": "/some/directory"})
    assert [finding.span.line for finding in report.findings] == [4]
    assert report.notes == ()
    with pytest.raises(InvalidInput, match="build context"):
        checked(text, known, {"go": "nonsense://x"})


def test_the_platform_of_a_base_and_its_triggers() -> None:
    report = checked("FROM app\n", {"app": image("linux/arm64", on_build=("USER $who",))})
    assert rules(report) == ["InvalidBaseImagePlatform", "UndefinedVar"]


def test_all_stages_or_those_of_the_target() -> None:
    text = "FROM base AS a\nUSER $x\nFROM base AS b\nUSER $y\n"
    assert rules(checked(text)) == ["UndefinedVar", "UndefinedVar"]
    report = checked(text, target="a")
    assert [finding.span.line for finding in report.findings] == [2]
    with pytest.raises(InvalidInput, match="target stage 'c'"):
        checked(text, target="c")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("FROM base\nNOPE\n", 2, "unknown instruction"),
        ("FROM base\nCOPY --from=7 a /\n", 2, "there is no stage 7"),
        ("FROM base AS a\nEXPOSE http\nFROM base\nUSER $x\n", 2, "'http' is not a port"),
        ("FROM base\nSTOPSIGNAL NONE\n", 2, "no such signal"),
        ("FROM $nothing\n", 1, "base name is empty"),
        ("FROM base\nENV A=${x\n", 2, "cannot expand"),
        ("FROM base\nENV P=x\nEXPOSE $P\n", 3, "'x' is not a port"),
    ],
)
def test_what_would_stop_a_build(text: str, line: int, problem: str) -> None:
    report = checked(text)
    assert report.problem is not None
    assert problem in report.problem.problem
    assert report.problem.span is not None
    assert report.problem.span.line == line
    assert not report.clean


@pytest.mark.parametrize("instruction", ["EXPOSE ${PORT}/tcp", "USER ${NAME:?none}", "VOLUME $DATA", "STOPSIGNAL $END"])
def test_what_an_unknown_base_may_set_is_no_problem(instruction: str) -> None:
    text = f"FROM app AS a\n{instruction}\n"
    report = checked(text)
    assert report.problem is None
    assert len(report.notes) == 1
    assert checked(text, {"app": image()}).problem is not None
    known = image(env=("PORT=80", "NAME=x", "DATA=/x", "END=TERM"))
    assert checked(text, {"app": known}).clean
    assert checked(f"{text}FROM a\n{instruction}\n").problem is None


def test_findings_are_a_problem_when_the_file_says_so() -> None:
    report = checked("#check=error=true\nFROM base as a\n")
    assert report.problem is not None
    assert report.problem.problem == "lint violation found for rules: FromAsCasing"
    assert checked("#check=error=true\nFROM base\n").clean


def test_an_outline_knows_the_bases_too() -> None:
    subject = Subject(build_platform=AMD64, platform=AMD64)
    outline = outline_file(read_instructions("FROM app\n"), subject, find_in({"app": image(on_build=("ARG A=1",))}))
    assert [(one.name, one.value) for one in outline.arguments] == [("A", "1")]
    with pytest.raises(DockerfileError):
        outline_file(read_instructions("FROM app\nNOPE\n"), subject, find_in({}))
