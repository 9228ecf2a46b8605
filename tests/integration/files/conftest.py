"""An engine with a small base image and an image that has a directory to be a volume; a way to type commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from judge.base import write_base

from contextkernel.cli import main
from contextkernel.engine import Engine

IMAGE = """FROM ck-base
RUN mkdir -p /data/sub && echo hi > /data/f && chown 2:3 /data /data/f && chmod 2750 /data && ln -s f /data/l \
 && ln /data/f /data/hard && chmod 640 /data/f && echo x > /afile && mkdir /lnk && ln -s /data /lnk/d
COPY --chown=2:3 <<EOF /owned/f
owned
EOF
"""


class SharedEngine(Engine):
    """An engine that outlives a command."""

    def close(self) -> None:
        return

    def end(self) -> None:
        super().close()


class Told(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


Command = Callable[..., Told]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedEngine]:
    """With images ``ck-base``, ``plain`` (files in /data) and ``vol`` (the same, and VOLUME /data)."""
    folder = tmp_path_factory.mktemp("files")
    write_base(folder / "base.tar")
    shared = SharedEngine(folder / "store")
    try:
        shared.import_image(str(folder / "base.tar"), "ck-base")
        shared.build(None, text=IMAGE, tags=["plain"])
        shared.build(None, text="FROM plain\nVOLUME /data\n", tags=["vol"])
        yield shared
    finally:
        for row in shared.containers(all=True):
            shared.remove_container(row.id, force=True, volumes=True)
        # files of ids that are the container's users' can be removed with these ids alone
        shared._worker().remove([f"{shared._store.root}/{name}" for name in ("layers", "volumes", "containers")])
        shared.end()


@pytest.fixture
def do(
    engine: SharedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Type a command in an empty folder; afterwards no container and no volume is left, and the store is well."""
    monkeypatch.chdir(tmp_path)

    def typed(*words: str) -> Told:
        capfd.readouterr()
        code = main(words, make_engine=lambda _root: engine)
        return Told(code, *capfd.readouterr())

    yield typed
    for row in engine.containers(all=True):
        engine.remove_container(row.id, force=True, volumes=True)
    engine.prune_volumes(all=True)
    assert engine.check_store() == ()


@pytest.fixture
def sh(do: Command) -> Callable[..., str]:
    """Run a script in a new container: ``sh(script, *options, image=...)``; its output, and it must succeed."""

    def run(script: str, *options: str, image: str = "plain") -> str:
        told = do("run", "--rm", *options, image, "sh", "-c", script)
        assert told.code == 0, told
        return told.out

    return run


@pytest.fixture
def single(engine: SharedEngine) -> bool:
    """Whether this host maps a single id, so that all files have one owner."""
    return engine._idmap.single
