import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.commands.progress import PlainView, text_reporter
from contextkernel.commands.progress_tty import TerminalView
from contextkernel.model.events import (
    BuildWarning,
    StepBroke,
    StepCached,
    StepDone,
    StepNote,
    StepOutput,
    StepProgress,
    StepStarted,
)
from contextkernel.testing.samples import build_events


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def plain(events, clock=None):
    out = io.StringIO()
    with text_reporter("plain", out.write, clock=clock or Clock()) as report:
        for event in events:
            report(event)
    return out.getvalue()


def test_a_cached_build():
    assert plain(build_events(["greet"], cached=True)) == (
        "#1 [internal] load build definition from Dockerfile\n"
        "#1 transferring dockerfile: 88B done\n"
        "#1 DONE 0.0s\n"
        "\n"
        "#2 [1/2] FROM ubuntu:20.04\n"
        "#2 sha256:0eba131dffd0 1.00MB / 72.78MB\n"
        "#2 sha256:0eba131dffd0 72.78MB / 72.78MB done\n"
        "#2 DONE 0.2s\n"
        "\n"
        "#3 [2/2] RUN apt-get update\n"
        "#3 CACHED\n"
        "\n"
        "#4 exporting to image\n"
        "#4 writing image sha256:da62877a7eadf60842f7a8fd292763c7e5e3628daf8bf2b8214e99d7f6003ae4 done\n"
        "#4 naming to docker.io/library/greet done\n"
        "#4 DONE 0.0s\n"
        "\n"
        " 1 warning found:\n"
        " - JSONArgsRecommended: use JSON arguments for CMD (line 3)\n"
    )


def test_output_has_the_time_since_the_step_began():
    clock = Clock()
    out = io.StringIO()
    view = PlainView(out.write, clock)
    view(StepStarted(step=4, name="[2/6] RUN apt-get update"))
    clock.now += 0.512
    view(StepOutput(step=4, stream="stdout", text="one\ntw"))
    clock.now += 1
    view(StepOutput(step=4, stream="stdout", text="o\n\n10%\r50%\r100%"))
    view(StepOutput(step=4, stream="stderr", text="oops"))
    clock.now += 1
    view(StepDone(step=4, seconds=2.512))
    assert out.getvalue() == (
        "#4 [2/6] RUN apt-get update\n#4 0.512 one\n#4 1.512 two\n#4 1.512\n"
        "#4 2.512 100%\n#4 2.512 oops\n#4 DONE 2.5s\n"
    )


def test_steps_that_take_turns_say_so():
    text = plain(
        [
            StepStarted(step=1, name="a"),
            StepOutput(step=1, stream="stdout", text="1\n"),
            StepStarted(step=2, name="b"),
            StepOutput(step=1, stream="stdout", text="2\n"),
            StepDone(step=1, seconds=1),
            StepDone(step=2, seconds=1),
        ]
    )
    assert text == "#1 a\n#1 0.000 1\n#1 ...\n\n#2 b\n#2 ...\n\n#1 a\n#1 0.000 2\n#1 DONE 1.0s\n\n#2 b\n#2 DONE 1.0s\n"


def test_a_broken_step_keeps_its_last_line():
    text = plain(
        [
            StepStarted(step=1, name="RUN false"),
            StepOutput(step=1, stream="stderr", text="no newline"),
            StepBroke(step=1, seconds=0.1, problem="exit code: 1\nmore"),
            BuildWarning(text="w"),
        ]
    )
    assert text == "#1 RUN false\n#1 0.000 no newline\n#1 ERROR: exit code: 1\n\n 1 warning found:\n - w\n"


def test_interrupted_output_is_not_lost():
    assert plain([StepStarted(step=1, name="RUN x"), StepOutput(step=1, stream="stdout", text="half")]).endswith(
        "half\n"
    )


def test_cached_then_done_is_one_end():
    assert (
        plain([StepStarted(step=1, name="a"), StepCached(step=1), StepDone(step=1, seconds=0)]) == "#1 a\n#1 CACHED\n"
    )


def test_transfers_are_not_written_for_every_block():
    clock = Clock()
    events = [StepStarted(step=1, name="pull")]
    events += [StepProgress(step=1, item="x", current=n, total=1000) for n in range(0, 1001, 10)]
    events += [StepProgress(step=1, item="x", current=1000, total=1000)]
    lines = plain(events, clock).splitlines()
    assert len(lines) == 1 + 21
    assert lines[-1] == "#1 x 1.00kB / 1.00kB done"


def test_transfer_of_unknown_size_goes_by_time():
    clock = Clock()
    out = io.StringIO()
    view = PlainView(out.write, clock)
    view(StepStarted(step=1, name="pull"))
    for second in range(12):
        clock.now = 100.0 + second
        view(StepProgress(step=1, item="x", current=second * 1000, total=0))
    assert out.getvalue().splitlines()[1:] == ["#1 x 0B", "#1 x 5.00kB", "#1 x 10.00kB"]


def test_json_lines_have_type_and_fields():
    out = io.StringIO()
    with text_reporter("json", out.write) as report:
        for event in build_events(["greet"]):
            report(event)
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    assert records[0] == {
        "type": "StepStarted",
        "step": 1,
        "name": "[internal] load build definition from Dockerfile",
        "instruction": "",
        "line": 0,
    }
    assert records[-1]["type"] == "BuildFinished"
    assert records[-1]["names"] == ["docker.io/library/greet"]


def test_quiet_writes_nothing():
    out = io.StringIO()
    with text_reporter("quiet", out.write) as report:
        for event in build_events():
            report(event)
    assert out.getvalue() == ""


