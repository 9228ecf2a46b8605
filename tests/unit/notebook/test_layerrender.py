"""Layers that travel, as a notebook shows them."""

from __future__ import annotations

import pytest

from contextkernel.commands.layer_lines import with_news
from contextkernel.model.events import LayerProgress, StepNote, StepStarted
from contextkernel.notebook.buildrender import to_html, to_text
from contextkernel.notebook.buildstate import BuildState, reduce, stop
from contextkernel.notebook.buildview import LiveView
from contextkernel.notebook.face import _title, _work
from contextkernel.notebook.layerrender import MOST_ROWS, layers_html, layers_summary
from contextkernel.testing.samples import pull_events
from tests.unit.notebook.test_buildrender import read

NEW, OLD = "0eba131dffd0", "a1b2c3d4e5f6"


def play(*events, **fields):
    state = BuildState(**fields)
    for event in events:
        state = reduce(state, event, 1.0)
    return state


def test_a_running_pull_shows_a_bar_for_each_layer():
    state = play(*pull_events()[:4], title="ubuntu:20.04", work="transfer")
    page = read(to_html(state, 3.0))
    assert page == (
        "● Getting ubuntu:20.04 2 layers, 1 was there, 3MB / 30MB, 3.0s "
        f"✓ {OLD} Already exists 1MB ● {NEW} Downloading 3MB / 30MB 20.04: Pulling from library/ubuntu"
    )
    assert '<progress value="3000000" max="30000000">' in to_html(state, 3.0)


def test_the_saved_notebook_has_what_it_came_to():
    state = stop(play(*pull_events(), title="ubuntu:20.04", work="transfer"), "done", 4.0)
    page = read(to_html(state, 99.0))
    assert page.startswith(f"✓ Got ubuntu:20.04 2 layers, 1 was there, 30MB, 4.0s ✓ {OLD} Already exists 1MB")
    assert f"✓ {NEW} Pull complete 30MB" in page
    assert "<progress" not in to_html(state, 99.0)
    assert to_text(state, 99.0).splitlines()[:3] == [
        f"{OLD}: Already exists",
        f"{NEW}: Pull complete",
        "20.04: Pulling from library/ubuntu",
    ]


def test_what_an_interrupt_stopped_does_not_look_busy():
    state = stop(play(*pull_events()[:4], work="transfer"), "interrupted", 4.0)
    assert f"■ {NEW} Downloading 3MB / 30MB" in read(to_html(state, 9.0))


def test_layers_of_a_step_stand_below_it_while_it_runs():
    events = [StepStarted(2, "[1/2] FROM demo", instruction="FROM demo", line=1)]
    events.append(LayerProgress(2, NEW, "retrying", 4, 100))
    page = read(to_html(play(*events), 2.0))
    assert f"FROM demo running 1.0s ● {NEW} Retrying in 4 seconds 100B" in page
    assert f"#2 {NEW}: Retrying in 4 seconds" in to_text(play(*events), 2.0)


def test_of_very_many_layers_those_at_work_are_drawn():
    layers = ()
    for number in range(100):
        layers = with_news(layers, LayerProgress(0, f"l{number}", "waiting" if number % 2 else "complete", 0, 5))
    page = read(layers_html(layers))
    assert page.endswith("50 more layers are done")
    assert "l1 Waiting" in page
    assert "l2 " not in page
    assert layers_html(layers).count("<tr>") == min(MOST_ROWS, 50) + 1


@pytest.mark.parametrize(
    ("phases", "text"),
    [
        ([], ""),
        (["exists"], "1 layer, all were there"),
        (["exists", "exists", "complete"], "3 layers, 2 were there, 10B"),
        (["pushed", "mounted"], "2 layers, 1 was there, 10B"),
        (["waiting", "downloaded"], "2 layers, 10B / 20B"),
    ],
)
def test_a_summary(phases, text):
    assert layers_summary(tuple(LayerProgress(0, str(n), phase, 0, 10) for n, phase in enumerate(phases))) == text


def test_text_from_outside_cannot_be_markup():
    evil = "<img src=x onerror=y>"
    state = play(LayerProgress(0, evil, "mounted", 0, 0, evil), StepNote(0, evil))
    assert "<img" not in to_html(state, 1.0)
    assert read(to_html(state, 1.0)).count(evil) == 3


def test_the_view_is_shown_without_any_step():
    shown = []
    with LiveView(lambda bundle, update: shown.append((bundle, update)), threaded=False) as report:
        report(pull_events()[0])
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("words", "work", "title"),
    [
        ("pull ubuntu:20.04", "transfer", "ubuntu:20.04"),
        ("image pull --platform linux/arm64 ubuntu", "transfer", "ubuntu"),
        ("push localhost:5000/app", "push", "localhost:5000/app"),
        ("load -i a.tar", "load", ""),
        ("run --name web nginx cat", "transfer", ""),
        ("build -t greet .", "build", "greet"),
        ("base ensure a b", "transfer", "a, b"),
        ("buildx imagetools create -t r:5/app:1 -p linux/amd64 app", "transfer", "r:5/app:1"),
    ],
)
def test_the_head_says_what_is_done(words, work, title):
    assert (_work(tuple(words.split())), _title(tuple(words.split()))) == (work, title)
