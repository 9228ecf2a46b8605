"""Stages that are executed at the same time."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from contextkernel.errors import ImageNotFound, StepFailed
from contextkernel.model.container import LaunchRequest, RunState
from contextkernel.model.events import StepOutput, StepProgress, StepStarted
from contextkernel.testing.build_fakes import leave_trace

PATIENCE = 60  # seconds until a hang is called one
TWO = "FROM base AS one\nRUN make one\nFROM base AS two\nRUN make two\nFROM base\n"
BOTH = TWO + "COPY --from=one /ran /one\nCOPY --from=two /ran /two\n"


def words(request: LaunchRequest) -> str:
    return request.argv[-1]


class Meeting:
    """A program that ends only if as many others run at the same time."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count)

    def __call__(self, request: LaunchRequest, out: Any, err: Any) -> int:
        if words(request).startswith("make"):
            self.barrier.wait(PATIENCE)
        return leave_trace(request, out, err)


class Waiting:
    """A process that runs until it is killed, and holds its output open meanwhile."""

    pid = 4243
    usage = None

    def __init__(self, stdout: int | None) -> None:
        self.killed = threading.Event()
        self.closed = False
        self.output = os.dup(stdout) if stdout is not None else -1

    def wait(self, timeout: float | None = None) -> int | None:
        assert self.killed.wait(PATIENCE if timeout is None else timeout)
        return 137

    def signal(self, number: int) -> None:
        assert number == 9
        if not self.killed.is_set():
            os.close(self.output)
            self.killed.set()

    def close(self) -> None:
        self.closed = True


class Hanging:
    """A runtime whose programs run until they are killed, but for those that say ``fail``, which wait for the rest.

    Attributes:
        started: processes that hang.
    """

    def __init__(self, hanging: int) -> None:
        self.started: list[Waiting] = []
        self.all_here = threading.Semaphore(0)
        self.hanging = hanging

    def warm(self) -> None: ...

    def launch(self, request: LaunchRequest, *, stdin: Any = None, stdout: Any = None, stderr: Any = None) -> Any:
        del stdin, stderr
        if "fail" not in words(request):
            process = Waiting(stdout)
            self.started.append(process)
            self.all_here.release()
            return process
        for _ in range(self.hanging):
            assert self.all_here.acquire(timeout=PATIENCE)
        process = Waiting(stdout)
        process.signal(9)
        process.wait = lambda _timeout=None: 3  # type: ignore[method-assign]
        return process

    def connect(self, state_dir: str) -> Any:
        del state_dir

    def state(self, state_dir: str) -> RunState:
        del state_dir
        return RunState(status="created")

    def close(self) -> None: ...


def test_independent_stages_run_at_the_same_time(bench):
    bench.programs(Meeting(2))
    bench.build(BOTH)
    assert set(bench.outcome().values()) == {"done", "cached"}  # FROM is cached
    assert bench.outcome()["[one 2/2] RUN make one"] == "done"


def test_a_stage_works_until_it_needs_another(bench):
    """The last stage's first RUN overlaps with the stage that it copies from later."""
    bench.programs(Meeting(2))
    bench.build("FROM base AS one\nRUN make one\nFROM base\nRUN make ready\nCOPY --from=one /ran /one\n")
    order = [name for name, _ in bench.states() if name.startswith("[")]
    assert order[-1] == "[stage-1 3/3] COPY --from=one /ran /one"


def test_a_stage_on_a_stage_begins_at_its_end(bench):
    """Two branches of a common stage."""
    bench.programs(Meeting(2))
    bench.build(
        "FROM base AS common\nRUN prepare\nFROM common AS one\nRUN make one\nFROM common AS two\nRUN make two\n"
        "FROM base\nCOPY --from=one /ran /one\nCOPY --from=two /ran /two\n"
    )
    assert words(bench.runtime.launched[0]) == "prepare"
    assert len(bench.runtime.launched) == 3


def test_one_job_means_one_after_the_other_without_threads(bench):
    seen = []

    def program(request, out, err):
        seen.append((words(request), threading.current_thread() is threading.main_thread()))
        return leave_trace(request, out, err)

    bench.programs(program)
    bench.build(BOTH, jobs=1)
    assert seen == [("make one", True), ("make two", True)]


def test_no_more_steps_at_once_than_jobs(bench):
    guard, now, most = threading.Lock(), 0, 0
    two = threading.Barrier(2)

    def program(request, out, err):
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        two.wait(PATIENCE)
        with guard:
            now -= 1
        return leave_trace(request, out, err)

    bench.programs(program)
    stages = "".join(f"FROM base AS s{number}\nRUN make {number}\n" for number in range(6))
    copies = "".join(f"COPY --from=s{number} /ran /{number}\n" for number in range(6))
    bench.build(f"{stages}FROM base\n{copies}", jobs=2)
    assert most == 2
    assert len(bench.runtime.launched) == 6


def test_a_chain_of_stages_needs_no_threads(bench):
    names = []

    def program(request, out, err):
        names.append(threading.current_thread().name)
        return leave_trace(request, out, err)

    bench.programs(program)
    bench.build("FROM base AS one\nRUN a\nFROM one AS two\nRUN b\nFROM base\nCOPY --from=two /ran /ran\nRUN c\n")
    assert names == [threading.main_thread().name] * 3


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("no_cache", [False, True])
def test_equal_steps_of_two_stages_run_once(bench, jobs, no_cache):
    text = (
        "FROM base AS one\nRUN apt-get update\nRUN same again\nRUN make one\n"
        "FROM base AS two\nRUN apt-get update\nRUN same again\nRUN make two\n"
        "FROM base\nCOPY --from=one /ran /one\nCOPY --from=two /ran /two\n"
    )
    bench.build(text, jobs=jobs, no_cache=no_cache)
    assert sorted(words(request) for request in bench.runtime.launched) == [
        "apt-get update",
        "make one",
        "make two",
        "same again",
    ]
    states = bench.outcome()
    both = [states["[one 2/4] RUN apt-get update"], states["[two 2/4] RUN apt-get update"]]
    assert sorted(both) == ["cached", "done"]


