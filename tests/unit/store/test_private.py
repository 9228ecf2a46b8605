"""What a store writes is its owner's alone, also in a directory that was there before and that others may enter."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from contextkernel.host import cache
from contextkernel.host.findings import Inspection
from contextkernel.model.ids import IdMap
from contextkernel.model.results import HostReport
from contextkernel.store import Store


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def reachable(root: Path) -> dict[str, str]:
    """Files and directories directly in the store that others may read, enter or change."""
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in root.iterdir() if path.stat().st_mode & 0o077}


@pytest.mark.usefixtures("open_umask")
def test_attack_reading_a_store_in_a_directory_that_is_open_to_all(tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir(mode=0o755)
    with Store.open(root) as store:
        store.containers()
        assert {"meta.db", "meta.db.lock"} <= {path.name for path in root.iterdir()}
        assert reachable(root) == {}  # the write-ahead log is there, too
    assert reachable(root) == {}


@pytest.mark.usefixtures("open_umask")
def test_what_was_found_of_the_host_is_private(tmp_path: Path) -> None:
    (tmp_path / "host.json.new").write_text("left by a killed writer")
    (tmp_path / "host.json.new").chmod(0o666)
    cache.write(str(tmp_path), "key", Inspection(report=HostReport(tier="rootful", facts=()), idmap=IdMap()))
    assert reachable(tmp_path) == {}
    assert (tmp_path / "host.json").exists()


def test_a_database_of_an_earlier_version_becomes_private(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store"):
        pass
    (tmp_path / "store" / "meta.db").chmod(0o644)
    with Store.open(tmp_path / "store"):
        assert reachable(tmp_path / "store") == {}
