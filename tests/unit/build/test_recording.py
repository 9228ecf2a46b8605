"""What is written down of a build."""

from __future__ import annotations

import pytest

from contextkernel.build import BuildRequest
from contextkernel.build import recording as module
from contextkernel.build.recording import Recorder
from contextkernel.build.request import RemoteContext
from contextkernel.errors import StepFailed, StoreFull
from contextkernel.model.build_inputs import SecretValue, StepOptions
from contextkernel.model.digest import Digest
from contextkernel.model.events import StepOutput, StepStarted

TEXT = "FROM base\nRUN make\nCOPY file /file\n"


class Kept:
    """A store for records.

    Attributes:
        rows: by id, as written last.
        steps: by number, as written last.
        order: numbers of the steps in each write.
    """

    def __init__(self) -> None:
        self.rows = {}
        self.steps = {}
        self.order = []

    def begin_build(self, row):
        self.rows[row.id] = row

    def record_build(self, build, steps, row=None):
        assert build in self.rows
        self.order.append([step.row.number for step in steps])
        self.steps.update({step.row.number: step for step in steps})
        if row is not None:
            self.rows[build] = row


def request(text: str = TEXT, **options) -> BuildRequest:
    return BuildRequest(context=None, dockerfile=text, **options)


def record(bench, text: str = TEXT, **options):
    kept = Kept()
    recorder = Recorder(kept, request(text, **options), lambda _event: None)
    try:
        result = recorder.finish(bench.build(text, seen=recorder, **options))
    except BaseException as problem:
        recorder.fail(problem)
        return kept, None
    return kept, result


def test_a_completed_build(bench):
    bench.write({"file": "content"})
    kept, result = record(bench, build_args={"A": "1", "http_proxy": "http://user:secret@proxy", "none": None})
    (row,) = kept.rows.values()
    assert result.record == row.id
    assert len(row.id) == 25
    assert (row.status, row.image, row.steps, row.cached) == ("completed", result.image, 3, 1)
    assert row.dockerfile_digest == Digest.of(TEXT.encode())
    assert row.build_args == ("A=1", "http_proxy")
    steps = {step.row.name: step.row for step in kept.steps.values()}
    run = steps["[2/3] RUN make"]
    assert (run.state, run.line, run.cpu_seconds, run.peak_memory) == ("done", 2, 0.25, 1 << 20)
    assert run.layer in bench.store.config(result.image).rootfs.diff_ids
    assert run.written > 0
    assert steps["[3/3] COPY file /file"].written == len("content")
    assert steps["[3/3] COPY file /file"].cpu_seconds is None
    (log,) = [step.log.text for step in kept.steps.values() if step.row.name == "[2/3] RUN make"]
    assert log == "ran /bin/sh -c make\n"


def test_a_cached_build_costs_one_write(bench):
    bench.write({"file": "content"})
    bench.build(TEXT)
    kept, _ = record(bench)
    (row,) = kept.rows.values()
    assert (row.steps, row.cached) == (3, 3)
    assert len(kept.order) == 1
    assert {step.row.written for step in kept.steps.values() if step.row.layer} == {0}


def test_each_step_is_written_when_it_ends(bench):
    bench.write({"file": "content"})
    kept, _ = record(bench)
    assert len(kept.order) == 3  # RUN, COPY, the end


def test_a_failed_build(bench, failing):
    bench.write({"file": "content"})
    bench.programs(failing(2, "no rule\n"))
    kept, _ = record(bench)
    (row,) = kept.rows.values()
    assert row.status == "error"
    assert "exit code 2" in row.problem
    (run,) = [step for step in kept.steps.values() if "RUN" in step.row.name]
    assert (run.row.state, run.log.text) == ("error", "no rule\n")
    assert "exit code 2" in run.row.problem


def test_an_interrupted_build(bench):
    def program(_request, _out, _err):
        raise KeyboardInterrupt

    bench.write({"file": "content"})
    bench.programs(program)
    kept, _ = record(bench)
    (row,) = kept.rows.values()
    assert row.status == "canceled"
    assert [step.row.state for step in kept.steps.values() if "RUN" in step.row.name] == ["canceled"]


def test_an_unexpected_problem_is_an_error():
    kept = Kept()
    Recorder(kept, request(), lambda _event: None).fail(ZeroDivisionError("division by zero"))
    (row,) = kept.rows.values()
    assert (row.status, row.problem) == ("error", "ZeroDivisionError: division by zero")


def test_secrets_are_named_and_never_shown():
    kept = Kept()
    options = StepOptions(secrets={"token": SecretValue(b"hunter2")})
    recorder = Recorder(kept, request(steps=options), lambda _event: None)
    recorder.fail(StepFailed("no", status=1))
    (row,) = kept.rows.values()
    assert row.secrets == ("token",)
    assert "hunter2" not in repr(row)


def test_the_middle_of_a_long_output_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "LOG_LIMIT", 100)
    kept = Kept()
    recorder = Recorder(kept, request(), lambda _event: None)
    recorder(StepStarted(1, "[1/1] RUN yes", "RUN yes", 1))
    for number in range(1000):
        recorder(StepOutput(1, "stdout", f"line {number:04}\n"))
    recorder.fail(KeyboardInterrupt())
    log = kept.steps[1].log
    assert log.text.startswith("line 0000\n")
    assert log.text.endswith("line 0999\n")
    assert log.left_out == 1000 * 10 - 200
    assert f"[{log.left_out} characters left out]" in log.text


@pytest.mark.parametrize("method", ["begin_build", "record_build"])
def test_a_store_that_is_full_does_not_fail_the_build(bench, monkeypatch, method):
    def full(*_args, **_options):
        raise StoreFull("no space left")

    bench.write({"file": "content"})
    monkeypatch.setattr(Kept, method, full)
    _, result = record(bench) if method == "record_build" else (None, bench.build(TEXT))
    assert result.image


def test_names():
    for options, name in (
        ({"context": "/home/ada/greet"}, "greet"),
        ({"context": "/home/ada/greet", "target": "test"}, "greet (test)"),
        ({"context": "/"}, "/"),
        ({"context": None}, "-"),
        ({"context": None, "source": RemoteContext("https://user:pw@host/ada/greet.git#main")}, "greet.git"),
    ):
        assert Recorder(Kept(), BuildRequest(dockerfile=TEXT, **options), lambda _event: None).row.name == name


def test_passwords_of_a_context_are_not_kept():
    given = BuildRequest(
        dockerfile=None, context=None, source=RemoteContext("https://user:unmistakable-password@host/a.git")
    )
    row = Recorder(Kept(), given, lambda _event: None).row
    assert "unmistakable-password" not in repr(row)
    assert row.dockerfile_digest is None
