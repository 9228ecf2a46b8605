"""Build checks during a build: warnings that change nothing, unless the file says that they are errors."""

from __future__ import annotations

from typing import Any

import pytest

from contextkernel.errors import ContextKernelError, DockerfileError, ImageNotFound
from contextkernel.model.events import BuildWarning, StepStarted


def warned(bench: Any) -> list[tuple[str, int]]:
    """Rule and line of the findings that were reported."""
    return [(event.rule, event.line) for event in bench.events if isinstance(event, BuildWarning)]


def ran(bench: Any) -> list[str]:
    """Names of the steps that were begun and belong to an instruction or to the result."""
    names = [event.name for event in bench.events if isinstance(event, StepStarted)]
    return [name for name in names if not name.startswith("[internal]")]


TEXT = "FROM base as one\nWORKDIR here\nRUN true\nENV TOKEN=x\nCMD run $it\n"


def test_findings_are_warnings(bench: Any) -> None:
    result = bench.build(TEXT)
    assert warned(bench) == [
        ("FromAsCasing", 1),
        ("WorkdirRelativePath", 2),
        ("SecretsUsedInArgOrEnv", 4),
        ("JSONArgsRecommended", 5),
    ]
    assert result.warnings[0] == "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"
    (event, *_) = [event for event in bench.events if isinstance(event, BuildWarning)]
    assert event == BuildWarning(
        text="FromAsCasing: 'as' and 'FROM' keywords' casing do not match",
        line=1,
        rule="FromAsCasing",
        url="https://docs.docker.com/go/dockerfile/rule/from-as-casing/",
        detail="The 'as' keyword should match the case of the 'from' keyword",
        source="FROM base as one",
    )


def test_findings_do_not_change_the_result(bench: Any) -> None:
    first = bench.build(TEXT)
    second = bench.build(f"# check=skip=all\n{TEXT}")
    assert warned(bench) == []
    assert first.image == second.image
    assert [step.state for step in second.steps] == ["cached"] * len(second.steps)


def test_findings_are_reported_before_anything_runs(bench: Any) -> None:
    bench.build(TEXT)
    kinds = [
        "found" if isinstance(event, BuildWarning) else event.name
        for event in bench.events
        if isinstance(event, BuildWarning) or (isinstance(event, StepStarted) and event.instruction)
    ]
    assert kinds[:4] == ["found"] * 4


def test_findings_can_fail_the_build(bench: Any) -> None:
    with pytest.raises(DockerfileError) as caught:
        bench.build(f"# check=error=true;skip=WorkdirRelativePath\n{TEXT}")
    assert caught.value.problem == (
        "lint violation found for rules: FromAsCasing, JSONArgsRecommended, SecretsUsedInArgOrEnv"
    )
    assert [rule for rule, _ in warned(bench)] == ["FromAsCasing", "SecretsUsedInArgOrEnv", "JSONArgsRecommended"]
    assert ran(bench) == []


def test_the_build_argument_decides(bench: Any) -> None:
    bench.build(f"# check=error=true\n{TEXT}", build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"})
    assert warned(bench) == []
    with pytest.raises(DockerfileError):
        bench.build(TEXT, build_args={"BUILDKIT_DOCKERFILE_CHECK": "error=true"})


def test_only_what_is_built_is_looked_into(bench: Any) -> None:
    bench.build("FROM base AS unused\nCOPY $a /\n\nFROM base\nUSER ${b}1\n")
    assert warned(bench) == [("UndefinedVar", 5)]


def test_the_ignore_file_is_looked_at(bench: Any) -> None:
    bench.write({".dockerignore": "b\n", "a": "", "b": ""})
    bench.build("FROM base\nCOPY a /\n")
    assert warned(bench) == []
    with pytest.raises(ContextKernelError):
        bench.build("FROM base\nCOPY b /\n")
    assert warned(bench) == [("CopyIgnoredFile", 2)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("FROM base as x\nNOPE\n", DockerfileError), ("FROM base as x\nFROM missing\nRUN $x\n", ImageNotFound)],
)
def test_a_file_that_cannot_be_built_is_looked_through_too(bench: Any, text: str, problem: type[Exception]) -> None:
    with pytest.raises(problem):
        bench.build(text)
    assert warned(bench) == [("FromAsCasing", 1)]


def test_the_variables_of_the_base_image_are_known(bench: Any) -> None:
    bench.build("FROM base\nENV A=$PATH B=$NOPE\n")
    assert warned(bench) == [("UndefinedVar", 2)]


def test_a_finding_in_a_line_that_is_not_utf8_can_be_reported(bench: Any) -> None:
    bench.build('FROM base\nLABEL name "Jos\udce9"\n')
    (event,) = [event for event in bench.events if isinstance(event, BuildWarning)]
    assert event.source == 'LABEL name "Jos\ufffd"'
