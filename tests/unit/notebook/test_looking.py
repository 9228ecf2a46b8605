"""A look at a Dockerfile in a notebook."""

from __future__ import annotations

import pytest

from contextkernel.commands.outcome import Looked, Outcome
from contextkernel.dockerfile.parse import read_instructions
from contextkernel.errors import DockerfileError
from contextkernel.model.checks import CheckReport, Outline, OutlineArgument, OutlineMount, TargetRow, Targets
from contextkernel.notebook.looking import CheckFrame, show
from contextkernel.notebook.outcomes import problem_of, value_of
from tests.unit.checks.looking import look

TEXT = "FROM scratch AS Bad\nCOPY $foo \\\n  <x> \\\n  /x\nMAINTAINER me\n"


def report(text=TEXT, **more):
    return CheckReport(file="Dockerfile", source=text, findings=look(text).findings, **more)


def test_findings_are_a_frame_by_line():
    frame = show(report())
    assert list(frame.columns) == ["rule", "line", "end_line", "message", "description", "page"]
    assert [(row.rule, row.line, row.end_line) for row in frame.itertuples()] == [
        ("StageNameCasing", 1, 1),
        ("UndefinedVar", 2, 4),
        ("MaintainerDeprecated", 5, 5),
    ]
    assert frame.page[0] == "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/"
    assert frame.line.dtype == "int64"


def test_no_findings_are_a_frame_too():
    frame = show(report("FROM scratch\n"))
    assert len(frame) == 0
    assert dict(frame.dtypes) == dict(show(report()).dtypes)
    assert "no warnings" in frame._repr_html_()
    assert repr(frame) == "Check complete, no warnings found."


def test_the_frame_shows_the_marked_lines():
    frame = show(report(notes=("the base image <b> is not here",)))
    html = frame._repr_html_()
    assert "3 warnings" in html
    assert html.count("▶") == 5
    assert '<a href="https://docs.docker.com/go/dockerfile/rule/undefined-var/">UndefinedVar</a>' in html
    # below the last of its lines
    assert html.index("/x") < html.index("Usage of undefined variable") < html.index("MAINTAINER me")
    assert "&lt;x&gt;" in html
    assert "&lt;b&gt;" in html
    assert "<x>" not in html
    assert repr(frame).startswith("Check complete, 3 warnings have been found!\n\nWARNING: StageNameCasing - ")


def test_what_is_picked_out_is_a_plain_table():
    frame = show(report())
    assert isinstance(frame, CheckFrame)
    picked = frame[frame.rule == "UndefinedVar"]
    assert not isinstance(picked, CheckFrame)
    assert "MAINTAINER" not in picked._repr_html_()
    assert "UndefinedVar" in picked._repr_html_()


def test_findings_do_not_fail_the_cell_but_a_broken_file_does():
    outcome = Outcome(value=Looked(report()), exit_code=1)
    assert problem_of(outcome) is None
    problem = read_instructions("NOPE\n").problem
    assert isinstance(problem, DockerfileError)
    assert problem_of(Outcome(value=Looked(report(problem=problem)), exit_code=1, problems=(problem,))) is problem


def test_json_is_printed(capsys):
    value = value_of(Outcome(value=Looked(report(), as_json=True), exit_code=1))
    assert '"ruleName": "StageNameCasing"' in value
    assert capsys.readouterr().out == value


def test_outline_and_targets():
    outline = Outline(
        arguments=(OutlineArgument(name="A", value="1", description="a number", line=2),),
        secrets=(OutlineMount(id="s", required=True, line=3),),
        ssh=(OutlineMount(id="default", line=4),),
        caches=(OutlineMount(id="/c", line=5),),
    )
    frame = show(outline)
    assert [tuple(row)[1:] for row in frame.itertuples()] == [
        ("build arg", "A", "1", False, "a number", 2),
        ("secret", "s", "", True, "", 3),
        ("ssh", "default", "", False, "", 4),
        ("cache", "/c", "", False, "", 5),
    ]
    row = TargetRow(name="b", default=True, description="it", base="alpine", platform="", line=1)
    frame = show(Targets(rows=(row,)))
    assert [tuple(row)[1:] for row in frame.itertuples()] == [("b", True, "it", "alpine", "", 1)]
    assert len(show(Outline())) == 0
    assert "yes" in frame._repr_html_()


@pytest.mark.parametrize("text", ["", "FROM scratch\n\n\n"])
def test_files_that_end_oddly(text):
    assert isinstance(show(report(text))._repr_html_(), str)
