"""The same tests as an ordinary user, with a range of ids and with a single one; started by root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

USER = "cktest"
HERE = Path(__file__).parent
PROJECT = HERE.parents[2]

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def user() -> str:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        # useradd gives the user its ranges in /etc/subuid and /etc/subgid
        subprocess.run(["useradd", "--create-home", USER], check=True)
    return USER


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ids", ["range", "single"])
def test_everything_as_an_ordinary_user(user, ids):
    assert "skipped" not in run_as(user, ids, "containers", "lifetimes", "control", "exec")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ids", ["range", "single"])
def test_privileges_and_escapes_as_an_ordinary_user(user, ids):
    run_as(user, ids, "security", "escapes")  # some need more than one id, and say so


@pytest.mark.timeout(600)
def test_faults_as_an_ordinary_user(user):
    """All but those that need a file system of their own, and the many, which are the same for everybody."""
    run_as(user, "range", "faults", folder="faults", which="not disk and not two_hundred")


def run_as(user: str, ids: str, *names: str, folder: str = "runtime", which: str = "") -> str:
    """Run test modules as ``user``; what pytest said, if they passed."""
    scratch = Path("/tmp") / f"{USER}-{os.getpid()}-{ids}"
    scratch.mkdir(mode=0o755)
    shutil.chown(scratch, user)
    try:
        done = subprocess.run(
            [
                *("runuser", "-u", user, "--", "env", "PYTHONDONTWRITEBYTECODE=1", f"CONTEXTKERNEL_TEST_IDS={ids}"),
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={scratch}/pytest"),
                *(str(HERE.parent / folder / f"test_{name}.py") for name in names),
                *("-k", which),
            ],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        # files of the user's subordinate ids may be among them
        shutil.rmtree(scratch, ignore_errors=True)
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout
    return done.stdout
