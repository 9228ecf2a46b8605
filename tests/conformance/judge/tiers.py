"""The command line as it runs on a tier that this machine can give: as root, or as an ordinary user that root makes."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
#: the ordinary user of each tier; `useradd` gives one its range of ids unless it is told not to
USERS = {"rootless": "ck-range", "rootless-single": "ck-oneid", "ptrace": "ck-oneid"}
#: what is not to be tried there
_WITHOUT = {"ptrace": "CONTEXTKERNEL_WITHOUT=user_namespace mount_namespace"}
_NO_RANGE = ("-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0")
TIERS = ("rootful", *USERS)


class Ours:
    """Runs ``contextkernel`` on a tier, with a store and a folder of its own.

    Args:
        tier: one of :data:`TIERS`; empty: whatever whoever runs this gets.
        folder: a directory for store and files; made.

    Attributes:
        folder: the same, writable for whoever the commands run as.

    Raises:
        SystemExit: the tier cannot be had here.
    """

    def __init__(self, tier: str, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        user = USERS.get(tier, "")
        if tier and os.geteuid() != 0:
            sys.exit("--tier becomes another user: run this as root")
        if user:
            _make(user, with_range=tier == "rootless")
            shutil.chown(folder, user, user)
        become = ["runuser", "-u", user, "--"] if user else []
        home = pwd.getpwnam(user).pw_dir if user else os.environ.get("HOME", "/")
        store = os.environ.get("CONTEXTKERNEL_ROOT", f"{folder}/store") if not tier else f"{folder}/store"
        self._words = [
            *become,
            *("env", f"HOME={home}", f"CONTEXTKERNEL_ROOT={store}", f"PYTHONPATH={REPOSITORY}"),
            *([_WITHOUT[tier]] if tier in _WITHOUT else []),
            *("PYTHONDONTWRITEBYTECODE=1", sys.executable, "-m", "contextkernel"),
        ]
        found = self.call("doctor", "--json").stdout
        self.tier = str(json.loads(found or '{"tier": ""}')["tier"])
        if tier and self.tier != tier:
            sys.exit(f"{user or 'root'} gets tier {self.tier!r} here, not {tier!r}: `contextkernel doctor` says why")

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command; whatever becomes of it, it is in what is returned."""
        return subprocess.run([*self._words, *words], cwd="/", capture_output=True, text=True, check=False)

    def __call__(self, *words: str) -> str:
        """Run a command that must work; returns what it printed."""
        done = self.call(*words)
        if done.returncode:
            sys.exit(f"contextkernel {' '.join(words)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
        return done.stdout


def _make(user: str, *, with_range: bool) -> None:
    try:
        pwd.getpwnam(user)
    except KeyError:
        subprocess.run(["useradd", "--create-home", *(() if with_range else _NO_RANGE), user], check=True)
