"""Who lives how long: container, monitor, launcher, client; and what is recorded of it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import msgspec
import pytest

from contextkernel.errors import CommandNotFound, HostUnsupported, LaunchFailed
from contextkernel.linux import pidfd
from contextkernel.model.container import Bind, RunState
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.runtime.client import NamespaceRuntime
from contextkernel.runtime.facts import gather

FOREVER = ("sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")


def parent_of(pid: int) -> int:
    return int(re.search(r"^PPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


def gone(pid: int, seconds: float = 20) -> bool:
    """Wait until a process has exited."""
    handle = pidfd.open_pid(pid)
    if handle is None:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def state_told(runtime, directory: str, status: str, seconds: float = 20):
    """The state of a container, once it is told as this one: a process that is going may hold the lock a moment."""
    deadline = time.monotonic() + seconds
    while (state := runtime.state(directory)).status != status:
        assert time.monotonic() < deadline, state
        time.sleep(0.02)
    return state


def log_of(directory: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(directory, "log.json").read_text().splitlines()]


@pytest.fixture
def runtime(idmap):
    made = NamespaceRuntime(idmap)
    yield made
    made.close()


def run(runtime, request):
    """Exit code of a container whose output nobody wants."""
    process = runtime.launch(request)
    try:
        return process.wait()
    finally:
        process.close()


@pytest.fixture
def gate(tmp_path):
    """A directory to be bound at /gate: what waits for /gate/go waits for the test."""
    path = tmp_path / "gate"
    path.mkdir()
    return path


def start(runtime, box, *argv, **changes):
    """Launch and wait for the first output."""
    read, write = os.pipe()
    request = box.request(*argv, **{"state": True, **changes})
    process = runtime.launch(request, stdout=write)
    os.close(write)
    assert os.read(read, 100).startswith(b"up")
    os.close(read)
    return request, process


def test_states(box):
    request = box.request("sh", "-c", "exit 9", state=True)
    assert box.runtime.state(request.state_dir) == RunState(status="created")
    assert box.execute(request).code == 9
    state = box.runtime.state(request.state_dir)
    assert (state.status, state.exit_code, state.pid, state.error) == ("exited", 9, 0, "")
    assert 0 < state.started <= state.finished
    assert box.runtime.connect(request.state_dir) is None


def test_state_while_running(box, runtime):
    request, process = start(runtime, box, *FOREVER)
    state = runtime.state(request.state_dir)
    assert (state.status, state.pid, state.finished) == ("running", process.pid, 0)
    assert Path(f"/proc/{process.pid}/comm").read_text() == "sh\n"
    process.signal(signal.SIGTERM)
    assert process.wait() == 7
    assert runtime.state(request.state_dir).exit_code == 7
    process.signal(signal.SIGTERM)  # no error afterwards
    process.close()
    process.close()


def test_a_failed_start_is_recorded(box):
    request = box.request("nope", state=True)
    with pytest.raises(CommandNotFound):
        box.execute(request)
    state = box.runtime.state(request.state_dir)
    assert (state.status, state.exit_code) == ("created", 127)
    assert state.error == 'exec: "nope": executable file not found in $PATH'


def test_the_same_container_again(box):
    request = box.request("sh", "-c", "cat /count 2>/dev/null; echo x >>/count", state=True)
    assert [box.execute(request).out for _ in range(3)] == ["", "x\n", "x\nx\n"]
    assert sorted(os.listdir(request.upper)) == ["count"]


def test_only_one_monitor(box, runtime):
    request, process = start(runtime, box, *FOREVER)
    with pytest.raises(LaunchFailed, match="already running"):
        runtime.launch(request)
    process.signal(signal.SIGKILL)
    assert process.wait() == 137
    process.close()


def test_wait_with_a_timeout(box, runtime):
    _, process = start(runtime, box, *FOREVER)
    assert process.wait(0) is None
    assert process.wait(0.01) is None
    process.signal(signal.SIGKILL)
    assert process.wait(30) == 137
    assert process.wait(0) == 137
    process.close()


def test_log_in_dockers_format(box):
    script = "echo one; echo two >&2; printf 'no end'; printf '\\303\\050\\n' >&2"
    request = box.request("sh", "-c", script, state=True)
    box.execute(request)
    lines = log_of(request.state_dir)
    assert [line["log"] for line in lines if line["stream"] == "stdout"] == ["one\n", "no end"]
    assert [line["log"] for line in lines if line["stream"] == "stderr"] == ["two\n", "\ufffd(\n"]
    assert all(list(line) == ["log", "stream", "time"] for line in lines)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", line["time"]) for line in lines)


def test_container_survives_launcher_and_client(box, runtime, gate):
    script = "echo up; while ! test -e /gate/go; do sleep 0.01; done; echo end"
    request, process = start(runtime, box, "sh", "-c", script, binds=(Bind(str(gate), "/gate"),))
    monitor = parent_of(process.pid)
    process.close()
    runtime.close()
    assert runtime.state(request.state_dir).status == "running"
    other = NamespaceRuntime(box.idmap)
    again = other.connect(request.state_dir)
    assert again.pid == process.pid
    (gate / "go").touch()
    assert again.wait() == 0
    again.close()
    other.close()
    assert gone(monitor)
    assert [line["log"] for line in log_of(request.state_dir)] == ["up\n", "end\n"]


def test_another_process_can_stop_it(box, runtime, tmp_path):
    request, process = start(runtime, box, *FOREVER)
    code = textwrap.dedent(f"""
        from contextkernel.model.ids import IdMap
        from contextkernel.runtime.client import NamespaceRuntime
        process = NamespaceRuntime(IdMap()).connect({request.state_dir!r})
        process.signal(15)
        print(process.wait())
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "7\n"
    assert process.wait() == 7
    process.close()


