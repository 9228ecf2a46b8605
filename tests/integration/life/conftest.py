"""An engine with an image of a static busybox, and waiting for what takes its time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from judge.base import write_base

from contextkernel import Engine

IMAGE = "lively"
PATIENCE = 60.0  # seconds; nothing is measured


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the store."""
    return tmp_path_factory.mktemp("life")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    """One for the tests of a module."""
    if not shutil.which("busybox"):
        pytest.skip("busybox is not installed")
    write_base(folder / "image.tar")
    with Engine(folder / "store") as made:
        made.import_image(str(folder / "image.tar"), IMAGE)
        yield made
        for row in made.containers(all=True):
            made.remove_container(row.id, force=True)


class Here:
    """Containers of one engine, without a network of their own: starting them costs nobody else time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def start(self, name: str, script: str, **wanted: Any) -> str:
        """A detached container that runs a line of shell."""
        started = self.engine.run(IMAGE, ["sh", "-c", script], name=name, detach=True, network="none", **wanted)
        assert isinstance(started, str)
        return started

    def document(self, name: str) -> dict[str, Any]:
        return self.engine.inspect([name])[0]

    def state(self, name: str) -> str:
        return str(self.document(name)["State"]["Status"])

    def output(self, name: str, **how: Any) -> str:
        return b"".join(line for _, line in self.engine.logs(name, **how)).decode()

    def told(self, identity: str) -> list[str]:
        """What was told of a container, but for the runs of its health checks."""
        events = self.engine.events(since="1h", until="0s", filters={"type": ["container"], "container": [identity]})
        return [event.action for event in events if not event.action.startswith("exec_")]

    def until(self, true: Callable[[], object]) -> None:
        """Wait for something that is sure to come."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def here(engine: Engine) -> Here:
    return Here(engine)
