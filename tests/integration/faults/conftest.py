"""An engine with one small image, and a count of all that containers could leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from judge.base import write_base

from contextkernel import Engine

BUSYBOX = "/bin/busybox"
PATIENCE = 60.0  # seconds until what takes its time is called a hang
IMAGE = "faulty"


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs a static busybox")
    path = tmp_path_factory.mktemp("image") / "base.tar"
    write_base(path)
    return path


class Census:
    """Counts what belongs to one store: others may work on this machine at the same time.

    Args:
        root: the store.
        mark: in the environment of every helper process of the test.
    """

    def __init__(self, root: str, mark: str) -> None:
        self._root = root
        self._mark = mark.encode()
        self._links: set[str] = set()

    def processes(self) -> list[str]:
        """Helpers carry the mark; monitors have or name files of the store; programs have a mount of it."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            if int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                told = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if self._mark in entry.joinpath("environ").read_bytes() or self._root in told or self._uses(entry):
                    state = entry.joinpath("stat").read_text().rpartition(")")[2].split()[0]
                    found.append(f"{entry.name} {state} {told}")
        return found

    def _uses(self, process: Path) -> bool:
        with contextlib.suppress(OSError):
            if self._root in process.joinpath("mountinfo").read_text():
                return True
        with contextlib.suppress(OSError):
            for link in process.joinpath("fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(link).startswith(self._root):
                        return True
        return False

    def mounts(self) -> list[str]:
        """Of the store, in this process's own mount namespace; those of others count as their processes."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if f"{self._root}/" in line]

    def _networks(self) -> set[str]:
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{self._root}/meta.db?mode=ro", uri=True)) as database,
        ):
            return {f"ck-{identity[:12]}" for (identity,) in database.execute("SELECT id FROM networks")}
        return set()

    def links(self) -> set[str]:
        """Bridges of the store's networks, and what is on them."""
        bridges = self._networks()
        for name in os.listdir("/sys/class/net"):
            with contextlib.suppress(OSError):
                master = f"/sys/class/net/{name}/master"
                if name in bridges or os.path.basename(os.readlink(master)) in bridges:
                    self._links.add(name)
        return self._links & set(os.listdir("/sys/class/net"))

    def addresses(self) -> list[str]:
        """Of those bridges, as the routes that the kernel keeps for them."""
        bridges = self._networks()
        lines = Path("/proc/net/route").read_text().splitlines()
        return [line for line in lines if line.split("\t")[0] in bridges]

    def containers(self) -> set[str]:
        """Ids of all there have ever been."""
        found = set()
        for log in Path(self._root, "events").glob("log*"):
            for line in log.read_text().splitlines():
                with contextlib.suppress(ValueError, KeyError):
                    event = json.loads(line)
                    if event["type"] == "container":
                        found.add(event["id"])
        return found

    def cgroups(self) -> list[str]:
        """Groups that are named after one of the containers."""
        ids = self.containers()
        return [path for path, names, _ in os.walk("/sys/fs/cgroup") for name in names if name in ids]

    def count(self) -> dict[str, object]:
        """All of it."""
        return {
            "processes": self.processes(),
            "mounts": self.mounts(),
            "links": self.links(),
            "addresses": self.addresses(),
            "cgroups": self.cgroups(),
        }


@pytest.fixture
def census(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Census:
    """Of the store of this test; nothing is there before."""
    mark = f"CONTEXTKERNEL_TEST_{os.getpid()}_{tmp_path.name}"
    monkeypatch.setenv("CONTEXTKERNEL_TEST_MARK", mark)
    monkeypatch.setenv("CONTEXTKERNEL_NETWORK_LINGER", "0.2")
    made = Census(str(tmp_path / "store"), mark)
    assert not any(made.count().values())
    return made


@pytest.fixture
def engine(tmp_path: Path, archive: Path, census: Census) -> Iterator[Engine]:
    """After the test its containers are removed, and then nothing may be left of them."""
    with Engine(str(tmp_path / "store")) as made:
        made.import_image(str(archive), IMAGE)
        yield made
        for row in made.containers(all=True):
            made.remove_container(row.id, force=True)
    deadline = time.monotonic() + PATIENCE
    while any((left := census.count()).values()):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
