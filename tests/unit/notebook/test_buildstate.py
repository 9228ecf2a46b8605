"""The reducer of the live build view."""

from __future__ import annotations

import pytest

from contextkernel.model.digest import Digest
from contextkernel.model.events import (
    BuildFinished,
    BuildWarning,
    StepBroke,
    StepCached,
    StepDone,
    StepNote,
    StepOutput,
    StepProgress,
    StepStarted,
)
from contextkernel.notebook.buildstate import (
    FIRST_LINES,
    LINE_LIMIT,
    LOG_LINES,
    BuildState,
    Log,
    StepView,
    Warned,
    reduce,
    stop,
)

IMAGE = Digest.of(b"image")


def play(*events, start=0.0):
    """The state after events that come a second apart."""
    state = BuildState(title="greet", started=start)
    for now, event in enumerate(events, start=1):
        state = reduce(state, event, float(now))
    return state


def run(number, instruction="RUN make"):
    return StepStarted(step=number, name=f"[{number}/9] {instruction}", instruction=instruction, line=number)


def output(text, step=1, stream="stdout"):
    return StepOutput(step=step, stream=stream, text=text)


def test_a_log_without_end_takes_no_more_than_its_first_and_last_lines():
    log, logs, number = Log(), [], 0
    while number < 10 * LOG_LINES:
        log = log.extend([str(number + more) for more in range(700)])
        logs.append(log)
        number += 700
    assert len(log) == number
    assert len(log._lines) <= 2 * LOG_LINES
    for one in (logs[0], logs[20], log):  # older ones stay what they were
        count = len(one)
        assert one.first(3) == ("0", "1", "2")
        assert one.last(3) == (str(count - 3), str(count - 2), str(count - 1))
    assert log.first(10**9) == tuple(map(str, range(FIRST_LINES)))
    assert len(log.last(LOG_LINES)) == LOG_LINES
    other = logs[20].extend(["other"])  # two that grow out of the same one
    assert (other.last(1), logs[21].last(1)) == (("other",), (str(len(logs[21]) - 1),))


def test_a_step_runs_then_is_done():
    state = play(run(1), output("compiling\n"))
    assert state.steps[0] == StepView(
        number=1,
        name="[1/9] RUN make",
        instruction="RUN make",
        line=1,
        started=1.0,
        log=Log(("compiling",)),
    )
    done = reduce(state, StepDone(step=1, seconds=2.5), 4.0).steps[0]
    assert (done.state, done.seconds) == ("done", 2.5)


def test_an_earlier_state_never_changes():
    first = play(run(1), output("one\n"))
    second = reduce(first, output("two\n"), 3.0)
    other = reduce(first, output("other\n"), 3.0)
    assert first.steps[0].lines == ("one",)
    assert second.steps[0].lines == ("one", "two")
    assert other.steps[0].lines == ("one", "other")


def test_lines_are_put_together_from_pieces():
    assert play(run(1), output("a"), output("b\nc"), output("d\n")).steps[0].lines == ("ab", "cd")


def test_an_unfinished_line_is_shown_and_kept_when_the_step_ends():
    state = play(run(1), output("done\nhal"))
    assert state.steps[0].lines == ("done", "hal")
    assert state.steps[0].tail(1) == ("hal",)
    assert reduce(state, StepDone(step=1, seconds=1), 3.0).steps[0].lines == ("done", "hal")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("reading 10%\rreading 99%\rdone\r\n", "done"),
        ("\x1b[1;31mred\x1b[0m text\n", "red text"),
        ("\x1b]0;title\x07after\n", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "link"),
        ("a\x00b\x07c\tz\n", "abc\tz"),
        ("evil\u202egnp.exe\n", "evilgnp.exe"),
        ("\x9b31mc1\n", "31mc1"),
        ("\x1b(Bplain\n", "plain"),
    ],
)
def test_terminal_codes_are_removed(text, shown):
    assert play(run(1), output(text)).steps[0].lines == (shown,)


