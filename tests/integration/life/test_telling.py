"""What is told of containers: logs, events, processes, sizes, lists."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contextkernel import Engine
from contextkernel.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from conftest import Here


def test_a_program_that_fills_its_log_is_bounded_and_read_in_order(here: Here, folder: Path) -> None:
    identity = here.start(
        "chatty",
        "seq 1 20000",
        log_config={"type": "json-file", "config": {"max-size": "20k", "max-file": "3"}},
    )
    assert here.engine.wait("chatty") == 0
    files = sorted((folder / "store/containers" / identity).glob("log.json*"))
    assert [file.name for file in files] == ["log.json", "log.json.1", "log.json.2"]
    assert sum(file.stat().st_size for file in files) < 3 * (20 * 1024 + 200)
    numbers = [int(line) for line in here.output("chatty").split()]
    assert numbers == list(range(numbers[0], 20001))
    assert here.output("chatty", tail=2) == "19999\n20000\n"


def test_who_follows_sees_all_of_a_log_that_is_rotated_meanwhile(here: Here) -> None:
    script = "i=0; while [ $i -lt 60 ]; do seq 1 20; i=$((i+1)); sleep 0.02; done"
    here.start("followed", script, log_config={"type": "json-file", "config": {"max-size": "4k", "max-file": "50"}})
    assert here.output("followed", follow=True) == "".join(f"{number}\n" for number in range(1, 21)) * 60


def test_logs_are_read_by_time_and_with_details(here: Here) -> None:
    wanted = {"type": "json-file", "config": {"labels": "tier", "env": "COLOUR"}}
    here.start("told", "echo one", labels={"tier": "front"}, environment=["COLOUR=red"], log_config=wanted)
    here.engine.wait("told")
    line = here.output("told", timestamps=True, details=True, follow=True)
    moment, rest = line.split(" ", 1)
    assert rest == "COLOUR=red,tier=front one\n"
    assert here.output("told", since=moment) == "one\n"
    assert here.output("told", until=moment) == "one\n"
    assert here.output("told", until="2000-01-01") == ""
    assert here.output("told", since="0s") == ""


def test_without_a_log_the_output_is_with_its_reader_alone(here: Here) -> None:
    done = here.engine.run("lively", ["echo", "hi"], name="silent", network="none", log_config={"type": "none"})
    assert not isinstance(done, str)
    assert done.stdout == b"hi\n"
    with pytest.raises(Conflict, match="keeps no log"):
        here.output("silent")
    with pytest.raises(InvalidInput, match="no log driver"):
        here.start("never", "true", log_config={"type": "syslog"})


def test_events_of_other_engines_are_seen_as_they_come(here: Here, folder: Path) -> None:
    seen: list[str] = []
    ready = threading.Event()

    def watch() -> None:
        with Engine(folder / "store") as other:
            events = other.events(since="0s", filters={"container": ["watched"]})
            ready.set()
            for event in events:
                seen.append(event.action)
                if event.action == "destroy":
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    ready.wait()
    here.start("watched", "exit 7")
    here.engine.wait("watched")
    here.engine.remove_container("watched")
    watcher.join(60)
    assert seen == ["create", "start", "die", "destroy"]


def test_top_shows_the_container_s_processes_with_their_users(here: Here) -> None:
    here.start("busy", "sleep 1001 & sleep 1002 & wait")
    here.until(lambda: len(here.engine.top("busy").processes) == 3)
    table = here.engine.top("busy", "-o pid,ppid,uid,args")
    commands = {cells[3]: cells for cells in table.processes}
    assert set(commands) == {"sh -c sleep 1001 & sleep 1002 & wait", "sleep 1001", "sleep 1002"}
    shell = commands["sh -c sleep 1001 & sleep 1002 & wait"]
    assert {cells[2] for cells in table.processes} == {"0"}
    assert commands["sleep 1001"][1] == shell[0]
    assert int(shell[0]) == here.document("busy")["State"]["Pid"]
    here.engine.remove_container("busy", force=True)
    here.start("idle", "true")
    here.engine.wait("idle")
    with pytest.raises(Conflict, match="is not running"):
        here.engine.top("idle")


def test_what_a_container_has_written_is_measured(here: Here) -> None:
    here.start("written", "head -c 30000 /dev/zero > /tmp/a; mkdir -m 700 /tmp/d; head -c 500 /dev/zero > /tmp/d/b")
    here.engine.wait("written")
    (row,) = here.engine.containers(all=True, size=True, filters={"name": ["^/written$"]})
    assert row.size == 30500
    assert row.virtual_size > 500_000
    assert here.engine.container_sizes("written") == (row.size, row.virtual_size)
    (unmeasured,) = here.engine.containers(all=True, filters={"name": ["^/written$"]})
    assert unmeasured.size == 0


def test_prune_takes_what_does_not_run_and_fits(here: Here) -> None:
    for name, labels in (("old", {"kind": "a"}), ("kept", {"kind": "b"})):
        here.start(name, "head -c 1000 /dev/zero > /tmp/x", labels=labels)
        here.engine.wait(name)
    here.start("up", "sleep 1000", labels={"kind": "a"})
    here.until(lambda: here.state("old") == here.state("kept") == "exited")
    identity = here.document("old")["Id"]
    assert here.engine.prune_containers(filters={"until": ["1h"]}).removed == ()
    pruned = here.engine.prune_containers(filters={"label": ["kind=a"]})
    assert (pruned.removed, pruned.size) == ((identity,), 1000)
    names = {row.name for row in here.engine.containers(all=True)}
    assert {"kept", "up"} <= names
    with pytest.raises(InvalidInput, match="invalid filter 'name'"):
        here.engine.prune_containers(filters={"name": ["x"]})


def test_a_created_container_can_be_started_later_and_listed_between(here: Here) -> None:
    identity = here.engine.create("lively", ["echo", "late"], name="made", network="none")
    assert here.state("made") == "created"
    (row,) = here.engine.containers(filters={"status": ["created"], "id": [identity]})
    assert row.started is None
    newer = here.start("newer", "true")
    assert [one.id for one in here.engine.containers(all=True, filters={"since": ["made"]})] == [newer]
    assert identity in {one.id for one in here.engine.containers(all=True, filters={"before": ["newer"]})}
    image = {one.id for one in here.engine.containers(all=True, filters={"ancestor": ["lively"]})}
    assert {identity, newer} <= image
    here.engine.start("made")
    assert here.engine.wait("made") == 0
    assert here.output("made", follow=True) == "late\n"


def test_what_is_done_to_a_running_container_is_told_once(here: Here) -> None:
    identity = here.start("worked", "sleep 1000")
    here.engine.exec("worked", ["sh", "-c", "exit 5"])
    here.engine.pause("worked")
    here.engine.unpause("worked")
    here.engine.kill("worked")
    here.until(lambda: here.state("worked") == "exited" and "die" in here.told(identity))
    events = here.engine.events(since="1h", until="0s", filters={"type": ["container"], "container": [identity]})
    told = [(event.action, event.attributes.get("exitCode"), event.attributes.get("signal")) for event in events]
    assert told == [
        ("create", None, None),
        ("start", None, None),
        ("exec_create: sh -c exit 5", None, None),
        ("exec_start: sh -c exit 5", None, None),
        ("exec_die", "5", None),
        ("pause", None, None),
        ("unpause", None, None),
        ("kill", None, "9"),
        ("die", "137", None),
    ]


def test_volumes_in_use_are_told(here: Here) -> None:
    identity = here.start("stored", "true", volumes={"held": {"bind": "/data", "mode": "ro"}})
    here.engine.wait("stored")
    here.engine.remove_container("stored")
    events = here.engine.events(since="1h", until="0s", filters={"volume": ["held"]})
    found = [(event.action, event.attributes) for event in events]
    use = {"container": identity, "destination": "/data", "driver": "local", "propagation": "", "read/write": "false"}
    assert found == [
        ("create", {"driver": "local"}),
        ("mount", use),
        ("unmount", {"container": identity, "driver": "local"}),
    ]
