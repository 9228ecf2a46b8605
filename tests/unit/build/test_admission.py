"""Builds on hosts where no program can be run, and what is said before one is."""

from __future__ import annotations

from typing import Any

import pytest

from contextkernel.build.admission import Programs
from contextkernel.errors import HostUnsupported
from contextkernel.model.events import BuildWarning

NONE = Programs(refusal=("this host runs no programs: user_namespace (EPERM)", "docker run ..."), notices=("none run",))
SLOW = Programs(notices=("RUN is slow", "RUN is lonely"))

STEPS = "FROM base\nCOPY file /file\nRUN one \\\n  two\n"


def warnings(bench: Any) -> list[str]:
    return [event.text for event in bench.events if isinstance(event, BuildWarning)]


def refused(bench: Any, text: str, **options: Any) -> HostUnsupported:
    with pytest.raises(HostUnsupported) as problem:
        bench.build(text, programs=NONE, **options)
    return problem.value


def test_a_run_is_refused_before_anything_is_executed(bench: Any) -> None:
    bench.write({"file": "content"})
    problem = refused(bench, STEPS)
    assert problem.problem == (
        "[3/3] RUN one   two is not in the cache, and this host runs no programs: user_namespace (EPERM)"
    )
    assert problem.hint == "docker run ..."
    assert problem.exit_code == 125
    assert problem.span is not None
    assert (problem.span.line, problem.span.column) == (3, 1)
    assert "[2/3] COPY file /file" not in bench.outcome()
    assert bench.runtime.launched == []
    assert warnings(bench) == []


def test_what_is_in_the_cache_needs_no_program(bench: Any) -> None:
    bench.write({"file": "content"})
    first = bench.build(STEPS)
    again = bench.build(STEPS, programs=NONE)
    assert again.image == first.image
    assert set(bench.outcome().values()) == {"cached"}
    assert warnings(bench) == []


def test_a_stage_that_nothing_needs_may_run_what_it_likes(bench: Any) -> None:
    bench.write({"file": "content"})
    result = bench.build("FROM base AS x\nRUN no\nFROM base\nCOPY file /\nWORKDIR /w\nENV A=b\n", programs=NONE)
    assert result.image
    assert warnings(bench) == []
    assert refused(bench, "FROM base AS x\nRUN no\nFROM base\nCOPY --from=x /a /\n").span.line == 2


def test_a_run_behind_a_copy_from_a_stage_may_still_be_in_the_cache(bench: Any) -> None:
    bench.write({"file": "content"})
    text = "FROM base AS x\nCOPY {} /file\nFROM base\nCOPY --from=x /file /file\nRUN make\n"
    bench.build(text.format("file"))
    bench.write({"other": "content"})  # the same content, as far as the second stage sees
    result = bench.build(text.format("other"), programs=NONE)
    assert bench.outcome()["[stage-1 3/3] RUN make"] == "cached"
    assert result.image
    bench.write({"other": "another"})
    bench.runtime.launched.clear()
    bench.programs(refusing)
    with pytest.raises(HostUnsupported, match="the runtime says so"):
        bench.build(text.format("other"), programs=NONE)


def refusing(*_: object) -> int:
    raise HostUnsupported("the runtime says so")


def test_without_the_cache_every_run_has_to_run(bench: Any) -> None:
    bench.write({"file": "content"})
    bench.build(STEPS)
    assert refused(bench, STEPS, no_cache=True).span.line == 3


def test_notices_are_said_once_and_only_where_something_is_run(bench: Any) -> None:
    bench.write({"file": "content"})
    text = "FROM base AS x\nRUN one\nFROM base\nCOPY --from=x /ran /ran\nRUN two\n"
    result = bench.build(text, programs=SLOW)
    assert warnings(bench) == ["RUN is slow", "RUN is lonely"]
    assert result.image
    kinds = [type(event).__name__ for event in bench.events]
    assert kinds.index("BuildWarning") < kinds.index("StepOutput")
    bench.build(text, programs=SLOW)
    assert warnings(bench) == []
    bench.build("FROM base\nCOPY file /file\n", programs=SLOW)
    assert warnings(bench) == []
