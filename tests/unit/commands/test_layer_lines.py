"""What layers that travel say, as lines of text and on a terminal."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.commands.layer_lines import fitting, layer_line, phase_words, transferred, with_news
from contextkernel.commands.progress_tty import TerminalView
from contextkernel.model.events import LayerPhase, LayerProgress, StepDone, StepNote, StepStarted
from tests.unit.commands.test_progress import Clock, Screen, plain, screen_of

ONE, TWO = "a1b2c3d4e5f6", "0123456789ab"


def pulled(layer, total=3_000_000, step=0):
    """What a pull says of one layer."""
    return [
        LayerProgress(step, layer, "pulling", 0, total),
        LayerProgress(step, layer, "waiting", 0, total),
        LayerProgress(step, layer, "downloading", 1_000_000, total),
        LayerProgress(step, layer, "downloading", 2_000_000, total),
        LayerProgress(step, layer, "verifying", 0, total),
        LayerProgress(step, layer, "downloaded", 0, total),
        LayerProgress(step, layer, "extracting", 1_000_000, total),
        LayerProgress(step, layer, "complete", 0, total),
    ]


def test_a_pull_reads_as_docker_s_without_numbers():
    events = [StepNote(0, "v1: Pulling from team/demo"), *pulled(ONE), StepNote(0, "Digest: sha256:abc")]
    assert plain(events) == (
        "v1: Pulling from team/demo\n"
        f"{ONE}: Pulling fs layer\n{ONE}: Waiting\n{ONE}: Verifying Checksum\n{ONE}: Download complete\n"
        f"{ONE}: Pull complete\n"
        "Digest: sha256:abc\n"
    )


def test_within_a_step_it_reads_as_buildkit_s():
    events = [StepStarted(2, "[1/2] FROM demo"), *pulled(ONE, step=2), StepDone(2, 1.0)]
    assert plain(events) == (
        "#2 [1/2] FROM demo\n"
        f"#2 {ONE} 1.00MB / 3.00MB\n#2 {ONE} 2.00MB / 3.00MB\n#2 {ONE} 3.00MB / 3.00MB done\n"
        f"#2 extracting {ONE}\n#2 extracting {ONE} done\n#2 DONE 1.0s\n"
    )


def test_a_layer_of_a_step_that_is_not_shown_is_nothing():
    assert plain(pulled(ONE, step=7)) == ""
    assert screen_of(pulled(ONE, step=7)) == [""]


def test_a_terminal_draws_layers_in_place_and_leaves_their_last_lines():
    events = [StepNote(0, "v1: Pulling from team/demo"), *pulled(ONE)[:3], LayerProgress(0, TWO, "exists")]
    assert screen_of(events, close=False, width=70) == [
        "v1: Pulling from team/demo",
        f"{ONE}: Downloading [=========>                  ]      1MB/3MB",
        f"{TWO}: Already exists",
        "",
    ]
    whole = [*events, *pulled(ONE)[3:], StepNote(0, "Digest: sha256:abc")]
    assert screen_of(whole, width=70)[:3] == [
        "v1: Pulling from team/demo",
        f"{ONE}: Pull complete",
        f"{TWO}: Already exists",
    ]


def test_a_digest_is_not_cut_off_on_a_narrow_terminal():
    out = io.StringIO()
    view = TerminalView(out.write, lambda: 40, clock=Clock(), colour=False)
    view(StepNote(0, "Digest: sha256:" + "a" * 64))
    assert out.getvalue() == "Digest: sha256:" + "a" * 64 + "\n"


def test_lines_of_an_interrupted_pull_stay():
    assert screen_of(pulled(ONE)[:3])[0].startswith(f"{ONE}: Downloading [")


def test_what_moves_is_never_higher_than_the_terminal():
    screen = Screen()
    view = TerminalView(screen.write, lambda: 60, clock=Clock(), height=lambda: 10)
    for number in range(30):
        view(LayerProgress(0, f"layer{number}", "complete" if number < 20 else "downloading", 5, 10))
    view._draw()
    assert len(screen.lines) <= 10
    assert screen.lines[0].startswith("layer20: Downloading")  # what is at work comes first
    assert screen.lines[-2] == "24 more layers, 20 done"
    view.close()
    assert len(screen.lines) == 31


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (LayerProgress(0, ONE, "mounted", detail="team/base"), "Mounted from team/base"),
        (LayerProgress(0, ONE, "retrying", 1), "Retrying in 1 second"),
        (LayerProgress(0, ONE, "retrying", 5), "Retrying in 5 seconds"),
        (LayerProgress(0, ONE, "present"), "Layer already exists"),
    ],
)
def test_docker_s_words(event, words):
    assert phase_words(event) == words


@given(
    phase=st.sampled_from(LayerPhase.__args__),
    current=st.integers(0, 2**40),
    total=st.integers(0, 2**40),
    width=st.integers(20, 200),
)
def test_every_phase_has_a_line(phase, current, total, width):
    assert layer_line(LayerProgress(0, ONE, phase, current, total), width).startswith(f"{ONE}: ")


def test_bytes_that_were_there_do_not_count():
    layers = (
        LayerProgress(0, "a", "exists", 0, 100),
        LayerProgress(0, "b", "downloading", 30, 50),
        LayerProgress(0, "c", "complete", 0, 7),
        LayerProgress(0, "d", "waiting", 0, 13),
        LayerProgress(0, "e", "retrying", 4, 10),
    )
    assert transferred(layers) == (37, 80)


def test_a_size_once_known_is_kept():
    layers = with_news(with_news((), LayerProgress(0, ONE, "pulling", 0, 9)), LayerProgress(0, ONE, "complete"))
    assert layers == (LayerProgress(0, ONE, "complete", 0, 9),)


def test_one_row_is_enough_for_many_layers():
    assert fitting((LayerProgress(0, ONE, "waiting"), LayerProgress(0, TWO, "exists")), 80, 1) == [
        "2 more layers, 1 done"
    ]
