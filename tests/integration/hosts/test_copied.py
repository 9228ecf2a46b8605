"""Hosts without overlay: builds and containers on copied trees, beside the same on overlays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from contextkernel import Engine
from contextkernel.build.hostfiles import write_root
from contextkernel.errors import StepFailed, StoreFull
from contextkernel.layer.index import unpack_index
from contextkernel.model.backing import VARIABLE
from contextkernel.model.layers import Entry

MANY = 3_000
STAGES = """\
FROM base AS tools
RUN mkdir -p /opt/tool/bin && echo '#!/bin/sh' > /opt/tool/bin/run && chmod 755 /opt/tool/bin/run && rm -rf /var
COPY --chown=7:8 . /opt/data/
RUN rm /opt/data/file && echo again > /opt/tool/bin/new && ln /opt/tool/bin/new /opt/tool/bin/again && \
    mv /opt/data /srv/data && chmod 700 /root
FROM base AS left
RUN echo left > /left
FROM base AS right
RUN echo right > /right
FROM tools
WORKDIR /work/deep
RUN --mount=type=bind,from=left,target=/l --mount=type=bind,from=tools,target=/t,rw --mount=target=/c \
    cat /l/left /c/file > seen && echo more >> /t/opt/tool/bin/run && ls /t/srv/data > tools
COPY --from=right /right /srv/
COPY --from=tools /opt/tool/ /srv/
RUN test ! -e /var && test ! -e /l/left && cat /opt/tool/bin/run >> seen && rm -r /opt/tool && mkdir /opt/tool
"""
BUILD = "import sys; from contextkernel import Engine; Engine(sys.argv[1]).build(sys.argv[2], text=sys.argv[3])"


def fresh(root: Path) -> Engine:
    engine = Engine(root / "store")
    write_root(str(root / "base.tar"), "base")
    engine.import_image(str(root / "base.tar"), "base")
    return engine


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv(VARIABLE, "copy")
    with fresh(tmp_path) as made:
        yield made
        assert trees(tmp_path) == []
        made.check_store(repair=True)


@pytest.fixture
def context(tmp_path: Path) -> str:
    folder = tmp_path / "context"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("from the context\n")
    (folder / "sub/other").write_text("other\n")
    return str(folder)


def trees(root: Path) -> list[str]:
    """Trees of build steps that are still there."""
    return sorted(str(path) for path in (root / "store/layers").glob("*/tree*"))


def layers(engine: Engine, image: str) -> list[list[Entry]]:
    """Rows of all layers of an image, without times."""
    found = engine._store.layers_of(engine._store.resolve(image))
    return [
        [msgspec.structs.replace(row, mtime=0) for row in unpack_index(Path(layer.index).read_bytes())]
        for layer in found
    ]


def test_a_build_comes_to_the_same_layers(
    engine: Engine, context: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.build(context, text=STAGES, tags=["made"], no_cache=True)
    copied = layers(engine, "made")
    monkeypatch.setenv(VARIABLE, "overlay")
    with fresh(tmp_path_factory.mktemp("overlay")) as other:
        other.build(context, text=STAGES, tags=["made"], no_cache=True)
        assert copied == layers(other, "made")
        other.check_store(repair=True)
    assert {row.path for row in copied[-1]} >= {"work/deep/seen", "opt/tool"}


def test_a_container_from_its_making_to_its_end(engine: Engine, tmp_path: Path) -> None:
    engine.create("base", ["sh", "-c", "echo late >> /made; rm -f /etc/passwd; cat /made"], name="one")
    (tmp_path / "made").write_text("early\n")
    engine.copy(str(tmp_path / "made"), "one:/made")
    assert engine.start("one", attach=True).stdout == b"early\nlate\n"
    assert [(one.kind, one.path) for one in engine.diff("one")] == [
        ("C", "/etc"),
        ("D", "/etc/passwd"),
        ("A", "/made"),
    ]
    document = engine.inspect(["one"])[0]
    assert document["ContextKernel"]["Backing"] == "copy"
    assert document["GraphDriver"] == {"Data": None, "Name": "vfs"}
    assert engine.container_sizes("one")[0] == len("early\nlate\n")
    engine.commit("one", "kept")
    assert engine.run("kept", ["cat", "/made"], remove=True).stdout == b"early\nlate\n"
    engine.export("one", str(tmp_path / "all.tar"))
    with tarfile.open(tmp_path / "all.tar") as archive:
        assert "made" in archive.getnames()
        assert "etc/passwd" not in archive.getnames()
    engine.remove_container("one")
    assert os.listdir(tmp_path / "store/containers") == []


def test_a_host_that_gets_overlay_and_loses_it_again(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made one way can be used the other way: images, and containers with their changes."""
    engine.build(
        str(tmp_path), text="FROM base\nRUN rm -r /root /etc/passwd && mkdir /root && echo 1 > /one", tags=["a"]
    )
    engine.run("a", ["sh", "-c", "echo copied > /copied; rm /one"], name="copied")
    engine.close()
    monkeypatch.setenv(VARIABLE, "overlay")
    with Engine(tmp_path / "store") as other:
        other.build(str(tmp_path), text="FROM a\nRUN test ! -e /etc/passwd && rm /one && echo 2 > /two", tags=["b"])
        other.run("b", ["sh", "-c", "test ! -e /one && echo laid > /laid; rm /two"], name="laid")
        assert other.start("copied", attach=True).exit_code == 1  # rm: it is gone already
        assert ("A", "/copied") in [(one.kind, one.path) for one in other.diff("copied")]
    monkeypatch.setenv(VARIABLE, "copy")
    with Engine(tmp_path / "store") as again:
        assert [(one.kind, one.path) for one in again.diff("laid")] == [("A", "/laid"), ("D", "/two")]
        script = "test ! -e /one && test ! -e /two && cat /laid"
        again.commit("laid", "c")
        assert again.run("c", ["sh", "-c", script], remove=True).stdout == b"laid\n"
        again.start("laid", attach=True)
        assert [(one.kind, one.path) for one in again.diff("laid")] == [("A", "/laid"), ("D", "/two")]
        for name in ("laid", "copied"):
            again.remove_container(name)


