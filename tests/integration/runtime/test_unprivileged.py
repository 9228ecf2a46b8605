"""The same tests as an ordinary user, with a range of ids and with a single one; started by root."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.root


def ids_are(kind: str) -> tuple[str, ...]:
    return (f"CONTEXTKERNEL_TEST_IDS={kind}",)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ids", ["range", "single"])
def test_everything_as_an_ordinary_user(run_as_user, ids):
    modules = [f"runtime/{name}" for name in ("containers", "lifetimes", "control", "exec")]
    if ids == "single":
        modules += ["runtime/owners", "runtime/owner_attacks"]
    assert "skipped" not in run_as_user(*modules, settings=ids_are(ids))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ids", ["range", "single"])
def test_privileges_and_escapes_as_an_ordinary_user(run_as_user, ids):
    run_as_user(
        "runtime/security", "runtime/escapes", "runtime/fallbacks", settings=ids_are(ids)
    )  # some need more than one id, and say so


@pytest.mark.timeout(600)
def test_faults_as_an_ordinary_user(run_as_user):
    """All but those that need a file system of their own, and the many, which are the same for everybody."""
    run_as_user("faults/faults", settings=ids_are("range"), which="not disk and not two_hundred")
