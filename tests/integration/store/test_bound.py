"""CONTEXTKERNEL_MAX_SIZE with real containers: what outgrows its room is stopped, and everything else goes on."""

from __future__ import annotations

import os

import pytest

from contextkernel.engine import Engine
from contextkernel.errors import StoreFull
from contextkernel.model.events import StepOutput

FILL = "dd if=/dev/zero of=/fill bs=1M count=300 2>/dev/null; sleep 30; echo end"


@pytest.fixture
def engine(tmp_path, monkeypatch):
    from judge.base import write_base

    write_base(tmp_path / "base.tar")
    with Engine(tmp_path / "store") as engine:
        engine.import_image(str(tmp_path / "base.tar"), "base")
        monkeypatch.setenv("CONTEXTKERNEL_MAX_SIZE", "50MB")
        yield engine


def left(engine):
    """Layer directories and temporary files that nothing knows of."""
    known = {row[0] for row in engine._store._database.all("SELECT directory FROM layers")}
    return sorted({*os.listdir(f"{engine.root}/layers"), *os.listdir(f"{engine.root}/tmp")} - known)


def test_a_step_that_outgrows_its_room_is_stopped(engine, monkeypatch):
    said = []

    def report(event):
        if isinstance(event, StepOutput):
            said.append(event.text)

    text = f"FROM base\nRUN head -c 20000000 /dev/zero > /old\nRUN {FILL}\n"
    with pytest.raises(StoreFull, match=r"may take 50MB .*work in progress") as caught:
        engine.build({"Dockerfile": text}, report=report)
    assert "system prune" in caught.value.hint
    assert caught.value.span.line == 3
    assert "end" not in "".join(said)
    assert left(engine) == []
    # what came before stays cached, until its room is needed by something that fits without it
    assert [row.size for row in engine.build_cache()] == [20000000]
    told = []
    engine.on_warning = told.append
    engine.build({"Dockerfile": "FROM base\nRUN head -c 40000000 /dev/zero > /new\n"}, tags=["new"])
    assert told == ["20MB of build cache that nothing uses was removed: the store was nearly full"]
    monkeypatch.setenv("CONTEXTKERNEL_MAX_SIZE", "200MB")  # where there is no overlay a container is a copy
    assert engine.run("new", ["sh", "-c", "wc -c < /new"], remove=True, network="none").stdout == b"40000000\n"


def test_a_container_that_outgrows_its_room_is_killed(engine):
    told = []
    engine.on_warning = told.append
    done = engine.run("base", ["sh", "-c", FILL], name="big", network="none")
    assert done.exit_code == 137
    assert done.stdout == b""
    [warning] = told
    assert warning.startswith("container big was killed: it has written ")
    assert "system prune" in warning
    (document,) = engine.inspect(["big"], "container")
    assert document["State"]["Error"].startswith("killed: it has written ")
    with pytest.raises(StoreFull, match="containers"):  # as long as it keeps what it has written
        engine.run("base", ["true"], remove=True, network="none")
    engine.remove_container("big")
    assert engine.run("base", ["true"], remove=True, network="none").exit_code == 0


@pytest.mark.parametrize("files", [1, 20])
def test_what_is_unpacked_is_stopped_on_its_way(engine, tmp_path, monkeypatch, files):
    """By the layer worker: nobody looks at the end here."""
    import gzip
    import io
    import tarfile

    monkeypatch.setattr(engine._store.bound, "admit", lambda *_, **__: None)
    size = (200 << 20) // files
    with gzip.open(tmp_path / "zeros.tar.gz", "wb", 1) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for number in range(files):
            info = tarfile.TarInfo(f"file-{number}")
            info.size = size
            archive.addfile(info, io.BytesIO(bytes(size)))
    with pytest.raises(StoreFull, match="may take 50MB"):
        engine.import_image(str(tmp_path / "zeros.tar.gz"), "zeros")
    assert [row.repository for row in engine.images()] == ["base"]
    assert left(engine) == []


def test_a_commit_that_does_not_fit_changes_nothing(engine):
    engine.run("base", ["sh", "-c", "head -c 30000000 /dev/urandom > /file"], name="made", network="none")
    with pytest.raises(StoreFull):
        engine.commit("made", "image")
    assert [row.repository for row in engine.images()] == ["base"]
    assert left(engine) == []
    engine.remove_container("made")
