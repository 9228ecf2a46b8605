"""Shared by integration tests: the same tests as an ordinary user, and waiting for what is sure to come."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

USER = "cktest"
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def user() -> str:
    """An ordinary user with ranges of ids."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        # useradd gives the user its ranges in /etc/subuid and /etc/subgid
        subprocess.run(["useradd", "--create-home", USER], check=True)
    return USER


@pytest.fixture
def run_as_user(user: str) -> Callable[..., str]:
    """Runs test modules as that user, who has an empty home; gives what pytest said, if they passed."""

    def run(*modules: str, settings: tuple[str, ...] = (), which: str = "", before: str = ":") -> str:
        """Modules are named without ``test_`` and ``.py``, below this folder; ``before`` is shell for root to do."""
        scratch = Path("/tmp") / f"{USER}-{os.getpid()}"
        scratch.mkdir(mode=0o755)
        shutil.chown(scratch, user)
        words = [
            *("runuser", "-u", user, "--", "env", "PYTHONDONTWRITEBYTECODE=1", f"HOME={scratch}", *settings),
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={scratch}/pytest"),
            *(str(HERE / folder / f"test_{name}.py") for folder, name in (module.split("/") for module in modules)),
            *("-k", which),
        ]
        try:
            done = subprocess.run(
                ["sh", "-c", f'{before}; exec "$@"', "sh", *words],
                cwd=HERE.parents[1],
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            # files of the user's subordinate ids may be among them
            shutil.rmtree(scratch, ignore_errors=True)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        assert " passed" in done.stdout
        return done.stdout

    return run


@pytest.fixture
def patience() -> float:
    """Seconds until what takes its time is called a hang."""
    return 60.0


@pytest.fixture
def eventually(patience: float) -> Callable[..., object]:
    """Waits until something is true; gives it."""

    def wait(look: Callable[[], object], what: str = "it") -> object:
        deadline = time.monotonic() + patience
        while not (found := look()):
            assert time.monotonic() < deadline, f"{what} did not happen"
            time.sleep(0.05)
        return found

    return wait
