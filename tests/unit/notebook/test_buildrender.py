"""The two pictures of a build: HTML and plain text."""

from __future__ import annotations

from html.parser import HTMLParser

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
from contextkernel.notebook import buildrender
from contextkernel.notebook.buildrender import seconds, summary, to_html, to_text
from contextkernel.notebook.buildstate import BuildState, reduce, stop

IMAGE = Digest.of(b"image")
NAME = "docker.io/library/greet:latest"


def play(*events, title="greet", work="build"):
    state = BuildState(title=title, work=work)
    for now, event in enumerate(events, start=1):
        state = reduce(state, event, float(now))
    return state


LOAD = (
    StepStarted(step=1, name="[internal] load build definition from Dockerfile"),
    StepNote(step=1, text="transferring dockerfile: 92B"),
    StepDone(step=1, seconds=0.0),
)
BASE = (
    StepStarted(step=2, name="[1/2] FROM docker.io/library/ubuntu:20.04", instruction="FROM ubuntu:20.04", line=1),
    StepDone(step=2, seconds=0.0),
)
RUN = StepStarted(step=3, name="[2/2] RUN make", instruction="RUN make", line=2)
EXPORT = (
    StepStarted(step=4, name="exporting to image"),
    StepNote(step=4, text="naming to docker.io/library/greet"),
    StepDone(step=4, seconds=0.1),
)
DONE = BuildFinished(image=IMAGE, names=(NAME,), seconds=2.0)