def test_a_long_state_directory_has_a_control_socket(box, runtime):
    box.home = box.home / ("d" * 120)
    request, process = start(runtime, box, *FOREVER)
    other = runtime.connect(request.state_dir)
    other.signal(signal.SIGKILL)
    assert other.wait() == process.wait() == 137
    other.close()
    process.close()


@pytest.mark.parametrize("how", ["close", "exit"])
def test_die_with_client(box, runtime, how, tmp_path):
    if how == "close":
        _, process = start(runtime, box, *FOREVER, die_with_client=True)
        process.close()
        assert gone(process.pid)
        return
    request = box.request(*FOREVER, die_with_client=True)
    code = textwrap.dedent("""
        import os, sys, msgspec
        from contextkernel.model.container import LaunchRequest
        from contextkernel.model.ids import IdMap
        from contextkernel.runtime.client import NamespaceRuntime
        runtime = NamespaceRuntime(msgspec.json.decode(sys.argv[2], type=IdMap))
        process = runtime.launch(msgspec.json.decode(sys.argv[1], type=LaunchRequest))
        print(process.pid)
        sys.stdout.flush()
        os.kill(os.getpid(), 9)
    """)
    words = [msgspec.json.encode(request).decode(), msgspec.json.encode(box.idmap).decode()]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == -9
    assert gone(int(done.stdout))


def test_a_client_that_goes_leaves_the_log_complete(box, runtime, gate):
    read, write = os.pipe()
    script = "seq 1 20000; while ! test -e /gate/go; do sleep 0.01; done; echo end"
    request = box.request("sh", "-c", script, state=True, binds=(Bind(str(gate), "/gate"),))
    process = runtime.launch(request, stdout=write)
    os.close(write)
    os.read(read, 10)
    os.close(read)  # nobody will read the rest
    (gate / "go").touch()
    assert process.wait() == 0
    process.close()
    assert [line["log"] for line in log_of(request.state_dir)] == [f"{n}\n" for n in range(1, 20001)] + ["end\n"]


