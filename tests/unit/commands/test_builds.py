"""``builds`` and its kin on canned records."""

from __future__ import annotations

import json

import pytest

from contextkernel.commands.build_fields import seconds_text
from contextkernel.commands.complete import complete
from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Table
from contextkernel.commands.tables import text_of
from contextkernel.errors import NotFound, UsageProblem
from contextkernel.testing.fake_engine import FakeEngine


@pytest.fixture
def run(face):
    def do(*words, engine=None):
        return execute(engine or FakeEngine(), words, face).value

    return do


@pytest.mark.parametrize("words", [("builds",), ("builds", "ls"), ("buildx", "history", "ls")])
def test_the_list(run, words):
    lines = text_of(run(*words)).splitlines()
    assert lines[0].split("   ")[0] == "BUILD ID"
    assert [head for head in lines[0].split("  ") if head.strip()][-1].strip() == "DURATION"
    assert lines[1].startswith("q7m2c0x9v4k1t8s5z3b6n0w2a")
    assert "Error" in lines[1]
    assert lines[1].endswith("1m 1s")
    assert lines[2].endswith("1.5s")


def test_ids_and_json(run):
    assert run("builds", "-q").text.splitlines()[1] == "a1b2c3d4e5f6g7h8i9j0k1l2m"
    first = json.loads(run("builds", "--format", "json").text.splitlines()[0])
    assert first["Status"] == "Error"
    assert first["Error"] == "[2/2] RUN make test failed with exit code 2"


def test_steps_as_a_table(run):
    table = run("builds", "inspect", "a1b2")
    assert isinstance(table, Table)
    run_line = text_of(table).splitlines()[3]
    assert run_line.split() == ["3", "[2/2]", "RUN", "apt-get", "update", "done", "1.2s", "0.8s", "67.1MB", "30MB"]


@pytest.mark.parametrize("words", [("builds", "inspect"), ("buildx", "history", "inspect")])
def test_the_whole_record_as_json(run, words):
    document = json.loads(run(*words, "--format", "json", "a1b2").text)
    assert document["Status"] == "completed"
    assert document["BuildArgs"] == ["VERSION=1"]
    assert document["Steps"][2]["CPUTime"] == 0.75
    assert run(*words, "--format", "{{.Ref}} {{.NumCachedSteps}}", "a1b2").text == "a1b2c3d4e5f6g7h8i9j0k1l2m 1\n"


def test_the_newest_is_meant_without_an_id(run):
    engine = FakeEngine()
    run("builds", "inspect", engine=engine)
    run("builds", "logs", engine=engine)
    assert engine.calls == [("inspect_build", {}), ("build_logs", {})]


def test_logs(run):
    assert run("builds", "logs").text == ("#3 [2/2] RUN apt-get update\n#3 Hit:1 focal\n#3 Reading package lists...\n")


def test_removal(run):
    engine = FakeEngine()
    assert run("builds", "rm", "a1", "q7", engine=engine).text.count("\n") == 2
    assert run("builds", "rm", "--all", engine=engine).text.count("\n") == 2
    for words in ((), ("--all", "a1")):
        with pytest.raises(UsageProblem, match="either"):
            run("builds", "rm", *words)
    with pytest.raises(NotFound):
        run("builds", "rm", "nosuch")


def test_completion():
    assert {"inspect", "logs", "ls", "rm"} <= set(complete(["builds", ""], FakeEngine()))
    assert complete(["buildx", "history", "l"], FakeEngine()) == ["logs", "ls"]
    assert "history" in complete(["buildx", ""], FakeEngine())
    assert complete(["builds", "logs", "q"], FakeEngine()) == ["q7m2c0x9v4k1t8s5z3b6n0w2a"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.04, "0.0s"), (59.9, "59.9s"), (125.0, "2m 5s"), (3720.0, "1h 2m")]
)
def test_durations(seconds, text):
    assert seconds_text(seconds) == text