def test_a_redrawn_line_does_not_grow():
    state = play(run(1), *(output(f"step {count}\r") for count in range(500)))
    assert state.steps[0].lines == ("step 499",)
    assert len(state.steps[0].partial) < 20


def test_a_very_long_line_is_cut_and_says_so():
    (line,) = play(run(1), output("x" * 5_000 + "\n")).steps[0].lines
    assert line == "x" * LINE_LIMIT + " … 3000 more characters"


def test_notes_are_lines_of_their_own():
    state = play(run(1), output("half"), StepNote(step=1, text="naming to docker.io/library/greet"))
    assert state.steps[0].lines == ("half", "naming to docker.io/library/greet")


def test_progress_keeps_the_newest_message_per_item():
    state = play(
        run(1),
        StepProgress(step=1, item="a", current=1, total=10),
        StepProgress(step=1, item="b", current=2, total=0),
        StepProgress(step=1, item="a", current=10, total=10),
    )
    assert state.steps[0].progress == (("a", 10, 10), ("b", 2, 0))


def test_cached_stays_cached_when_the_step_is_told_to_be_done():
    state = play(run(1), StepCached(step=1), StepDone(step=1, seconds=0.1))
    assert state.steps[0].state == "cached"


def test_a_step_that_is_announced_again_is_the_same_step():
    state = play(run(1), output("x\n"), StepCached(step=1), run(1))
    assert len(state.steps) == 1
    assert (state.steps[0].lines, state.steps[0].started, state.steps[0].state) == (("x",), 1.0, "running")


def test_events_of_an_unknown_step_change_nothing():
    state = play(run(1))
    assert reduce(state, output("x\n", step=7), 2.0) == state


def test_all_cached_counts_what_was_run_and_not_the_base():
    base = StepStarted(step=1, name="[1/2] FROM ubuntu:20.04", instruction="FROM ubuntu:20.04", line=1)
    finish = BuildFinished(image=IMAGE, names=("docker.io/library/greet:latest",), seconds=0.2)
    assert play(base, StepDone(step=1, seconds=0), run(2), StepCached(step=2), finish).all_cached
    assert not play(base, StepCached(step=1), run(2), StepDone(step=2, seconds=1), finish).all_cached
    assert play(base, StepCached(step=1), finish).all_cached
    assert not play(base, StepCached(step=1)).all_cached  # not finished


def test_finished():
    state = play(run(1), BuildFinished(image=IMAGE, names=("docker.io/library/greet:latest",), seconds=3.0))
    assert (state.status, state.image, state.names, state.seconds) == (
        "done",
        str(IMAGE),
        ("docker.io/library/greet:latest",),
        3.0,
    )


def test_a_broken_step_fails_the_build_and_names_its_line():
    state = play(run(3), StepBroke(step=3, seconds=1.5, problem="exit code: 2"))
    assert (state.status, state.failed_line) == ("failed", 3)
    assert (state.steps[0].state, state.steps[0].problem) == ("failed", "exit code: 2")


def test_stop_ends_what_runs():
    state = stop(play(run(1), StepDone(step=1, seconds=1), run(2), output("half", step=2)), "interrupted", 10.0)
    assert [step.state for step in state.steps] == ["done", "interrupted"]
    assert (state.status, state.seconds, state.steps[1].seconds) == ("interrupted", 10.0, 7.0)
    assert state.steps[1].lines == ("half",)


def test_a_step_that_was_killed_for_an_interrupt_did_not_fail():
    state = stop(play(run(1), StepBroke(step=1, seconds=1.5, problem="canceled")), "interrupted", 4.0)
    assert (state.steps[0].state, state.steps[0].problem, state.steps[0].seconds) == ("interrupted", "", 1.5)
    assert state.status == "interrupted"


def test_stop_without_a_problem_finishes_a_transfer():
    state = stop(play(run(1)), "done", 4.0)
    assert (state.status, state.steps[0].state) == ("done", "done")


def test_warnings_are_kept_with_their_line():
    assert play(BuildWarning(text="odd\nthing", line=4)).warnings == (Warned(text="odd thing", line=4),)
