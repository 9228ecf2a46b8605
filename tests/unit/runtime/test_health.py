"""Health checks: docker's rules for results and times, and the runs themselves with a clock and programs of our own."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable
from typing import Any

import pytest

from contextkernel.model.container import ExecRequest, LaunchRequest
from contextkernel.model.life import Health, HealthResult, Life
from contextkernel.model.oci import Healthcheck
from contextkernel.runtime.channels import Standard
from contextkernel.runtime.health import HealthChecks
from contextkernel.runtime.health_rules import check_command, judged, next_check, started_again
from contextkernel.runtime.loop import Source, Timer
from contextkernel.runtime.messages import Exited, Failed, Started

SECOND = 10**9
CHECK = Healthcheck(test=("CMD", "probe", "x"), retries=2)


def result(code: int, at: int = 0, output: str = "") -> HealthResult:
    return HealthResult(start=at, end=at + 1, exit_code=code, output=output)


@pytest.mark.parametrize(
    ("check", "shell", "command"),
    [
        (None, (), ()),
        (Healthcheck(), (), ()),
        (Healthcheck(test=("NONE",)), (), ()),
        (Healthcheck(test=("CMD",)), (), ()),
        (Healthcheck(test=("CMD-SHELL",)), (), ()),
        (Healthcheck(test=("CMD", "a", "b")), ("x",), ("a", "b")),
        (Healthcheck(test=("CMD-SHELL", "a b")), (), ("/bin/sh", "-c", "a b")),
        (Healthcheck(test=("CMD-SHELL", "a b")), ("bash", "-lc"), ("bash", "-lc", "a b")),
    ],
)
def test_what_is_run(check: Healthcheck | None, shell: tuple[str, ...], command: tuple[str, ...]) -> None:
    assert check_command(check, shell) == command


def test_one_success_is_healthy_and_ends_a_streak() -> None:
    before = Health(status="unhealthy", failing_streak=7)
    assert judged(before, CHECK, result(0), 0) == Health(status="healthy", failing_streak=0, log=(result(0),))


def test_failures_in_a_row_are_unhealthy_at_the_last_of_them() -> None:
    health = Health(status="healthy")
    states = []
    for code in (1, 0, 1, -1):
        health = judged(health, CHECK, result(code), 0)
        states.append((health.status, health.failing_streak))
    assert states == [("healthy", 1), ("healthy", 0), ("healthy", 1), ("unhealthy", 2)]


def test_three_failures_are_docker_s_default() -> None:
    health = Health(status="healthy")
    for _ in range(2):
        health = judged(health, Healthcheck(test=("CMD", "x")), result(1), 0)
    assert health.status == "healthy"
    assert judged(health, Healthcheck(test=("CMD", "x")), result(1), 0).status == "unhealthy"


def test_failures_in_the_start_period_do_not_count_until_the_first_success() -> None:
    check = Healthcheck(test=("CMD", "x"), retries=1, start_period=10 * SECOND)
    early = judged(Health(), check, result(1, at=9 * SECOND), 0)
    assert (early.status, early.failing_streak, len(early.log)) == ("starting", 0, 1)
    assert judged(early, check, result(1, at=10 * SECOND), 0).status == "unhealthy"
    healthy = judged(early, check, result(0, at=2 * SECOND), 0)
    assert judged(healthy, check, result(1, at=3 * SECOND), 0).status == "unhealthy"


def test_the_last_five_results_are_kept_also_over_a_restart() -> None:
    health = Health()
    for number in range(8):
        health = judged(health, CHECK, result(0, at=number), 0)
    assert [one.start for one in health.log] == [3, 4, 5, 6, 7]
    assert started_again(health) == Health(status="starting", failing_streak=0, log=health.log)


@pytest.mark.parametrize(
    ("health", "check", "age", "seconds"),
    [
        (Health(), Healthcheck(), 0, 30),
        (Health(), Healthcheck(interval=7 * SECOND), 0, 7),
        (Health(), Healthcheck(interval=7 * SECOND, start_period=60 * SECOND), SECOND, 5),
        (Health(), Healthcheck(start_period=60 * SECOND, start_interval=2 * SECOND), SECOND, 2),
        (Health(), Healthcheck(start_period=60 * SECOND, start_interval=2 * SECOND), 60 * SECOND, 30),
        (Health(status="healthy"), Healthcheck(start_period=60 * SECOND, start_interval=SECOND), SECOND, 30),
    ],
)
def test_when_the_next_check_is_due(health: Health, check: Healthcheck, age: int, seconds: int) -> None:
    assert next_check(health, check, age) == seconds * SECOND


class StillLoop:
    """Time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, int, Timer]] = []
        self.sources: list[Source] = []

    def add(self, source: Source) -> None:
        self.sources.append(source)

    def discard(self, source: Source) -> None:
        self.sources.remove(source)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(action)
        heapq.heappush(self.timers, (self.now + seconds, len(self.timers), timer))
        return timer

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        while self.timers and self.timers[0][0] <= self.now + 1e-9:
            heapq.heappop(self.timers)[2].fire()