def test_a_slow_client_loses_nothing(box, runtime):
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    count = 400_000  # more than the monitor keeps for a client
    request = box.request("seq", "1", str(count), state=True)
    process = runtime.launch(request, stdout=write)
    os.close(write)
    assert process.wait(0.05) is None  # it waits for us
    collected = []

    def collect():
        with os.fdopen(read, "rb") as stream:
            collected.append(stream.read())

    reader = threading.Thread(target=collect)
    reader.start()
    assert process.wait() == 0
    reader.join()
    process.close()
    assert collected[0].split() == [b"%d" % n for n in range(1, count + 1)]
    assert len(log_of(request.state_dir)) == count


def test_output_and_state_are_complete_when_wait_returns(box, tmp_path):
    for number in range(5):
        path = tmp_path / f"out{number}"
        request = box.request("seq", "1", "5000", state=True)
        with path.open("wb") as file:
            process = box.runtime.launch(request, stdout=file.fileno())
        assert process.wait() == 0
        assert path.read_bytes().count(b"\n") == 5000
        assert box.runtime.state(request.state_dir).status == "exited"
        process.close()


def test_monitor_killed(box, runtime):
    request, process = start(runtime, box, *FOREVER)
    monitor = parent_of(process.pid)
    os.kill(monitor, signal.SIGKILL)
    assert gone(process.pid)
    assert process.wait() == 137
    process.close()
    state = state_told(runtime, request.state_dir, "dead")
    assert (state.exit_code, state.pid) == (137, 0)
    assert runtime.connect(request.state_dir) is None
    # and it can be started again
    request, process = start(runtime, box, *FOREVER, state_dir=request.state_dir)
    assert runtime.state(request.state_dir).status == "running"
    process.signal(signal.SIGKILL)
    assert process.wait() == 137
    process.close()


def test_killed_monitor_of_a_program_that_changed_its_user(box, runtime):
    # a change of ids makes the kernel forget to kill it with its monitor; a look at the state does it then
    argv = FOREVER if box.single else ("su", "bob", "-c", FOREVER[2])
    request, process = start(runtime, box, *argv)
    monitor = parent_of(process.pid)
    os.kill(monitor, signal.SIGKILL)
    assert gone(monitor)
    assert box.single or not gone(process.pid, 0)
    state_told(runtime, request.state_dir, "dead")
    assert gone(process.pid)
    process.close()


def test_launcher_killed(box, runtime):
    request, process = start(runtime, box, *FOREVER)
    os.kill(runtime._launcher, signal.SIGKILL)
    assert gone(runtime._launcher)
    assert runtime.state(request.state_dir).status == "running"
    assert run(runtime, box.request("sh", "-c", "exit 4")) == 4  # a new one is started
    process.signal(signal.SIGKILL)
    assert process.wait() == 137
    process.close()


def test_remove_after_the_exit(box, runtime):
    request = box.request("sh", "-c", "mkdir -p /a/b; echo x >/a/b/f; chmod 0 /a; mkdir /c; chmod 700 /c", state=True)
    directory = request.state_dir
    request = msgspec.structs.replace(request, remove=(directory,))
    process = runtime.launch(request)
    assert process.wait() == 0
    process.close()
    assert not os.path.exists(directory)
    assert runtime.state(directory).status == "created"


def test_background_processes_end_with_the_container(box, runtime, gate):
    script = "setsid sleep 1000 & echo up; while ! test -e /gate/go; do sleep 0.01; done"
    _, process = start(runtime, box, "sh", "-c", script, binds=(Bind(str(gate), "/gate"),))
    inside = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert inside
    (gate / "go").touch()
    assert process.wait() == 0
    process.close()
    assert all(gone(int(pid)) for pid in inside)


def test_nothing_is_left_after_a_failed_start(box, runtime, eventually):
    run(runtime, box.request("true"))
    launcher = runtime._launcher
    for argv, changes in (
        (("nope",), {}),
        (("true",), {"user": "nobody"}),
        (("true",), {"lowers": ("/no/such/layer",)}),
    ):
        with pytest.raises(LaunchFailed):
            runtime.launch(box.request(*argv, **changes))
    runtime.close()
    assert gone(launcher)
    assert str(box.home) not in Path("/proc/self/mounts").read_text()
    look = ["ps", "-eo", "args"]
    eventually(
        lambda: str(box.home) not in subprocess.run(look, capture_output=True, text=True, check=True).stdout,
        "the end of all processes",
    )