class _Words(HTMLParser):
    """What a reader sees where a code host has stripped style and attributes."""

    def __init__(self):
        super().__init__()
        self.words, self.open, self.style = [], [], False

    def handle_starttag(self, tag, _attrs):
        self.style = tag == "style"
        if tag not in {"br", "progress"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag == "progress":
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


def read(page):
    parser = _Words()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return " ".join(" ".join(parser.words).split())


def test_a_finished_build_reads_well_without_style():
    state = play(
        *LOAD,
        *BASE,
        RUN,
        StepOutput(step=3, stream="stdout", text="cc hello.c\n"),
        StepDone(step=3, seconds=1.9),
        *EXPORT,
        DONE,
    )
    assert read(to_html(state, 99.0)) == (
        f"✓ Built {NAME} 2 steps, 2.0s · {IMAGE.short} "
        "✓ 1/2 FROM docker.io/library/ubuntu:20.04 0.0s ✓ 2/2 RUN make 1.9s log, 1 line cc hello.c "
        "naming to docker.io/library/greet 2 more steps of the builder, 0.1s "
        "[internal] load build definition from Dockerfile transferring dockerfile: 92B "
        "exporting to image naming to docker.io/library/greet"
    )


def test_the_plain_twin_has_docker_s_layout():
    state = play(
        *LOAD,
        *BASE,
        RUN,
        StepOutput(step=3, stream="stdout", text="cc hello.c\n"),
        StepDone(step=3, seconds=1.9),
        *EXPORT,
        DONE,
    )
    assert (
        to_text(state, 99.0)
        == f"""\
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 92B
#1 DONE 0.0s

#2 [1/2] FROM docker.io/library/ubuntu:20.04
#2 DONE 0.0s

#3 [2/2] RUN make
#3 cc hello.c
#3 DONE 1.9s

#4 exporting to image
#4 naming to docker.io/library/greet
#4 DONE 0.1s

built {NAME} (2 steps, 2.0s)"""
    )


def test_all_cached_is_seen_at_a_glance():
    state = play(*LOAD, *BASE, RUN, StepCached(step=3), *EXPORT, DONE)
    page = read(to_html(state, 9.0))
    assert page.startswith(f"✓ Built {NAME} 2 steps, 2.0s · {IMAGE.short} all steps cached")
    assert "RUN make CACHED" in page
    assert to_text(state, 9.0).endswith(f"built {NAME} (2 steps, all cached, 2.0s)")
    assert "#3 CACHED" in to_text(state, 9.0)


def test_some_cached_is_counted():
    more = StepStarted(step=5, name="[3/3] RUN more", instruction="RUN more", line=3)
    assert (
        summary(play(*BASE, RUN, StepCached(step=3), more, StepDone(step=5, seconds=1), DONE))
        == "3 steps, 1 cached, 2.0s"
    )


def test_a_running_step_shows_its_time_and_last_lines():
    text = "".join(f"line {number}\n" for number in range(100)) + "half"
    state = play(RUN, StepOutput(step=3, stream="stdout", text=text))
    page = read(to_html(state, 13.5))
    assert page.startswith("● Building greet 13.5s ● 2/2 RUN make")
    assert page.endswith("RUN make running 12.5s line 95 line 96 line 97 line 98 line 99 half")
    assert to_text(state, 13.5).endswith("#3 half\n#3 running 12.5s\n\nbuilding greet (13.5s)")


def test_a_transfer_shows_how_far_it_is():
    state = play(
        StepStarted(step=1, name="pulling ubuntu:20.04"),
        StepProgress(step=1, item="sha256:0eba131dffd0", current=3_000_000, total=30_000_000),
        StepProgress(step=1, item="config", current=10, total=10),
        title="ubuntu:20.04",
        work="transfer",
    )
    page = read(to_html(state, 2.0))
    assert page.startswith("● Getting ubuntu:20.04")
    assert "sha256:0eba131dffd0 3MB / 30MB" in page
    assert "config" not in page
    assert read(to_html(stop(state, "done", 3.0), 3.0)).startswith("✓ Got ubuntu:20.04")


def test_a_finished_transfer_keeps_its_rows_and_what_they_came_to():
    state = play(
        StepStarted(step=1, name="[base 1/1] ubuntu:20.04"),
        StepNote(step=1, text="not pulled: no registry"),
        StepNote(step=1, text="bootstrapped: made with mmdebstrap"),
        StepDone(step=1, seconds=50),
        title="ubuntu:20.04",
        work="transfer",
    )
    assert read(to_html(stop(state, "done", 51.0), 99.0)) == (
        "✓ Got ubuntu:20.04 51.0s ✓ base 1/1 ubuntu:20.04 50.0s bootstrapped: made with mmdebstrap "
        "log, 2 lines not pulled: no registry bootstrapped: made with mmdebstrap"
    )


def test_a_failed_step_shows_what_it_said_and_where_it_stands():
    state = stop(
        play(
            *BASE,
            RUN,
            StepOutput(step=3, stream="stderr", text="hello.c:3: error: no\n"),
            StepBroke(step=3, seconds=0.3, problem="exit code: 1"),
        ),
        "failed",
        5.0,
    )
    page = read(to_html(state, 9.0))
    assert page.startswith("✗ Build failed greet 2 steps, 5.0s")
    assert "✗ 2/2 RUN make failed 0.3s exit code: 1 (Dockerfile line 2) hello.c:3: error: no" in page
    assert to_text(state, 9.0).endswith(
        "#3 hello.c:3: error: no\n#3 ERROR: exit code: 1\n\nbuild failed (2 steps, 5.0s)"
    )


def test_a_problem_of_no_step_is_shown_in_the_head():
    state = stop(play(*LOAD), "failed", 2.0, "no space left in /store")
    assert "no space left in /store" in read(to_html(state, 2.0))
    assert to_text(state, 2.0).endswith("build failed (2.0s): no space left in /store")


def test_an_interrupted_build_says_so():
    state = stop(play(*BASE, RUN), "interrupted", 4.0)
    assert read(to_html(state, 9.0)) == (
        "■ Build interrupted greet 2 steps, 4.0s ✓ 1/2 FROM docker.io/library/ubuntu:20.04 0.0s "
        "■ 2/2 RUN make interrupted 1.0s"
    )
    assert "#3 CANCELED 1.0s" in to_text(state, 9.0)


def test_warnings_are_shown_with_their_line():
    state = play(*BASE, BuildWarning(text="stage name should be lower case", line=1), BuildWarning(text="other"), DONE)
    assert "warning stage name should be lower case (Dockerfile line 1) warning other" in read(to_html(state, 1.0))
    assert "WARNING: stage name should be lower case (line 1)\nWARNING: other" in to_text(state, 1.0)


def test_a_finding_stands_beside_its_step():
    found = BuildWarning(
        text="UndefinedVar: Usage of undefined variable '$x'",
        line=2,
        rule="UndefinedVar",
        url="https://example.com/rule/",
        detail="Variables should be defined",
        source="RUN make",
    )
    lost = BuildWarning(text="JSONArgsRecommended: use them", line=7, rule="JSONArgsRecommended", source="CMD <run>")
    html = to_html(play(*BASE, RUN, found, lost, DONE), 1.0)
    row = html.partition("<b>RUN</b> make")[2].partition('<div class="ck-foot">')[0]
    assert (
        '<a href="https://example.com/rule/" title="Variables should be defined">UndefinedVar</a>: '
        "Usage of undefined variable &#x27;$x&#x27;"
    ) in row
    assert "warning JSONArgsRecommended: use them (Dockerfile line 7) 7 | CMD <run>" in read(html)
    assert "CMD &lt;run&gt;" in html
    assert read(html).count("UndefinedVar") == 1


def test_a_link_leads_to_a_page_of_the_web_only():
    html = to_html(play(BuildWarning(text="a: b", url="javascript:alert(1)"), DONE), 1.0)
    assert "javascript" not in html


def test_the_log_of_a_finished_step_is_whole_on_demand_and_bounded(monkeypatch):
    text = "".join(f"line {number}\n" for number in range(1_000))
    state = play(RUN, StepOutput(step=3, stream="stdout", text=text), StepDone(step=3, seconds=1), DONE)
    page = to_html(state, 1.0)
    assert "log, 1,000 lines" in page
    assert "line 0\n" in page
    assert "line 500\n" in page
    assert "#3 … 980 lines before\n#3 line 980" in to_text(state, 1.0)
    monkeypatch.setattr(buildrender, "LOG_LINES", 100)
    monkeypatch.setattr(buildrender, "FIRST_LINES", 10)
    page = to_html(state, 1.0)
    assert "line 9\n… 900 lines left out …\nline 910\n" in page


def test_logs_are_not_sent_again_and_again_while_the_build_runs():
    text = "".join(f"line {number}\n" for number in range(1_000))
    done = play(RUN, StepOutput(step=3, stream="stdout", text=text), StepDone(step=3, seconds=1))
    assert len(to_html(done, 1.0)) < 6_000


@pytest.mark.parametrize("place", ["name", "output", "note", "warning", "problem", "image", "item", "title"])
def test_text_from_outside_cannot_be_markup(place):
    evil = "<script>alert('x')</script><img src=x onerror=\"y\">"
    event = {
        "name": StepStarted(step=9, name=f"[2/2] RUN {evil}", instruction=f"RUN {evil}", line=1),
        "output": StepOutput(step=3, stream="stdout", text=evil),
        "note": StepNote(step=3, text=evil),
        "warning": BuildWarning(text=evil),
        "problem": StepBroke(step=3, seconds=1, problem=evil),
        "image": BuildFinished(image=IMAGE, names=(evil,), seconds=1),
        "item": StepProgress(step=3, item=evil, current=1, total=2),
    }
    state = play(RUN, *([event[place]] if place in event else []), title=evil if place == "title" else "")
    page = to_html(state, 1.0)
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)" in page
    read(page)


@pytest.mark.parametrize(("value", "text"), [(0.04, "0.0s"), (59.94, "59.9s"), (60.0, "1m 00s"), (125.4, "2m 05s")])
def test_seconds(value, text):
    assert seconds(value) == text


def test_what_is_about_the_steps_that_come_stands_before_them():
    state = play(*BASE, BuildWarning(text="RUN is slow", early=True), BuildWarning(text="in the end"), RUN, DONE)
    html = to_html(state, 9.0)
    assert html.index("RUN is slow") < html.index("ubuntu:20.04") < html.index("in the end")
    text = to_text(state, 9.0)
    assert text.startswith("WARNING: RUN is slow\n\n#2")
    assert text.index("RUN make") < text.index("WARNING: in the end")
