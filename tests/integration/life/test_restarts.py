"""Restart policies: kept by the monitor, whoever else comes and goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contextkernel.errors import Conflict, InvalidInput, NameInUse

if TYPE_CHECKING:
    from conftest import Here


def test_a_failing_program_is_started_as_often_as_was_asked(here: Here) -> None:
    identity = here.start("failing", "echo again; exit 3", restart_policy="on-failure:2")
    # the record, the log and the events are three files: whoever looks at once may see them one after the other
    here.until(lambda: here.state("failing") == "exited" and here.document("failing")["RestartCount"] == 2)
    document = here.document("failing")
    assert document["State"]["ExitCode"] == 3
    assert document["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    here.until(lambda: here.output("failing") == "again\n" * 3)
    here.until(lambda: here.told(identity) == ["create", *(["start", "die"] * 3)])


def test_a_program_that_succeeds_is_not_started_again_on_failure(here: Here) -> None:
    here.start("fine", "echo once", restart_policy="on-failure")
    assert here.engine.wait("fine") == 0
    assert here.output("fine", follow=True) == "once\n"
    assert here.document("fine")["RestartCount"] == 0


def test_what_is_stopped_stays_stopped_and_starts_anew_when_asked(here: Here) -> None:
    here.start("steady", "trap 'exit 0' TERM; echo up; sleep 1000 & wait", restart_policy="always")
    here.until(lambda: here.output("steady") == "up\n")
    here.engine.stop("steady", timeout=20)
    document = here.document("steady")
    assert (document["State"]["Status"], document["State"]["ExitCode"], document["RestartCount"]) == ("exited", 0, 0)
    here.engine.start("steady")
    here.until(lambda: here.output("steady") == "up\nup\n")
    here.engine.kill("steady")  # as much an end as stop
    here.until(lambda: here.state("steady") == "exited")


def test_one_that_waits_for_its_next_start_is_stopped_at_once(here: Here) -> None:
    identity = here.start("waiting", "exit 1", restart_policy="always")
    # the waits double: sooner or later it is seen while it waits
    here.until(lambda: here.document("waiting")["RestartCount"] >= 4)
    filters = {"status": ["restarting"], "name": ["^/waiting$"]}
    here.until(lambda: [(row.state, row.exit_code) for row in here.engine.containers(filters=filters)])
    assert [row.exit_code for row in here.engine.containers(filters=filters)] == [1]
    here.engine.stop("waiting")
    document = here.document("waiting")
    assert (document["State"]["Status"], document["State"]["ExitCode"]) == ("exited", 1)
    assert here.told(identity)[-2:] == ["die", "stop"]


def test_a_policy_that_is_changed_holds_from_the_next_exit_on(here: Here) -> None:
    here.start("changed", "trap 'exit 4' USR1; echo up; while :; do sleep 0.05; done", restart_policy="always")
    here.until(lambda: here.output("changed") == "up\n")
    here.engine.update("changed", restart_policy="no")
    here.engine.kill("changed", signal="USR1")
    here.until(lambda: here.state("changed") == "exited")
    assert here.document("changed")["RestartCount"] == 0
    assert here.document("changed")["State"]["ExitCode"] == 4
    assert here.document("changed")["HostConfig"]["RestartPolicy"]["Name"] == "no"


def test_policies_that_contradict_removal_are_refused(here: Here) -> None:
    with pytest.raises(InvalidInput, match="cannot be restarted"):
        here.start("both", "true", remove=True, restart_policy="always")
    assert not here.engine.containers(all=True, filters={"name": ["^/both$"]})


def test_restarts_go_on_without_whoever_started_the_container(here: Here, folder: Path) -> None:
    code = (
        "import sys; from contextkernel import Engine\n"
        "with Engine(sys.argv[1]) as engine:\n"
        "    engine.run('lively', ['sh', '-c', 'exit 1'], name='alone', detach=True, network='none',\n"
        "        restart_policy='on-failure:3')\n"
        "    import os; os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder / "store")], check=True, env=dict(os.environ))
    here.until(lambda: here.state("alone") == "exited" and here.document("alone")["RestartCount"] == 3)


def test_restart_stops_and_starts(here: Here) -> None:
    identity = here.start("twice", "trap 'echo bye; exit 0' TERM; echo up; sleep 1000 & wait")
    here.until(lambda: "up" in here.output("twice"))
    here.engine.restart("twice", timeout=20)
    here.until(lambda: here.output("twice") == "up\nbye\nup\n")
    assert here.told(identity) == ["create", "start", "kill", "die", "stop", "start", "restart"]
    here.engine.restart("twice", timeout=0)
    here.engine.remove_container("twice", force=True)


def test_a_name_may_change_while_the_container_runs(here: Here) -> None:
    identity = here.start("before", "sleep 1000")
    here.start("taken", "sleep 1000")
    with pytest.raises(NameInUse):
        here.engine.rename("before", "taken")
    with pytest.raises(InvalidInput, match="named 'before' already"):
        here.engine.rename("before", "/before")
    here.engine.rename("before", "after")
    assert here.document("after")["Id"] == identity
    here.engine.kill("after")
    here.until(lambda: here.state("after") == "exited" and "die" in here.told(identity))
    events = here.engine.events(since="1h", until="0s", filters={"container": [identity]})
    named = [(event.action, event.attributes["name"]) for event in events if event.type == "container"]
    assert named == [
        ("create", "before"),
        ("start", "before"),
        ("rename", "after"),
        ("kill", "after"),
        ("die", "after"),
    ]


def test_start_of_what_runs_changes_nothing(here: Here) -> None:
    identity = here.start("already", "sleep 1000")
    begun = here.document("already")["State"]["StartedAt"]
    assert here.engine.start("already") == identity
    assert here.document("already")["State"]["StartedAt"] == begun
    here.engine.pause("already")
    with pytest.raises(Conflict, match="cannot start the paused container"):
        here.engine.start("already")
    here.engine.remove_container("already", force=True)
    assert here.told(identity)[:3] == ["create", "start", "pause"]
