"""An engine with one small image, and a count of what networks leave behind."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contextkernel import Engine

BUSYBOX = "/bin/busybox"
APPLETS = (
    "cat cut echo false grep head hostname httpd ifconfig ip kill ls nc nslookup ping ping6 readlink sh sleep sort tail"
    " touch true udhcpc wget wc"
)
PATIENCE = 60.0


def _archive(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for applet in APPLETS.split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in (
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/group", "root:x:0:root\n"),
            ("www/index.html", "hello from the web\n"),
        ):
            data = text.encode()
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(data), 0o644
            tar.addfile(file, io.BytesIO(data))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs a static busybox")
    path = tmp_path_factory.mktemp("image") / "base.tar"
    _archive(path)
    return path


@pytest.fixture(autouse=True)
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_NETWORK_LINGER", "0.2")


@pytest.fixture
def engine(tmp_path: Path, archive: Path, nothing_left: Callable[[str], None]) -> Iterator[Engine]:
    """Containers that a test has left are removed; then nothing may be left of their networks."""
    root = str(tmp_path / "store")
    with Engine(root) as made:
        made.import_image(str(archive), "box")
        yield made
        for row in made.containers(all=True):
            made.remove_container(row.id, force=True)
    nothing_left(root)


def bridges_of(root: str) -> set[str]:
    """Names that the bridges of a store's networks have; others may work on this machine at the same time."""
    with contextlib.closing(sqlite3.connect(f"file:{root}/meta.db?mode=ro", uri=True)) as database:
        return {f"ck-{identity[:12]}" for (identity,) in database.execute("SELECT id FROM networks")}


def links_of(bridges: set[str]) -> set[str]:
    """Those bridges that are there, and the links on them."""
    found = set()
    for name in os.listdir("/sys/class/net"):
        master = f"/sys/class/net/{name}/master"
        with contextlib.suppress(OSError):
            if name in bridges or (os.path.islink(master) and os.path.basename(os.readlink(master)) in bridges):
                found.add(name)
    return found


@pytest.fixture
def links(engine: Engine) -> Callable[[], set[str]]:
    """Names of the bridges and links of the engine's networks that are there now."""
    bridges = bridges_of(engine.root)

    def look() -> set[str]:
        bridges.update(bridges_of(engine.root))
        return links_of(bridges)

    return look


def rules_of(bridges: set[str]) -> set[str]:
    """Packet filter rules about them, in tables of ours or of others; only root sees them."""
    if os.geteuid() or not shutil.which("nft"):
        return set()
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=False)
    return {line.strip() for line in done.stdout.splitlines() if any(bridge in line for bridge in bridges)}


def processes(root: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if root in words:
            found.append(words)
    return found


@pytest.fixture
def nothing_left() -> Callable[[str], None]:
    """Checks that nothing of a store's networks is left, once its containers are gone."""

    def check(root: str) -> None:
        bridges = bridges_of(root)
        mine = links_of(bridges)
        deadline = time.monotonic() + PATIENCE
        while True:
            left = mine & set(os.listdir("/sys/class/net")) | links_of(bridges), rules_of(bridges), processes(root)
            if not any(left):
                break
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        assert not os.path.exists(f"{root}/network/log"), Path(f"{root}/network/log").read_text()
        assert not os.path.exists(f"{root}/network/made.json")

    return check


@pytest.fixture
def patience() -> float:
    return PATIENCE


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line, on a store."""

    def call(root: str, *words: str) -> subprocess.CompletedProcess[str]:
        program = "import sys; from contextkernel.cli import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", program, "--root", root, *words],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return call