class Programs:
    """Takes the place of the container's execs."""

    def __init__(self) -> None:
        self.requests: list[ExecRequest] = []
        self.signals: list[int] = []
        self.tell: Callable[[Any], None] = lambda _: None
        self.streams = Standard()
        self.failure: Failed | None = None

    def start(self, request: ExecRequest, streams: Standard, tell: Callable[[Any], None]) -> Programs:
        self.requests.append(request)
        self.tell, self.streams = tell, streams
        tell(self.failure or Started(42))
        if self.failure:
            self._close()
        return self

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def write(self, data: bytes) -> None:
        assert self.streams.stdout is not None
        os.write(self.streams.stdout, data)

    def end(self, code: int) -> None:
        self._close()
        self.tell(Exited(code))

    def _close(self) -> None:
        for stream in self.streams:
            if stream is not None:
                os.close(stream)
        self.streams = Standard()


class World:
    def __init__(self, check: Healthcheck | None, **life: Any) -> None:
        self.loop, self.programs = StillLoop(), Programs()
        self.notes: list[Health] = []
        self.told: list[str] = []
        request = LaunchRequest(
            id="a" * 64,
            argv=("sh",),
            env=("A=1",),
            working_dir="/srv",
            user="bob",
            hostname="h",
            network="none",
            lowers=(),
            upper="/u",
            work="/w",
            life=Life(healthcheck=check, **life),
        )
        loop, programs = self.loop, self.programs
        self.checks = HealthChecks(request, loop, programs, self.notes.append, self.told.append)  # type: ignore[arg-type]
        self.checks.begin(0)

    @property
    def health(self) -> Health:
        return self.notes[-1]


def quick(**more: Any) -> World:
    return World(Healthcheck(**{"test": ("CMD", "probe"), "interval": 2 * SECOND, "timeout": SECOND, **more}))


def test_a_check_runs_after_its_interval_as_the_container_s_user() -> None:
    world = quick()
    assert world.health.status == "starting"
    world.loop.pass_(1.9)
    assert world.programs.requests == []
    world.loop.pass_(0.1)
    assert world.programs.requests == [ExecRequest(argv=("probe",), env=("A=1",), working_dir="/srv", user="bob")]
    world.programs.write(b"fine\n")
    world.programs.end(0)
    assert (world.health.status, world.health.log[-1].output, world.told) == (
        "healthy",
        "fine\n",
        ["health_status: healthy"],
    )
    world.loop.pass_(2)
    assert len(world.programs.requests) == 2


def test_only_changes_are_told() -> None:
    world = quick(retries=2)
    for code in (0, 1, 1, 1, 0, 0):
        world.loop.pass_(2)
        world.programs.end(code)
    assert world.told == ["health_status: healthy", "health_status: unhealthy", "health_status: healthy"]


def test_a_check_that_takes_too_long_is_killed_and_has_failed() -> None:
    world = quick(retries=1)
    world.loop.pass_(2)
    world.programs.write(b"waiting")
    world.loop.pass_(1)
    assert world.programs.signals == [9]
    world.programs.end(137)
    found = world.health.log[-1]
    assert (found.exit_code, found.output) == (-1, "Health check exceeded timeout (1s): waiting")
    assert world.health.status == "unhealthy"


def test_a_check_that_cannot_be_started_has_failed() -> None:
    world = quick()
    world.programs.failure = Failed("not_found", 'exec: "probe": executable file not found in $PATH')
    world.loop.pass_(2)
    found = world.health.log[-1]
    assert (found.exit_code, found.output) == (-1, 'exec: "probe": executable file not found in $PATH')
    world.loop.pass_(2)
    assert world.health.failing_streak == 2


def test_of_much_output_the_beginning_is_kept_and_the_check_does_not_wait() -> None:
    world = quick()
    world.loop.pass_(2)
    for _ in range(40):
        world.programs.write(b"x" * 4096)
        for source in world.loop.sources:
            source.ready(dict.fromkeys((descriptor for descriptor, _ in source.interests()), 1))
    world.programs.end(0)
    assert world.health.log[-1].output == "x" * 4096 + "..."


def test_the_end_of_the_container_ends_the_checks() -> None:
    world = quick()
    world.loop.pass_(2)
    world.checks.stop()
    assert world.health.status == "unhealthy"
    noted = len(world.notes)
    world.programs.end(0)
    world.checks.stop()
    world.loop.pass_(100)
    assert len(world.notes) == noted
    assert world.told == []
    assert world.loop.sources == []


def test_a_restart_begins_anew_and_a_pause_does_not() -> None:
    world = quick()
    world.loop.pass_(2)
    world.programs.end(0)
    world.checks.stop()
    world.checks.go_on()
    assert world.health.status == "unhealthy"  # docker's, until the next success
    world.loop.pass_(2)
    world.programs.end(0)
    assert world.health.status == "healthy"
    world.checks.stop()
    world.checks.begin(7)
    assert (world.health.status, len(world.health.log)) == ("starting", 2)


@pytest.mark.parametrize("check", [None, Healthcheck(test=("NONE",)), Healthcheck(interval=SECOND)])
def test_without_a_check_nothing_is_known(check: Healthcheck | None) -> None:
    world = World(check)
    world.checks.go_on()
    world.checks.stop()
    world.loop.pass_(1000)
    assert (world.notes, world.programs.requests) == ([], [])