def test_parallel_and_sequential_builds_give_the_same_image(bench):
    text = BOTH + "ENV A=b\nRUN make both\n"
    one = bench.build(text, jobs=1, no_cache=True)
    two = bench.build(text, jobs=8, no_cache=True)
    layers = [bench.store.config(result.image).rootfs.diff_ids for result in (one, two)]
    assert layers[0] == layers[1]
    first, second = ([h.created_by for h in bench.store.config(result.image).history] for result in (one, two))
    assert first == second
    assert sorted(step.name for step in one.steps) == sorted(step.name for step in two.steps)
    assert [step.step for step in two.steps] == sorted(step.step for step in two.steps)


def test_all_cached_again(bench):
    bench.build(BOTH)
    bench.build(BOTH)
    assert set(bench.outcome().values()) == {"cached"}
    assert len(bench.runtime.launched) == 2


def test_events_come_one_at_a_time_in_the_callers_thread(bench):
    inside, threads = threading.Lock(), set()

    def seen(_event):
        assert inside.acquire(blocking=False)
        threads.add(threading.current_thread())
        inside.release()

    bench.programs(Meeting(2))
    bench.build(BOTH, seen=seen)
    assert threads == {threading.main_thread()}
    numbers = [event.step for event in bench.events if isinstance(event, StepStarted)]
    assert numbers == list(range(1, len(numbers) + 1))
    outputs = {event.text for event in bench.events if isinstance(event, StepOutput)}
    assert any("make one" in text for text in outputs)


def test_the_first_failure_stops_the_others(bench):
    bench.runtime = Hanging(2)
    text = (
        "FROM base AS one\nRUN hang\nFROM base AS two\nRUN hang too\nFROM base AS three\nRUN fail\n"
        "FROM base\nCOPY --from=one / /\nCOPY --from=two / /\nCOPY --from=three / /\n"
    )
    threads = threading.active_count()
    with pytest.raises(StepFailed) as problem:
        bench.build(text)
    assert "RUN fail" in problem.value.problem
    assert problem.value.status == 3
    assert [process.killed.is_set() and process.closed for process in bench.runtime.started] == [True, True]
    outcome = bench.outcome()
    assert outcome["[one 2/2] RUN hang"] == outcome["[two 2/2] RUN hang too"] == "canceled"
    assert outcome["[three 2/2] RUN fail"] == "broke"
    assert threading.active_count() == threads
    assert len(bench.store.discarded) == 2
    assert len(bench.store.failed) == 1
    assert bench.store.held == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, BrokenPipeError])
def test_what_is_raised_in_the_caller_stops_all(bench, interruption):
    """An interrupt, or a reporter that fails."""
    bench.runtime = Hanging(2)
    threads = threading.active_count()
    started = []

    def seen(event):
        started.extend([event] if isinstance(event, StepStarted) and "RUN" in event.name else [])
        if len(started) == 2:
            started.clear()
            raise interruption

    with pytest.raises(interruption):
        bench.build(BOTH, seen=seen)
    assert all(process.killed.is_set() and process.closed for process in bench.runtime.started)
    assert threading.active_count() == threads
    assert bench.store.held == []
    assert list(bench.outcome().values()).count("canceled") == 2


@pytest.mark.parametrize("names", [("two",), ("other", "TWO")])
def test_no_cache_for_a_stage(bench, names):
    bench.build(BOTH)
    launched = len(bench.runtime.launched)
    bench.build(BOTH, no_cache_stages=names)
    assert [words(request) for request in bench.runtime.launched[launched:]] == ["make two"]


def test_images_are_looked_up_at_the_same_time(bench):
    bench.store.add_base(bench.worker, "other", {"etc/passwd": "root:x:0:0::/:/bin/sh\n"})
    both = threading.Barrier(2)

    def resolve(ref, **options):
        both.wait(PATIENCE)
        return bench.store.resolve_base(ref, **options)

    bench.build("FROM base AS one\nFROM other\nCOPY --from=one / /\n", resolve=resolve)
    started = {e.name: e.step for e in bench.events if isinstance(e, StepStarted) and "metadata" in e.name}
    numbers = [started[f"[internal] load metadata for docker.io/library/{name}:latest"] for name in ("base", "other")]
    assert numbers == sorted(numbers)


def test_an_image_that_cannot_be_had_stops_the_look_up_of_others(bench):
    def resolve(ref, *, report, **_options):
        if ref.familiar.startswith("missing"):
            raise ImageNotFound("no such image: missing")
        for _ in range(PATIENCE * 100):  # a transfer that is asked to stop
            report(StepProgress(1, "layer", 1, 2))
            time.sleep(0.01)
        raise AssertionError("not stopped")

    with pytest.raises(ImageNotFound, match="missing") as problem:
        bench.build("FROM base AS one\nFROM missing\nCOPY --from=one / /\n", resolve=resolve)
    assert problem.value.span.line == 2
    assert ("[internal] load metadata for docker.io/library/base:latest", "canceled") in bench.states()
