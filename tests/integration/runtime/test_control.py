"""What clients can ask of a running container: to stop, to pause, to be let in, who is in there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contextkernel.errors import Conflict

UP = "echo up; while :; do sleep 0.05; done"
DEAF = f"trap '' TERM; {UP}"


@pytest.fixture
def start(box):
    """Starts a shell script; returns the container once it has said ``up``."""
    processes = []

    def begin(script: str, **changes: object):
        read, write = os.pipe()
        request = box.request("sh", "-c", script, state=True, **changes)
        process = box.runtime.launch(request, stdout=write)
        processes.append(process)
        os.close(write)
        with os.fdopen(read, "rb") as output:
            assert output.readline() == b"up\n"
        return request, process

    yield begin
    for process in processes:
        process.signal(9, ends=True)
        process.wait()
        process.close()


def test_stop_ends_it_and_is_remembered_as_wanted(box, start):
    request, process = start(f"trap 'exit 3' TERM; {UP}")
    process.stop(15, 20)
    assert process.wait() == 3
    state = box.runtime.state(request.state_dir)
    assert (state.status, state.exit_code, state.wanted_end) == ("exited", 3, True)


def test_an_end_of_its_own_is_not_wanted(box):
    request = box.request("true", state=True)
    box.execute(request)
    assert not box.runtime.state(request.state_dir).wanted_end


def test_stop_insists(start):
    _, process = start(DEAF)
    process.stop(15, 0)
    assert process.wait() == 137


def test_stop_without_an_end_waits_for_ever(box, start):
    request, process = start(DEAF)
    process.stop(15, -1)
    assert process.wait(0.3) is None
    other = box.runtime.connect(request.state_dir)
    other.stop(15, 0)
    assert other.wait() == 137
    other.close()


def test_pause_and_unpause(box, start):
    request, process = start("echo x >/count; echo up; while :; do echo x >>/count; sleep 0.01; done")
    process.pause()
    count = Path(request.upper, "count")
    before = count.stat().st_size
    assert process.wait(0.2) is None
    assert count.stat().st_size == before
    assert box.runtime.state(request.state_dir).status == "paused"
    pids = process.processes()
    assert pids[0] == process.pid
    with pytest.raises(Conflict, match="already paused"):
        process.pause()
    process.unpause()
    assert box.runtime.state(request.state_dir).status == "running"
    with pytest.raises(Conflict, match="not paused"):
        process.unpause()


def test_a_paused_container_can_be_stopped(box, start):
    request, process = start(f"trap 'exit 5' TERM; {UP}")
    process.pause()
    process.stop(15, 20)
    assert process.wait() == 5
    assert box.runtime.state(request.state_dir).status == "exited"


def test_a_paused_container_can_be_killed(start):
    _, process = start(UP)
    process.pause()
    process.signal(9, ends=True)
    assert process.wait() == 137


def test_processes_are_those_of_the_container(start, eventually):
    _, process = start("sleep 100 & echo up; wait")

    def names() -> list[str]:
        return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in process.processes()]

    eventually(lambda: names() == ["sh", "sleep"], "the program that the shell has started")


def test_several_clients_see_the_same_output(box, start):
    request, process = start("trap 'echo bye; exit 0' TERM; " + UP)
    clients = [box.runtime.connect(request.state_dir) for _ in range(3)]
    readers = []
    for client in clients:
        read, write = os.pipe()
        client.attach(stdout=write)
        os.close(write)
        readers.append(read)
    process.stop(15, 20)
    for client, read in zip(clients, readers, strict=True):
        with os.fdopen(read, "rb") as output:
            assert output.read() == b"bye\n"
        assert client.wait() == 0
        client.close()


def test_the_input_of_a_guest_is_not_the_end_of_input(box):
    request = box.request("sh", "-c", "read a; echo got $a; read b; echo got $b", state=True, open_stdin=True)
    process = box.runtime.launch(request)  # nobody's input yet, as run -d -i
    for word in (b"one\n", b"two\n"):
        client = box.runtime.connect(request.state_dir)
        (give, sender), (read, out) = os.pipe(), os.pipe()
        os.write(sender, word)
        os.close(sender)
        client.attach(stdin=give, stdout=out)
        os.close(give)
        os.close(out)
        with os.fdopen(read, "rb") as output:
            assert output.readline() == b"got " + word
        client.close()
    assert process.wait() == 0
    process.close()


def test_detach_keys_leave_it_running(box, start):
    request, _ = start(f"cat >/dev/null & {UP}", open_stdin=True)
    client = box.runtime.connect(request.state_dir)
    give, sender = os.pipe()
    client.attach(stdin=give, detach_keys=b"\x10\x11")
    os.close(give)
    os.write(sender, b"abc\x10\x11")
    assert client.wait() is None
    assert client.detached
    client.close()
    os.close(sender)
    assert box.runtime.state(request.state_dir).status == "running"


def test_attach_without_the_streams_is_refused(box, start):
    from contextkernel.runtime import messages

    request, _ = start(UP)
    client = box.runtime.connect(request.state_dir)
    with pytest.raises(Conflict, match="did not arrive"):
        client._ask(messages.Attach(stdout=True))
    client.close()


def test_questions_to_one_that_has_ended(start):
    _, process = start("echo up")
    assert process.wait() == 0
    with pytest.raises(Conflict, match="has ended"):
        process.processes()
