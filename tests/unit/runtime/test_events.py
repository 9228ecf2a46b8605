"""The event log: appended by several, rotated, read while it grows."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from contextkernel.model.engine_events import EngineEvent, includes
from contextkernel.runtime.events import EventLog


def numbers(events: Iterator[EngineEvent] | tuple[EngineEvent, ...]) -> list[int]:
    return [int(event.action) for event in events]


def write(log: EventLog, number: int) -> None:
    log.write("container", str(number), "a" * 64, {"name": "x"}, when=number)


def test_what_was_written_is_read_again_with_all_that_was_said(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path))
    log.write("volume", "create", "data", {"driver": "local"}, when=7)
    assert log.past() == (
        EngineEvent(type="volume", action="create", id="data", attributes={"driver": "local"}, time=7),
    )


def test_an_empty_store_has_no_events(tmp_path: Path) -> None:
    assert EventLog(str(tmp_path)).past() == ()


def test_the_past_is_bounded_on_both_sides_and_bounds_belong_to_it(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path))
    for number in range(1, 6):
        write(log, number)
    assert numbers(log.past(2, 4)) == [2, 3, 4]


def test_a_full_file_is_renamed_and_the_oldest_of_five_goes(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path), limit=1000)
    for number in range(1, 101):
        write(log, number)
    kept = numbers(log.past())
    assert kept == list(range(kept[0], 101))
    assert 1 < kept[0] < 90
    names = {path.name for path in (tmp_path / "events").iterdir()}
    assert names - {"log"} == {"lock", "log.1", "log.2", "log.3", "log.4"}  # a full file has gone; its successor may be


def test_a_line_that_a_full_disk_cut_off_is_left_out(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path))
    write(log, 1)
    with (tmp_path / "events/log").open("ab") as file:
        file.write(b'{"type":"container","act\n')
    write(log, 2)
    assert numbers(log.past()) == [1, 2]


def test_a_store_that_cannot_be_written_costs_the_note_alone(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("not a directory")
    EventLog(str(tmp_path)).write("image", "tag", "x", {})


def test_who_follows_sees_what_comes_and_nothing_of_before(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path))
    write(log, 1)
    coming = iter([5, 6])

    def sleep(_seconds: float) -> None:
        write(log, next(coming))

    assert numbers(log.follow(until=6, sleep=sleep, clock=iter([2, 3, 4, 7]).__next__)) == [5, 6]


def test_who_follows_from_the_past_sees_each_event_once(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path), limit=300)
    for number in range(1, 8):
        write(log, number)

    coming = iter(range(8, 100))

    def sleep(_seconds: float) -> None:
        write(log, next(coming))  # every few of them begin a new file

    seen = []
    for event in log.follow(3, sleep=sleep):
        seen.append(int(event.action))
        if len(seen) == 30:
            break
    assert seen == list(range(3, 33))


def test_who_follows_a_store_without_events_sees_the_first(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path))
    follow = log.follow(0, sleep=lambda _: write(log, 4))
    assert next(follow).action == "4"


def _write_many(root: str, first: int) -> None:
    log = EventLog(root, limit=1 << 30)
    for number in range(first, first + 200):
        write(log, number)


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(tmp_path), first)) for first in (0, 1000, 2000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = numbers(EventLog(str(tmp_path)).past())
    assert sorted(found) == [*range(200), *range(1000, 1200), *range(2000, 2200)]


CONTAINER = EngineEvent(
    type="container",
    action="exec_create: ls -l",
    id="ab" * 32,
    attributes={"name": "web", "image": "busybox:1", "tier": "front"},
    time=1,
)
IMAGE = EngineEvent(type="image", action="tag", id="sha256:" + "c" * 64, attributes={"name": "busybox:1"}, time=1)


@pytest.mark.parametrize(
    ("event", "filters", "expected"),
    [
        (CONTAINER, {}, True),
        (CONTAINER, {"type": ("container",)}, True),
        (CONTAINER, {"type": ("image", "container")}, True),
        (CONTAINER, {"type": ("contain",)}, False),
        (CONTAINER, {"container": ("we",)}, True),
        (CONTAINER, {"container": ("abab",)}, True),
        (CONTAINER, {"container": ("eb",)}, False),
        (CONTAINER, {"event": ("exec_create",)}, True),
        (CONTAINER, {"event": ("exec_create: ls -l",)}, True),
        (CONTAINER, {"event": ("exec",)}, False),
        (CONTAINER, {"image": ("busybox",)}, True),
        (CONTAINER, {"image": ("busybox:1",)}, True),
        (CONTAINER, {"image": ("busy",)}, False),
        (CONTAINER, {"label": ("tier",)}, True),
        (CONTAINER, {"label": ("tier=back",)}, False),
        (CONTAINER, {"label": ("tier=front", "missing")}, False),
        (CONTAINER, {"type": ("container",), "event": ("die",)}, False),
        (CONTAINER, {"network": ("bridge",)}, False),
        (CONTAINER, {"scope": ("local",)}, True),
        (CONTAINER, {"scope": ("swarm",)}, False),
        (IMAGE, {"image": ("busybox",)}, True),
        (IMAGE, {"image": ("alpine",)}, False),
    ],
)
def test_filters_are_those_of_docker(event: EngineEvent, filters: dict[str, tuple[str, ...]], expected: bool) -> None:
    assert includes(event, filters) is expected
