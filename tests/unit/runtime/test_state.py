from __future__ import annotations

import os
import subprocess

import pytest

from contextkernel.errors import ContainerRunning
from contextkernel.model.container import RunState
from contextkernel.runtime import state


@pytest.fixture
def directory(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_unknown_container(tmp_path):
    assert state.read_state(str(tmp_path)) == RunState(status="created")
    assert state.read_state(str(tmp_path / "missing")) == RunState(status="created")


def test_what_is_written_is_read(tmp_path, directory):
    for new in (RunState(status="exited", exit_code=3, started=1, finished=2), RunState(status="created", error="e")):
        state.write_state(directory, new)
        assert state.read_state(str(tmp_path)) == new
    assert os.listdir(tmp_path) == ["state.json"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"status":"odd"}', b"[]"])
def test_unreadable_state_is_a_dead_container(tmp_path, content):
    (tmp_path / "state.json").write_bytes(content)
    found = state.read_state(str(tmp_path))
    assert (found.status, found.exit_code) == ("dead", 137)
    assert found.error.startswith("unreadable state: ")


def test_running_is_believed_while_the_lock_is_held(tmp_path, directory):
    running = RunState(status="running", pid=1, started=5)
    lock = state.take_lock(directory)
    state.write_state(directory, running)
    assert state.read_state(str(tmp_path)) == running
    os.close(lock)
    found = state.read_state(str(tmp_path))
    assert (found.status, found.pid, found.exit_code, found.started) == ("dead", 0, 137, 5)
    assert found.finished > 0
    again = state.take_lock(directory)  # looking at the state left no lock behind
    os.close(again)


def test_second_monitor_is_refused(directory, monkeypatch):
    monkeypatch.setattr(state, "_LOCK_PATIENCE", 0.0)
    lock = state.take_lock(directory)
    with pytest.raises(ContainerRunning):
        state.take_lock(directory)
    os.close(lock)


def test_init_without_its_monitor_is_killed(tmp_path, directory):
    with subprocess.Popen(["sleep", "1000"]) as orphan:
        lock = state.take_lock(directory)
        state.note_init(lock, orphan.pid)
        state.write_state(directory, RunState(status="running", pid=orphan.pid))
        os.close(lock)
        assert state.read_state(str(tmp_path)).status == "dead"
        assert orphan.wait(60) == -9


def test_another_process_with_the_same_number_is_spared(tmp_path, directory):
    with subprocess.Popen(["sleep", "1000"]) as other:
        lock = state.take_lock(directory)
        os.pwrite(lock, f"{other.pid} 1\n".encode(), 0)
        state.write_state(directory, RunState(status="running", pid=other.pid))
        os.close(lock)
        assert state.read_state(str(tmp_path)).status == "dead"
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("status", ["running", "paused", "restarting"])
def test_what_ran_when_the_machine_went_down_has_exited_with_255(tmp_path, monkeypatch, status):
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        monkeypatch.setattr(state, "boot_id", lambda: "before")
        # the lock file names a process: whatever has its number now is somebody else's
        lock = state.take_lock(directory)
        state.note_init(lock, os.getpid())
        os.close(lock)
        state.write_state(directory, RunState(status=status, pid=os.getpid(), started=7, restart_count=2))
        monkeypatch.setattr(state, "boot_id", lambda: "after")
        found = state.read_state(str(tmp_path))
    finally:
        os.close(directory)
    assert (found.status, found.exit_code, found.pid, found.started, found.restart_count) == ("exited", 255, 0, 7, 2)
    assert found.finished > 0
    assert "machine went down" in found.error


def test_what_had_ended_before_the_machine_went_down_stays_as_it_was(tmp_path, monkeypatch):
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        monkeypatch.setattr(state, "boot_id", lambda: "before")
        ended = RunState(status="exited", exit_code=3, started=7, finished=9)
        state.write_state(directory, ended)
        monkeypatch.setattr(state, "boot_id", lambda: "after")
        assert state.read_state(str(tmp_path)) == ended
    finally:
        os.close(directory)


def test_the_start_of_the_machine_is_told_by_the_kernel():
    assert len(state.boot_id()) in (0, 36)
