"""The same tests as an ordinary user with one id, from root. With a range of ids: `.ci/test unprivileged`."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.root
SINGLE = ("CONTEXTKERNEL_TEST_IDS=single",)


@pytest.mark.timeout(600)
def test_everything_as_an_ordinary_user(run_as_user):
    names = ("containers", "lifetimes", "control", "exec", "owners", "owner_attacks")
    assert "skipped" not in run_as_user(*(f"runtime/{name}" for name in names), settings=SINGLE)


@pytest.mark.timeout(600)
def test_privileges_and_escapes_as_an_ordinary_user(run_as_user):
    # some need more than one id, and say so
    run_as_user("runtime/security", "runtime/escapes", "runtime/fallbacks", settings=SINGLE)


@pytest.mark.timeout(600)
def test_without_namespaces_as_an_ordinary_user(run_as_user):
    run_as_user("runtime/traced")
