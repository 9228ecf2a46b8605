"""Health checks in containers that run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Here

QUICK = 50_000_000  # nanoseconds


def check(command: str, **more: Any) -> dict[str, Any]:
    return {"test": ["CMD-SHELL", command], "interval": QUICK, "retries": 2, **more}


def health(here: Here, name: str) -> dict[str, Any]:
    found: dict[str, Any] = here.document(name)["State"]["Health"]
    return found


def test_health_follows_the_check(here: Here) -> None:
    # the program makes the check fail, and well again, in answer to signals
    script = "trap 'rm /tmp/well' USR1; trap 'touch /tmp/well' USR2; touch /tmp/well; while :; do sleep 0.05; done"
    # a check that comes before the program has made the file is not to count
    wanted = check("echo looking; test -e /tmp/well", start_period=3600 * 10**9, start_interval=QUICK)
    identity = here.start("patient", script, healthcheck=wanted)
    here.until(lambda: health(here, "patient")["Status"] == "healthy")
    (row,) = here.engine.containers(filters={"health": ["healthy"], "name": ["^/patient$"]})
    assert row.health == "healthy"
    here.engine.kill("patient", signal="USR1")
    here.until(lambda: health(here, "patient")["Status"] == "unhealthy")
    found = health(here, "patient")
    assert found["FailingStreak"] >= 2
    assert len(found["Log"]) <= 5
    assert (found["Log"][-1]["ExitCode"], found["Log"][-1]["Output"]) == (1, "looking\n")
    here.engine.kill("patient", signal="USR2")
    here.until(lambda: health(here, "patient")["Status"] == "healthy")
    here.engine.remove_container("patient", force=True)
    assert [word for word in here.told(identity) if word.startswith("health")] == [
        "health_status: healthy",
        "health_status: unhealthy",
        "health_status: healthy",
    ]


def test_a_check_that_hangs_is_ended_and_counts_as_a_failure(here: Here) -> None:
    here.start("hanging", "sleep 1000", healthcheck=check("echo slow; sleep 1000", timeout=4 * QUICK))
    here.until(lambda: health(here, "hanging")["Status"] == "unhealthy")
    entry = health(here, "hanging")["Log"][0]
    assert entry["ExitCode"] == -1
    assert entry["Output"].startswith("Health check exceeded timeout (200ms)")
    here.engine.remove_container("hanging", force=True)


def test_a_check_that_does_not_exist_is_a_failure_that_says_so(here: Here) -> None:
    here.start("missing", "sleep 1000", healthcheck={"test": ["CMD", "nosuchcheck"], "interval": QUICK})
    here.until(lambda: health(here, "missing")["Log"])
    entry = health(here, "missing")["Log"][0]
    assert entry["ExitCode"] == -1
    assert "nosuchcheck" in entry["Output"]
    here.engine.remove_container("missing", force=True)


def test_failures_in_the_start_period_do_not_count(here: Here) -> None:
    hour = 3600 * 10**9
    wanted = check("exit 1", start_period=hour, start_interval=QUICK, interval=hour, retries=1)
    here.start("young", "sleep 1000", healthcheck=wanted)
    here.until(lambda: len(health(here, "young")["Log"]) >= 3)
    found = health(here, "young")
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    here.engine.remove_container("young", force=True)


def test_a_check_sees_what_the_program_sees(here: Here) -> None:
    wanted = check('echo "$COLOUR $PWD $(id -u)"')
    here.start("seeing", "sleep 1000", environment=["COLOUR=red"], working_dir="/tmp", healthcheck=wanted)
    here.until(lambda: health(here, "seeing")["Log"])
    assert health(here, "seeing")["Log"][0]["Output"] == "red /tmp 0\n"
    here.engine.remove_container("seeing", force=True)


def test_the_end_of_the_program_is_not_kept_waiting_by_a_check(here: Here) -> None:
    here.start("ending", "trap 'exit 0' TERM; sleep 1000 & wait", healthcheck=check("sleep 1000"))
    here.until(lambda: any(word.startswith("exec_start") for word in _all_told(here, "ending")))
    here.engine.stop("ending", timeout=20)
    document = here.document("ending")
    assert document["State"]["Status"] == "exited"
    assert document["State"]["Health"]["Status"] == "unhealthy"  # docker's word for it


def _all_told(here: Here, name: str) -> list[str]:
    events = here.engine.events(since="1h", until="0s", filters={"container": [name]})
    return [event.action for event in events]


def test_the_image_s_check_holds_unless_it_is_taken_away(here: Here) -> None:
    text = 'FROM lively\nHEALTHCHECK --interval=50ms CMD true\nCMD ["sleep", "1000"]\n'
    here.engine.build(text=text, tags=["checked"])
    here.engine.run("checked", name="by-image", detach=True, network="none")
    here.until(lambda: health(here, "by-image")["Status"] == "healthy")
    here.engine.run("checked", name="without", detach=True, network="none", healthcheck={"test": ["NONE"]})
    assert "Health" not in here.document("without")["State"]
    assert here.document("without")["Config"]["Healthcheck"]["Test"] == ["NONE"]
    for name in ("by-image", "without"):
        here.engine.remove_container(name, force=True)
