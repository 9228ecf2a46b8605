"""A full disk, files that cannot be read, processes that are gone: a clear message, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

import pytest

from contextkernel.engine import Engine
from contextkernel.errors import ContextKernelError, InvalidInput, NotFound, StoreFull, StoreProblem


def left_in(engine, name):
    """What is in a container's directory that its life does not explain."""
    directory = engine._store.container_dir(engine._containers.find(name).id)
    return [entry for entry in os.listdir(directory) if entry.startswith(("view-", "scratch-", "mount-"))]


def test_nothing_is_left_of_a_view(do, engine, tmp_path):
    (tmp_path / "f").touch()
    do("create", "--name", "box", "-v", "data:/data", "-v", "./f:/new/file", "plain", "true")
    for words in (
        ("cp", "f", "box:/tmp"), ("cp", "f", "box:/data/x"), ("cp", "box:/data", "."), ("cp", "box:/none", "."),
        ("cp", "f", "box:/none/x"), ("diff", "box"), ("export", "-o", "x.tar", "box"),
    ):  # fmt: skip
        do(*words)
    assert left_in(engine, "box") == []
    upper = f"{engine._store.container_dir(engine._containers.find('box').id)}/upper"
    assert not os.path.exists(f"{upper}/new")  # the place of a mount that was made for a moment
    assert do("diff", "box").out == "C /tmp\nA /tmp/f\n"


def test_an_archive_that_is_cut_or_none(do, engine, tmp_path):
    do("run", "-d", "--name", "box", "plain", "sleep", "1000")
    (tmp_path / "none").write_bytes(b"this is no archive\n" * 100)
    (tmp_path / "empty").touch()
    do("export", "-o", "whole.tar", "box")
    (tmp_path / "cut").write_bytes((tmp_path / "whole.tar").read_bytes()[:300_000])
    for name, problem in (("none", "tar"), ("cut", "ends in the middle"), ("empty", "")):
        with open(tmp_path / name, "rb") as stream:
            if problem:
                with pytest.raises(ContextKernelError, match=problem):
                    engine.copy("-", "box:/tmp", stdin=stream.fileno())
            else:
                engine.copy("-", "box:/tmp", stdin=stream.fileno())


@pytest.mark.rootless
def test_a_file_of_the_host_that_cannot_be_read(do, tmp_path):
    do("create", "--name", "box", "plain", "true")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "closed").touch(mode=0)
    told = do("cp", "dir", "box:/tmp")
    assert (told.code, "cannot read" in told.err, "permission denied" in told.err) == (1, True, True), told


@pytest.mark.rootless
def test_a_directory_of_the_host_that_cannot_be_written(do, tmp_path):
    do("create", "--name", "box", "plain", "true")
    (tmp_path / "closed").mkdir(mode=0o500)
    told = do("cp", "box:/etc/passwd", "closed")
    assert (told.code, "permission denied" in told.err) == (1, True), told


def test_whoever_takes_the_export_goes_away(engine, do):
    do("create", "--name", "box", "plain", "true")
    reader, end = os.pipe()
    os.close(reader)
    with pytest.raises(InvalidInput, match="cannot write"):
        engine.export("box", end)
    os.close(end)


def test_the_worker_is_killed_in_the_middle(do, engine):
    """The job fails, says so, and the next one works."""
    do("create", "--name", "box", "plain", "true")
    engine.diff("box")
    worker = engine._worker()
    pid = worker._helpers._main._pid
    reader, end = os.pipe()
    problems = []

    def export():
        try:
            engine.export("box", end)
        except ContextKernelError as problem:
            problems.append(problem)

    thread = threading.Thread(target=export)
    thread.start()
    os.read(reader, 1)  # it is at work, and will wait for the pipe
    os.kill(pid, signal.SIGKILL)
    thread.join()
    os.close(end)
    os.close(reader)
    assert isinstance(problems[0], StoreProblem)
    assert engine.diff("box") == ()
    do("rm", "box")


def test_a_volume_whose_directory_is_gone(do, engine):
    do("volume", "create", "data")
    os.rmdir(engine._store.volume_dir("data"))
    told = do("run", "--name", "box", "-v", "data:/v", "plain", "true")
    assert (told.code, "is gone" in told.err) == (125, True), told
    do("rm", "box")
    assert do("volume", "rm", "data").code == 0


def test_a_container_that_is_removed_meanwhile(do, engine):
    do("create", "--name", "box", "plain", "true")
    do("rm", "box")
    with pytest.raises(NotFound):
        engine.diff("box")


@pytest.mark.usefixtures("do")
def test_many_containers_fill_one_volume(engine):
    """All at once: each sees the image's files, whoever copied them."""
    told = []

    def one(number):
        told.append(engine.run("plain", ["cat", "/data/f"], name=f"box{number}", volumes=["data:/data"]).exit_code)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [0] * 8


def fill(engine):
    """Make containers with a volume of their own until the disk is full; how many there are."""
    for number in range(12):
        try:
            engine.create("big", ["true"], name=f"box{number}", volumes=[f"volume{number}:/data"])
        except (StoreFull, StoreProblem):
            return number
    raise AssertionError("the disk is not full")


@pytest.mark.root
def test_a_full_disk(tmp_path, engine):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(disk)], check=True)
    small = Engine(disk / "store")
    try:
        engine.save(["ck-base"], str(tmp_path / "base.tar"))
        small.load(str(tmp_path / "base.tar"))
        small.build(
            None, text="FROM ck-base\nRUN mkdir /data && head -c 8000000 /dev/urandom > /data/big\n", tags=["big"]
        )
        made = fill(small)
        assert made > 0
        assert {row.name for row in small.containers(all=True)} == {f"box{number}" for number in range(made)}
        assert {row.volume.name for row in small.volumes()} <= {f"volume{number}" for number in range(made + 1)}
        for number in range(made):
            small.remove_container(f"box{number}", volumes=True)
        small.prune_volumes(all=True)
        assert small.run("big", ["true"], remove=True).exit_code == 0
    finally:
        small.close()
        time.sleep(0.1)
        subprocess.run(["umount", "-l", str(disk)], check=True)
