"""The live view: what is published, and when."""

# ruff: noqa: PT012 - the block is the build

from __future__ import annotations

import threading

import pytest

from contextkernel.errors import StepFailed, StoreFull
from contextkernel.model.digest import Digest
from contextkernel.model.events import BuildFinished, StepBroke, StepDone, StepOutput, StepStarted
from contextkernel.notebook.buildview import LiveView

RUN = StepStarted(step=1, name="[1/1] RUN make", instruction="RUN make", line=2)
DONE = BuildFinished(image=Digest.of(b"x"), names=("docker.io/library/greet:latest",), seconds=1)


class Screen:
    """Remembers what was published, as (plain text, was it an update)."""

    def __init__(self):
        self.shown = []
        self.news = threading.Event()

    def __call__(self, bundle, update):
        assert set(bundle) == {"text/html", "text/plain"}
        self.shown.append((bundle["text/plain"], update))
        self.news.set()


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def view(screen, **options):
    return LiveView(screen, title="greet", clock=Clock(), threaded=False, **options)


def test_the_first_display_is_updated_afterwards():
    screen = Screen()
    live = view(screen)
    with live as report:
        report(RUN)
        live.draw()
        report(StepDone(step=1, seconds=1))
        report(DONE)
    assert [update for _, update in screen.shown] == [False, True]
    assert screen.shown[-1][0].endswith("built docker.io/library/greet:latest (1 step, 1.0s)")


def test_nothing_is_shown_before_the_first_event():
    screen = Screen()
    with pytest.raises(StoreFull), view(screen):
        raise StoreFull("no space left in '/store'")
    assert screen.shown == []


def test_a_failed_step_tells_its_problem_once():
    screen = Screen()
    with pytest.raises(StepFailed), view(screen) as report:
        report(RUN)
        report(StepBroke(step=1, seconds=1, problem="exit code: 2"))
        raise StepFailed("exit code: 2", status=2)
    assert screen.shown[-1][0].count("exit code: 2") == 1
    assert "build failed" in screen.shown[-1][0]


def test_another_error_is_told_in_the_view():
    screen = Screen()
    with pytest.raises(ZeroDivisionError), view(screen) as report:
        report(RUN)
        raise ZeroDivisionError("oops")
    assert screen.shown[-1][0].endswith("build failed (1 step, 0.0s): ZeroDivisionError: oops")


def test_an_interrupt_is_drawn_and_passes_through():
    screen = Screen()
    live = view(screen)
    with pytest.raises(KeyboardInterrupt), live as report:
        report(RUN)
        raise KeyboardInterrupt
    assert live.state.status == "interrupted"
    assert "build interrupted" in screen.shown[-1][0]


def test_a_transfer_ends_without_an_event_for_it():
    screen = Screen()
    live = view(screen, work="transfer")
    with live as report:
        report(StepStarted(step=1, name="pulling"))
    assert live.state.status == "done"
    assert screen.shown[-1][0].startswith("#1 pulling\n#1 DONE")
    assert screen.shown[-1][0].endswith("got greet (0.0s)")


def test_an_event_of_a_newer_version_is_no_reason_to_stop():
    screen = Screen()
    with view(screen) as report:
        report(object())
        report(RUN)
    assert len(screen.shown) == 1


def test_a_thread_draws_while_the_build_runs():
    screen = Screen()
    with LiveView(screen, title="greet") as report:
        report(RUN)
        assert screen.news.wait(30)  # shown though the build has not ended
        for count in range(2_000):
            report(StepOutput(step=1, stream="stdout", text=f"{count}\n"))
        report(DONE)
    assert threading.active_count() == len(threading.enumerate())
    assert not [thread for thread in threading.enumerate() if thread.name == "contextkernel-build-view"]
    assert "#1 1999" in screen.shown[-1][0]
    assert screen.shown[-1][0].endswith("built docker.io/library/greet:latest (1 step, 1.0s)")
    assert len(screen.shown) < 100  # not one update per event


def test_events_from_several_threads_are_all_taken():
    screen = Screen()
    live = LiveView(screen, title="greet")
    with live as report:
        report(RUN)
        threads = [
            threading.Thread(
                target=lambda: [report(StepOutput(step=1, stream="stdout", text="x\n")) for _ in range(200)]
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(live.state.steps[0].log) == 800
