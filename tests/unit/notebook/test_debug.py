"""``%container debug`` over a fake engine."""

from __future__ import annotations

from typing import Any

import pytest

from contextkernel.errors import NotFound, Span, StepFailed
from contextkernel.testing.samples import failed_step

KEPT = "q7m2c0x9v4k1t8s5z3b6n0w2a"


def test_a_command_runs_where_the_step_failed(cells: Any, engine: Any) -> None:
    shown = cells("%container debug ls -l /app")
    assert "from the container!" in shown.out
    assert engine.calls[-1] == ("debug", {"command": ("ls", "-l", "/app")})


def test_the_cell_is_the_script(cells: Any, engine: Any) -> None:
    cells("%%container debug --before\nls /\n")
    assert engine.calls[-1] == ("debug", {"before": True, "stdin": b"ls /\n"})


@pytest.mark.parametrize("name", [KEPT, KEPT[:12], KEPT[:4]])
def test_a_build_can_be_named(cells: Any, engine: Any, name: str) -> None:
    cells(f"%container debug {name} env")
    assert engine.calls[-1] == ("debug", {"command": ("env",), "build": name})


def test_without_a_command_it_says_what_is_kept(cells: Any) -> None:
    shown = cells("%container debug")
    assert f"{KEPT}  line 2, exit code 2: [2/2] RUN make test" in shown.out + str(shown.value)


def test_nothing_kept_is_an_error(cells: Any, engine: Any) -> None:
    engine.kept = ()
    assert isinstance(cells("%container debug ls").error, NotFound)


def test_a_failed_build_shows_the_line_the_output_and_the_way_in(cells: Any, engine: Any) -> None:
    failure = failed_step()
    failure.kept = KEPT[:12]
    failure.span = Span(file="Dockerfile", line=2, end_line=2, end_column=14)
    failure.source = "FROM ubuntu:20.04\nRUN make test\n"
    engine.failure = failure
    shown = cells("%%dockerfile -t x\nFROM ubuntu:20.04\nRUN make test\n")
    assert isinstance(shown.error, StepFailed)
    text = "\n".join(shown.error._render_traceback_())
    assert "> 2 | RUN make test\n    | ^^^^^^^^^^^^^" in text
    assert "| E: Unable to locate package" in text
    assert f"debug {KEPT[:12]}" in text
