"""Records of builds in the store."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from contextkernel.errors import InvalidInput, NotFound
from contextkernel.model.builds import BuildLog, BuildRow, BuildStepRow
from contextkernel.model.digest import Digest
from contextkernel.store import Store
from contextkernel.store import builds as module
from contextkernel.store.builds import StepEntry

WHEN = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


def row(name: str) -> BuildRow:
    return BuildRow(id=name, name=name, created=WHEN, dockerfile_digest=Digest.of(b"FROM scratch"))


def step(number: int, text: str = "") -> StepEntry:
    log = BuildLog(number=number, name="RUN x", text=text) if text else None
    return StepEntry(row=BuildStepRow(number=number, name="RUN x", started=WHEN, layer=Digest.of(b"x")), log=log)


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "store") as opened:
        yield opened


def test_a_build_from_its_begin_to_its_end(store):
    store.begin_build(row("one"))
    assert store.build("").status == "running"
    store.record_build("one", [step(1, "begun")])
    store.record_build("one", [step(1, "begun\nended"), step(2)])
    ended = msgspec.structs.replace(row("one"), status="completed", seconds=1.5, image=Digest.of(b"i"), names=("a",))
    store.record_build("one", [], ended)
    assert store.builds() == (ended,)
    assert [one.number for one in store.build_steps("one")] == [1, 2]
    assert store.build_steps("one")[0].layer == Digest.of(b"x")
    assert [log.text for log in store.build_logs("one")] == ["begun\nended"]


def test_a_build_whose_process_is_gone_was_canceled(store, tmp_path: Path):
    pid = os.fork()
    if pid == 0:
        with Store.open(tmp_path / "store") as other:
            other.begin_build(row("killed"))
            os._exit(0)  # without an end
    os.waitpid(pid, 0)
    store.begin_build(row("mine"))
    assert [(one.id, one.status) for one in store.builds()] == [("mine", "running"), ("killed", "canceled")]
    assert "killed" in store.build("killed").problem


def test_the_oldest_go_first(store, monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    for number in range(5):
        store.begin_build(row(f"b{number}"))
        store.record_build(f"b{number}", [step(1, "text")])
    assert [one.id for one in store.builds()] == ["b4", "b3", "b2"]
    assert store.build_steps("b0") == ()


def test_builds_by_name(store):
    for name in ("abc", "abd", "x"):
        store.begin_build(row(name))
    assert store.build("").id == store.build("^0").id == "x"
    assert store.build("^2").id == "abc"
    assert store.build("abd").id == "abd"
    with pytest.raises(InvalidInput, match="several builds"):
        store.build("ab")
    for wrong in ("^3", "y", "^x"):
        with pytest.raises(NotFound):
            store.build(wrong)


def test_removed_records_stay_away(store):
    store.begin_build(row("one"))
    store.record_build("one", [step(1)])
    store.remove_builds(["one", "other"])
    store.record_build("one", [step(2)], row("one"))  # its build goes on meanwhile
    assert store.builds() == ()
    assert store.build_steps("one") == ()
    with pytest.raises(NotFound, match="no build yet"):
        store.build("")