def test_a_step_that_failed_can_be_looked_at(engine: Engine, context: str) -> None:
    text = "FROM base\nRUN echo 1 > /one\nRUN --mount=target=/c rm /one && echo 2 > /two && false"
    with pytest.raises(StepFailed) as caught:
        engine.build(context, text=text)
    assert caught.value.kept
    assert engine.debug(["sh", "-c", "test ! -e /one && cat /two"]).stdout == b"2\n"
    assert engine.debug(["cat", "/one"], before=True).stdout == b"1\n"
    assert engine.debug(["cat", "/c/file"]).stdout == b"from the context\n"


def base_of_many(root: Path) -> None:
    """A base image of two layers with many files."""
    folder = root / "many"
    for number in range(MANY):
        if number % 100 == 0:
            (folder / str(number // 100)).mkdir(parents=True)
        (folder / str(number // 100) / str(number)).write_text(str(number))


def test_a_build_that_is_killed_in_the_middle_of_its_copy(engine: Engine, tmp_path: Path) -> None:
    base_of_many(tmp_path)
    engine.build(str(tmp_path / "many"), text="FROM base\nCOPY . /many/", tags=["many"])
    text = "FROM many\nRUN rm -r /many/7 && echo 1 > /many/8/800"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", BUILD, str(tmp_path / "store"), str(tmp_path / "many"), text]
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "store/layers").glob("*/tree/many")):
        assert time.monotonic() < deadline, "no tree is made"
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    engine.close()
    with Engine(tmp_path / "store") as again:
        again.build(str(tmp_path / "many"), text=text, tags=["done"])
        rows = layers(again, "done")[-1]
        assert [(row.kind, row.path) for row in rows] == [
            ("dir", "many"),
            ("whiteout", "many/7"),
            ("dir", "many/8"),
            ("file", "many/8/800"),
        ]
        assert trees(tmp_path) == []  # the tree of the one that was killed is gone too


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.root
def test_a_disk_that_fills_up_in_the_middle_of_the_copy(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "copy")
    (small / "context").mkdir()
    (small / "context/large").write_bytes(os.urandom(6 << 20))
    with fresh(small) as engine:
        engine.build(str(small / "context"), text="FROM base\nCOPY large /", tags=["large"])
        (small / "context/large").unlink()
        (small / "ballast").write_bytes(b"x" * (os.statvfs(small).f_bavail * 4096 - (4 << 20)))
        with pytest.raises(StoreFull, match="no space left"):
            engine.build(str(small / "context"), text="FROM large\nRUN true")
        with pytest.raises(StoreFull, match="no space left"):
            engine.run("large", ["true"], name="full")
        engine.remove_container("full")
        assert trees(small) == []
        (small / "ballast").unlink()
        assert engine.run("large", ["ls", "/large"], remove=True).stdout == b"/large\n"


@pytest.mark.root
def test_as_an_ordinary_user(run_as_user: Callable[..., str]) -> None:
    run_as_user("hosts/copied", which="not ordinary and not fills_up")


@pytest.mark.root
def test_mounts_of_build_steps_as_an_ordinary_user(run_as_user: Callable[..., str]) -> None:
    run_as_user("build/run", settings=(f"{VARIABLE}=copy",), which="binds or writable or cache or points")


@pytest.mark.root
def test_a_store_on_an_overlay_as_an_ordinary_user(user: str) -> None:
    """As in the home of a pod: no upper directory there, and no device 0:0 for what is removed."""
    place = Path(tempfile.mkdtemp(prefix="contextkernel-", dir="/var/tmp"))
    place.chmod(0o755)
    try:
        for name in ("lower", "upper", "work", "home"):
            (place / name).mkdir()
        shutil.chown(place / "upper", user)
        layers = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={place}/home/pytest"]
        command = ["runuser", "-u", user, "--", "env", f"HOME={place}/home", "PYTHONDONTWRITEBYTECODE=1", *tests]
        script = f'mount -t overlay overlay -o {layers} {place}/home && exec "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", *command, __file__, "-k", "its_making or looked_at"],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        assert "2 passed" in done.stdout
    finally:
        shutil.rmtree(place, ignore_errors=True)
