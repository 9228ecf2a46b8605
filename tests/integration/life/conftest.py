"""An engine with an image of a static busybox, and waiting for what takes its time."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contextkernel import Engine

IMAGE = "lively"
BUSYBOX = "/bin/busybox"
PATIENCE = 60.0  # seconds; nothing is measured


def _archive(path: Path) -> None:
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    with tarfile.open(path, "w") as tar:
        for directory in ("bin", "tmp", "etc", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(entry)
        for name, text in (("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"), ("etc/group", "root:x:0:\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
        tar.add(BUSYBOX, "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the store."""
    return tmp_path_factory.mktemp("life")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    """One for the tests of a module."""
    if not shutil.which("busybox"):
        pytest.skip("busybox is not installed")
    _archive(folder / "image.tar")
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