class Screen:
    """The few control sequences our view uses, as a terminal understands them."""

    def __init__(self):
        self.lines = [""]

    def write(self, text):
        import re

        for piece in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\n|[^\x1b\n]+", text):
            if piece == "\n":
                self.lines.append("")
            elif piece.endswith("A") and piece.startswith("\x1b"):
                count = int(piece[2:-1])
                assert count < len(self.lines)
                self.lines = [*self.lines[: len(self.lines) - 1 - count], ""]
            elif piece == "\x1b[J":
                assert self.lines[-1] == ""
            elif piece.startswith("\x1b["):
                assert piece.endswith("m")
            else:
                self.lines[-1] += piece


def screen_of(events, width=60, close=True):
    screen, clock = Screen(), Clock()
    view = TerminalView(screen.write, lambda: width, clock=clock)
    for event in events:
        clock.now += 0.2
        view(event)
        assert all(len(line) < width for line in screen.lines)
    if close:
        view.close()
    return screen.lines


def test_the_terminal_keeps_finished_steps():
    lines = [line.rstrip() for line in screen_of(build_events(["greet"]))]
    assert lines == [
        " => [internal] load build definition from Dockerfile   0.0s",
        " => => transferring dockerfile: 88B done",
        " => [1/2] FROM ubuntu:20.04                            0.2s",
        " => [2/2] RUN apt-get update                           1.2s",
        " => exporting to image                                 0.0s",
        " => => writing image sha256:da62877a7eadf60842f7a8fd292763…",
        " => => naming to docker.io/library/greet",
        "",
        " 1 warning found:",
        " - JSONArgsRecommended: use JSON arguments for CMD (line 3)",
        "",
    ]


def test_the_terminal_shows_the_last_lines_of_running_steps():
    events = [
        StepStarted(step=1, name="[2/2] RUN make"),
        StepOutput(step=1, stream="stdout", text="a\nb\nc\nd\ne\nf\x1b[2Jg\n"),
    ]
    lines = [line.rstrip() for line in screen_of(events, close=False)]
    assert lines == [
        "[+] 0.4s (0/1)",
        " => [2/2] RUN make                                     0.2s",
        " => => # c",
        " => => # d",
        " => => # e",
        " => => # fg",
        "",
    ]


def test_the_terminal_marks_failed_and_unfinished_steps():
    lines = screen_of(
        [
            StepStarted(step=1, name="RUN false"),
            StepStarted(step=2, name="RUN sleep"),
            StepBroke(step=1, seconds=0.1, problem="x"),
        ]
    )
    assert lines[0].startswith(" => ERROR RUN false")
    assert lines[1].startswith(" => CANCELED RUN sleep")


EVENTS = st.one_of(
    st.builds(StepStarted, step=st.integers(1, 3), name=st.text(max_size=80)),
    st.builds(
        StepOutput, step=st.integers(1, 3), stream=st.sampled_from(["stdout", "stderr"]), text=st.text(max_size=99)
    ),
    st.builds(StepNote, step=st.integers(1, 3), text=st.text(max_size=30)),
    st.builds(
        StepProgress,
        step=st.integers(1, 3),
        item=st.text(max_size=9),
        current=st.integers(0, 9),
        total=st.integers(0, 9),
    ),
    st.builds(StepCached, step=st.integers(1, 3)),
    st.builds(StepDone, step=st.integers(1, 3), seconds=st.floats(0, 9)),
)


@pytest.mark.parametrize("view", ["plain", "tty"])
@given(events=st.lists(EVENTS, max_size=12))
def test_any_order_of_events_is_drawn(view, events):
    if view == "plain":
        plain(events)
        return
    screen = Screen()
    drawn = TerminalView(screen.write, lambda: 40, clock=Clock())
    for event in events:
        drawn(event)
    drawn.close()


def test_findings_of_checks_say_where_there_is_more():
    found = BuildWarning(text="StageNameCasing: Stage name 'A' should be lowercase", line=2, rule="StageNameCasing")
    assert plain([found, BuildWarning(text="other")]) == (
        "\n"
        " 2 warnings found (use build --check to expand):\n"
        " - StageNameCasing: Stage name 'A' should be lowercase (line 2)\n"
        " - other\n"
    )


EARLY = (BuildWarning(text="RUN is slow", early=True), BuildWarning(text="and lonely", early=True))
BEFORE, AFTER = (StepStarted(1, "a"), StepDone(1, 0.0)), (StepStarted(2, "b"), StepDone(2, 0.0), BuildWarning("late"))


def test_what_is_about_the_steps_that_come_stands_before_them():
    assert plain((*BEFORE, *EARLY, *AFTER)) == (
        "#1 a\n#1 DONE 0.0s\n\nWARNING: RUN is slow\nWARNING: and lonely\n\n#2 b\n#2 DONE 0.0s\n"
        "\n 1 warning found:\n - late\n"
    )
    assert plain((StepStarted(1, "a"), *EARLY, StepNote(1, "on"), StepDone(1, 0.0))) == (
        "#1 a\n#1 ...\n\nWARNING: RUN is slow\nWARNING: and lonely\n\n#1 a\n#1 on\n#1 DONE 0.0s\n"
    )


def test_on_a_terminal_too():
    out = io.StringIO()
    view = TerminalView(out.write, lambda: 60, clock=Clock(), colour=False)
    for event in (*BEFORE, *EARLY, *AFTER):
        view(event)
    view.close()
    text = out.getvalue()
    assert (
        text.index("=> a")
        < text.index(" => WARNING RUN is slow\n")
        < text.index("=> b")
        < text.index("1 warning found")
    )
