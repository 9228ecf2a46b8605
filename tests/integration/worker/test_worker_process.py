"""The worker as a process: start, restart, several jobs at once, errors across, interrupts."""

from __future__ import annotations

import os
import signal
import tarfile
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from contextkernel import errors
from contextkernel.errors import InvalidArchive, ProtocolViolation, StoreFull, StoreProblem, SyscallFailed
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.layers import CopyItem, CopyRequest
from contextkernel.store import worker_messages as messages
from contextkernel.store.streaming import StreamedUnpack
from contextkernel.store.worker_client import LayerWorkerClient
from contextkernel.store.worker_pool import Helpers
from tests.integration.worker.conftest import Bench, archive, idmap


def fresh(kind: str) -> LayerWorkerClient:
    found = idmap(kind)
    assert found is not None
    return LayerWorkerClient(found)


def children() -> set[int]:
    tasks = Path(f"/proc/{os.getpid()}/task")
    return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}


def feed(pipe: int, *, number: int, folders: int) -> None:
    """Write an archive's files, and not its end."""
    for one in range(number):
        os.write(pipe, tarfile.TarInfo(f"d{one % folders}/f{one}").tobuf(tarfile.USTAR_FORMAT))


def test_it_starts_when_it_is_needed_and_ends_when_it_is_closed(ids: str, tmp_path: Path) -> None:
    before = children()
    client = fresh(ids)
    client.remove([])
    assert children() == before
    client.remove([str(tmp_path / "nothing")])
    (pid,) = children() - before
    client.close()
    client.close()
    assert not Path(f"/proc/{pid}").exists()
    client.remove([str(tmp_path / "nothing")])
    assert len(children() - before) == 1
    client.close()


def test_a_killed_worker_is_replaced(ids: str, tmp_path: Path) -> None:
    before = children()
    client = fresh(ids)
    client.remove([str(tmp_path / "x")])
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(StoreProblem, match="ended in the middle"):
        client.remove([str(tmp_path / "x")])
    client.remove([str(tmp_path / "x")])
    client.close()


def test_jobs_of_several_threads_run_side_by_side(bench: Bench) -> None:
    layers = []
    for number in range(8):
        layer = bench.layer()
        for name in range(50):
            (layer / "diff" / f"f{name}").write_text(f"{number}-{name}")
        layers.append(layer)
    with ThreadPoolExecutor(8) as pool:
        facts = list(pool.map(lambda layer: bench.worker.commit(str(layer)), layers))
    assert [bench.worker.commit(str(layer)) for layer in layers] == facts
    assert len({one.diff_id for one in facts}) == 8


def test_large_jobs_get_processes_of_their_own_while_there_are_several(ids: str) -> None:
    found = idmap(ids)
    assert found is not None
    before = children()
    helpers = Helpers(messages.Start(found), most=2)
    try:
        with helpers.spread() as first:
            assert first is helpers.main()
            with helpers.spread() as second, helpers.spread() as third:
                assert second is not first
                assert third in (first, second)  # no more than two
                assert len(children() - before) == 2
            with helpers.spread() as again:
                assert again is second
        assert len(children() - before) == 1
        assert helpers.main() is first
    finally:
        helpers.close()
    assert children() == before


