"""What file systems are made with: the best that works, or what the environment asks for."""

from __future__ import annotations

import pytest

from contextkernel import host
from contextkernel.errors import InvalidInput
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.results import Fact, HostReport


def report(tier: str = "rootless", overlay: str = "works") -> HostReport:
    return HostReport(tier=tier, facts=(Fact(name="overlay", verdict=overlay, reason=""),))


@pytest.mark.parametrize(
    ("found", "wanted", "backing"),
    [
        (report(), "", "overlay"),
        (report(overlay="limited"), "", "overlay"),
        (report(overlay="refused"), "", "copy"),
        (report("ptrace"), "", "copy"),
        (report("analysis"), "", "copy"),
        (HostReport(tier="rootful", facts=()), "", "overlay"),
        (report(), "copy", "copy"),
        (report(), "overlay", "overlay"),
        (report(overlay="refused"), "copy", "copy"),
    ],
)
def test_backing(found: HostReport, wanted: str, backing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_BACKING", wanted)
    assert host.backing(found) == backing


def test_a_backing_that_the_host_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_BACKING", "overlay")
    with pytest.raises(InvalidInput, match="does not work here for rootless"):
        host.backing(report(overlay="refused"))


def test_a_backing_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_BACKING", "vfs")
    with pytest.raises(InvalidInput, match="'vfs'") as caught:
        host.backing(report())
    assert caught.value.hint is not None
    assert "overlay, copy" in caught.value.hint


def test_a_user_without_namespaces_is_no_root() -> None:
    own = IdMap(own=True)
    assert (own.identity, own.root, own.single) == (True, False, True)
    assert (IdMap().identity, IdMap().root, IdMap().single) == (True, True, False)
    one = IdMap((IdRange(0, 1000, 1),), (IdRange(0, 1000, 1),))
    assert (one.identity, one.root, one.single) == (False, False, True)
