"""What becomes of a container whose monitor is killed, of its checks, and of a log that nobody can write."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Here


def monitor_of(here: Here, name: str) -> int:
    """The parent of the container's init; 0 if there is none just now."""
    pid = here.document(name)["State"]["Pid"]
    try:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return int(next(line.split()[1] for line in status if line.startswith("PPid:"))) if pid else 0


def runs(word: str) -> list[str]:
    """Processes of this host with a word in their command line."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words:
                found.append(entry)
    return found


def test_a_monitor_that_is_killed_restarts_nothing_and_leaves_no_check_behind(here: Here) -> None:
    # seconds that nobody else on this machine sleeps
    check, program = f"98765.{os.getpid()}", f"98764.{os.getpid()}"
    wanted = {"test": ["CMD", "sleep", check], "interval": 20_000_000}
    here.start("orphan", f"sleep {program}", restart_policy="always", healthcheck=wanted)
    here.until(lambda: runs(check))
    os.kill(monitor_of(here, "orphan"), signal.SIGKILL)
    here.until(lambda: here.state("orphan") == "dead")
    here.until(lambda: not runs(check) and not runs(program))
    assert here.document("orphan")["State"]["ExitCode"] == 137
    here.engine.start("orphan")
    here.until(lambda: here.state("orphan") == "running")
    here.engine.remove_container("orphan", force=True)


def test_one_that_is_killed_while_it_waits_for_the_next_start_leaves_a_dead_container(here: Here) -> None:
    here.start("between", "sleep 0.1; exit 1", restart_policy="always")
    monitors: list[int] = []
    here.until(lambda: monitors.append(monitor_of(here, "between")) or monitors[-1])
    monitor = monitors[-1]
    here.until(lambda: here.document("between")["RestartCount"] >= 4)
    here.until(lambda: here.state("between") == "restarting")
    os.kill(monitor, signal.SIGKILL)
    here.until(lambda: here.state("between") == "dead")
    here.engine.remove_container("between")
    assert not here.engine.containers(all=True, filters={"name": ["^/between$"]})


def test_a_program_goes_on_when_its_log_and_the_events_cannot_be_written(here: Here, folder: Path) -> None:
    events = folder / "store/events"
    kept = events.rename(folder / "events.kept")
    events.symlink_to("/dev/full/nowhere")
    try:
        identity = here.engine.create("lively", ["sh", "-c", "echo lost; exit 4"], name="mute", network="none")
        (folder / "store/containers" / identity / "log.json").symlink_to("/dev/full")
        here.engine.start("mute")
        assert here.engine.wait("mute") == 4
    finally:
        events.unlink()
        kept.rename(events)
    here.engine.remove_container("mute")