def test_a_further_process_that_was_killed_leaves_nothing(ids: str, tmp_path: Path) -> None:
    found = idmap(ids)
    assert found is not None
    before = children()
    helpers = Helpers(messages.Start(found), most=2)
    try:
        with helpers.spread():
            (main,) = children() - before
            with helpers.spread() as second:
                (pid,) = children() - before - {main}
                os.kill(pid, signal.SIGKILL)
                with pytest.raises(StoreProblem):
                    second.run(messages.Remove(id=1, paths=(str(tmp_path / "nothing"),)), ())
            with helpers.spread() as another:
                assert another is not second
                assert len(children() - before) == 2
                assert pid not in children()
    finally:
        helpers.close()
    assert children() == before


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_file_takes_no_memory(ids: str, packed: bool, tmp_path: Path) -> None:
    """The packed form is a small bomb: 300 KB that become 64 MB."""
    before = children()
    client = fresh(ids)
    client.remove([str(tmp_path / "x")])
    (pid,) = children() - before
    base = Path(tempfile.mkdtemp(prefix="contextkernel-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    base.chmod(0o755)
    (base / "layer" / "diff").mkdir(parents=True)
    info = tarfile.TarInfo("large")
    info.size = 64 << 20
    block = bytes(1 << 20)
    try:
        with StreamedUnpack(client, str(base / "layer")) as unpacking:
            squeezer = zlib.compressobj(1, wbits=31) if packed else None
            for part in (info.tobuf(tarfile.USTAR_FORMAT), *([block] * 64), bytes(1024)):
                unpacking.write(squeezer.compress(part) if squeezer else part)
            unpacking.write(squeezer.flush() if squeezer else b"")
            assert unpacking.finish().size == 64 << 20
        status = Path(f"/proc/{pid}/status").read_text()
        (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
        assert peak < 64 << 10  # kB
    finally:
        client.remove([str(base)])
        client.close()


def test_a_sender_that_is_silent_holds_up_nobody_and_its_job_can_be_given_up(bench: Bench) -> None:
    """More of them than the worker has threads."""
    pipes = [os.pipe() for _ in range(8)]
    layers = [bench.layer() for _ in pipes]
    with ThreadPoolExecutor(len(pipes)) as pool:
        threads: list[int] = []

        def unpack(reading: int, layer: Path) -> None:
            threads.append(threading.get_ident())
            bench.worker.unpack(reading, str(layer))

        waiting = [pool.submit(unpack, pipe[0], layer) for pipe, layer in zip(pipes, layers, strict=True)]
        assert bench.base(f=b"1")  # others get on
        while wait(waiting, timeout=0.02).not_done:
            for thread in threads:
                bench.worker.cancel(thread)
        assert all(isinstance(one.exception(), errors.ContextKernelError) for one in waiting)
    for pipe in pipes:
        os.close(pipe[0])
        os.close(pipe[1])


def test_errors_arrive_as_what_they_are(bench: Bench) -> None:
    with pytest.raises(InvalidArchive, match="not a tar archive"):
        bench.unpack(b"x" * 2000)
    with pytest.raises(SyscallFailed) as caught:
        bench.worker.commit(str(bench.root / "missing"))
    assert caught.value.number == 2
    bench.unpack(archive(f=b"1"))  # and the worker goes on


def test_a_relative_path_is_taken_from_here_and_not_from_the_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.root)
    (bench.root / "junk").mkdir()
    bench.worker.remove(["junk"])
    assert not (bench.root / "junk").exists()


def test_an_interrupted_call_has_its_job_stopped_before_it_returns(bench: Bench) -> None:
    # a job that cannot finish: unpacking from a pipe that is not fed to the end
    reading, writing = os.pipe()
    layer = bench.layer()
    target = layer / "diff" / "d0"
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        feed(writing, number=2000, folders=50)
        while not target.exists():
            time.sleep(0.001)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        bench.worker.unpack(reading, str(layer))
    thread.join()
    os.close(reading)
    os.close(writing)
    assert not (layer / "index").exists()
    bench.worker.remove([str(layer)])  # nobody works there any more
    assert not layer.exists()


def test_an_id_map_that_is_not_allowed_is_reported_at_the_first_call(tmp_path: Path) -> None:
    before = children()
    client = LayerWorkerClient(IdMap((IdRange(0, os.geteuid(), 0),), (IdRange(0, os.getegid(), 1),)))
    with pytest.raises((SyscallFailed, errors.HostUnsupported)):
        client.remove([str(tmp_path / "x")])
    assert children() == before


def test_every_error_of_the_tree_survives_the_trip() -> None:
    for error in (
        InvalidArchive("bad", hint="mend it"),
        errors.SourceNotFound("none"),
        errors.HostUnsupported("no", hint="why"),
        SyscallFailed("mount", 22, "/x", "because"),
    ):
        back = messages.to_error(messages.to_problem(error))
        assert type(back) is type(error)
        assert str(back) == str(error)
    assert isinstance(messages.to_error(messages.to_problem(OSError(28, "full", "/x"))), StoreFull)
    assert isinstance(messages.to_error(messages.to_problem(SyscallFailed("write", 28))), StoreFull)
    assert "KeyError" in str(messages.to_error(messages.to_problem(KeyError("x"))))


def test_messages_carry_names_of_any_bytes() -> None:
    name = os.fsdecode(b"\xff/\xc3\xa4")
    request = CopyRequest(
        lowers=(), upper=name, work="w", destination="/", items=(CopyItem(source=name, data=b"\xff"),)
    )
    message = messages.Copy(id=3, request=request)
    assert messages.decode(messages.encode(message), messages.Request) == message


def test_an_unexpected_message_is_a_protocol_violation() -> None:
    with pytest.raises(ProtocolViolation):
        messages.decode(messages.encode(messages.Ready()), messages.Request)
    with pytest.raises(ProtocolViolation):
        messages.decode(b"\xc1", messages.Request)


def test_a_layer_cut_off_by_a_kill_is_safe_to_remove(ids: str, bench: Bench) -> None:
    before = children()
    client = fresh(ids)
    client.remove([str(bench.root / "x")])
    (pid,) = children() - before
    layer = bench.layer()
    reading, writing = os.pipe()  # which is not fed to the end

    def kill() -> None:
        feed(writing, number=1000, folders=1)
        while not (layer / "diff" / "d0" / "f10").exists():
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(StoreProblem, match="ended in the middle"):
        client.unpack(reading, str(layer))
    thread.join()
    os.close(reading)
    os.close(writing)
    assert not (layer / "index").exists()
    client.remove([str(layer)])
    assert not layer.exists()
    client.close()