def test_setup_failure_names_the_step(box, runtime):
    with pytest.raises(LaunchFailed, match=r"MountOverlay.*no such file or directory") as caught:
        runtime.launch(box.request("true", lowers=("/no/such/layer",)))
    assert type(caught.value) is LaunchFailed
    assert caught.value.exit_code == 125


def test_launches_from_many_threads(box, runtime):
    codes: list[int | None] = []
    requests = [box.request("sh", "-c", f"exit {number}") for number in range(12)]
    threads = [
        threading.Thread(target=lambda request=request: codes.append(run(runtime, request))) for request in requests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == list(range(12))


def test_forked_launcher(box, tmp_path):
    request = box.request("sh", "-c", "ls /proc/self/fd | wc -l; exit 6")
    code = textwrap.dedent("""
        import sys, msgspec, os
        from contextkernel.model.container import LaunchRequest
        from contextkernel.model.ids import IdMap
        from contextkernel.runtime.client import NamespaceRuntime
        runtime = NamespaceRuntime(msgspec.json.decode(sys.argv[2], type=IdMap), fork=True)
        keep = open("/dev/null")
        os.set_inheritable(keep.fileno(), True)
        process = runtime.launch(msgspec.json.decode(sys.argv[1], type=LaunchRequest), stdout=1, stderr=2)
        assert open(f"/proc/{runtime._launcher}/comm").read() == "ck-launcher\\n"
        assert os.listdir(f"/proc/{runtime._launcher}/fd").__len__() == 4, os.listdir(f"/proc/{runtime._launcher}/fd")
        code = process.wait()
        runtime.close()
        sys.exit(code)
    """)
    words = [msgspec.json.encode(request).decode(), msgspec.json.encode(box.idmap).decode()]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (6, "4\n", "")


def test_refused_ids_are_the_hosts_fault(box):
    wrong = IdRange(0, 4_000_000_000, 10)
    runtime = NamespaceRuntime(IdMap((wrong,), (wrong,)))
    request = box.request("true")
    if os.geteuid() == 0:
        with pytest.raises(LaunchFailed, match="permission denied"):  # root may map any ids, but these own nothing
            runtime.launch(request)
    else:
        with pytest.raises(HostUnsupported, match="the id range cannot be mapped: newuidmap: "):
            runtime.launch(request)
    runtime.close()


def test_without_a_pid_namespace_of_its_own(box):
    """Where a new /proc is refused, the host's is shown, and what a container leaves running is killed all the same."""
    facts = msgspec.structs.replace(gather(box.idmap), proc="bind", sysfs="bind")
    runtime = NamespaceRuntime(box.idmap, facts=facts)
    read, write = os.pipe()
    script = "setsid sleep 1000 & echo $$ $!; readlink /proc/self/ns/pid; ls /sys/fs/cgroup | wc -l; exit 3"
    process = runtime.launch(box.request("sh", "-c", script), stdout=write)
    os.close(write)
    assert process.wait() == 3
    process.close()
    runtime.close()
    with os.fdopen(read) as stream:
        pids, namespace, hidden = stream.read().splitlines()
    first, second = map(int, pids.split())
    assert first == process.pid
    assert gone(second, 0)
    assert namespace == os.readlink("/proc/self/ns/pid")
    assert hidden == "0"


def test_interrupted_launch_leaves_nothing(box, monkeypatch):
    from contextkernel.runtime import client

    runtime = NamespaceRuntime(box.idmap)
    links = []

    def interrupted(link):
        links.append(original(link))
        raise KeyboardInterrupt

    original = client.await_start
    monkeypatch.setattr(client, "await_start", interrupted)
    request = box.request(*FOREVER, state=True)
    with pytest.raises(KeyboardInterrupt):
        runtime.launch(request)
    assert gone(links[0].pid)
    runtime.close()
