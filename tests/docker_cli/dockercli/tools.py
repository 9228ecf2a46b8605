"""The two tools: how each is called ``docker`` inside a script, and how each gets the images."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from .cases import HERE

sys.path.append(str(HERE / "tools"))
from warm import CLIENT

#: names docker's client; DOCKER_HOST names its engine
DOCKER = os.environ.get("DOCKER", "/usr/bin/docker")
BASE = "cli-base"
_PACKAGE = HERE.parent.parent


class Tool:
    """Something that answers to docker's grammar.

    Args:
        folder: an empty directory of the tool's own.
        command: what ``docker`` stands for.
        environment: added to the caller's.
    """

    def __init__(self, folder: Path, command: list[str], environment: dict[str, str]) -> None:
        self.folder = folder
        programs = folder / "programs"
        programs.mkdir()
        for name, words in (
            ("docker", command),
            ("terminal", [sys.executable, str(HERE / "tools" / "terminal.py")]),
            ("fetch", [sys.executable, str(HERE / "tools" / "fetch.py")]),
        ):
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
            script.chmod(0o755)
        kept = {
            name: os.environ[name]
            for name in ("HOME", "LANG", "DOCKER_HOST", "DOCKER_CONFIG", "TMPDIR")
            if name in os.environ
        }
        self.environment = {
            **kept,
            "PATH": f"{programs}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "TERM": "dumb",
            **environment,
        }

    def call(self, *words: str, stdin: bytes | None = None) -> str:
        """Give one command that must succeed.

        Args:
            words: after the program's name.
            stdin: its input.

        Returns:
            What it printed.

        Raises:
            RuntimeError: it failed.
        """
        done = subprocess.run(
            [str(self.folder / "programs" / "docker"), *words],
            env=self.environment,
            input=stdin if stdin is not None else b"",
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.decode()}")
        return done.stdout.decode()

    def prepare(self) -> None:
        """Bring the images of the cases: the base, and what ``images.toml`` makes of it."""
        from judge.base import write_base  # the conformance cases' base image

        write_base(self.folder / "base.tar")
        self.call("import", str(self.folder / "base.tar"), BASE)
        for name, image in tomllib.loads((HERE / "images.toml").read_text(encoding="utf-8")).items():
            self.call("build", "-q", "-t", name, "-", stdin=image["dockerfile"].encode())

    def close(self) -> list[str]:
        """Remove what cases left.

        Returns:
            What could not be removed.
        """
        return []


class Docker(Tool):
    """A docker engine that you started.

    Args:
        folder: an empty directory.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, [DOCKER], {"DOCKER_BUILDKIT": "1"})

    def clean(self, prefix: str) -> None:
        """Remove what one case left.

        Args:
            prefix: of all its names.
        """
        for kind, words in (("ps", ("-a",)), ("volume", ("ls",)), ("network", ("ls",))):
            pattern = f"name=^/?{prefix}(-|$)"
            names = self.call(kind, *words, "-q", "--filter", pattern if kind != "volume" else f"name={prefix}").split()
            if names:
                self.call(*(("rm", "-f", "-v") if kind == "ps" else (kind, "rm")), *names)

    def close(self) -> list[str]:
        """Remove the containers without a name of a case's, which failing commands leave."""
        if names := self.call("ps", "-aq", "--filter", f"ancestor={BASE}").split():
            self.call("rm", "-f", "-v", *names)
        return []


class Ours(Tool):
    """This checkout's engine on a store of its own.

    Args:
        folder: an empty directory.
    """

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        environment = {"CONTEXTKERNEL_ROOT": str(self.store), "PYTHONPATH": str(_PACKAGE)}
        super().__init__(folder, [sys.executable, "-m", "contextkernel"], environment)
        self._warm = subprocess.Popen(
            [sys.executable, str(HERE / "tools" / "warm.py"), str(folder / "warm")],
            env={**os.environ, "PYTHONPATH": str(_PACKAGE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._warm.stdout is not None
        if self._warm.stdout.readline() != b"ready\n":
            raise RuntimeError("the process with the program's modules does not start")
        script = folder / "programs" / "docker"
        script.write_text(CLIENT.format(python=sys.executable, socket=str(folder / "warm")), encoding="utf-8")

    def close(self) -> list[str]:
        """Remove all containers, volumes and networks, and wait for every process of the store to end.

        Returns:
            Processes that stayed, and were killed.
        """
        with contextlib.suppress(RuntimeError):
            if names := self.call("ps", "-aq").split():
                self.call("rm", "-f", "-v", *names)
        with self._warm:
            assert self._warm.stdin is not None
            self._warm.stdin.close()
        until = time.monotonic() + 60
        while (left := self._processes()) and time.monotonic() < until:
            time.sleep(0.2)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [f"process {pid} stayed: {words}" for pid, words in left.items()]

    def _processes(self) -> dict[int, str]:
        wanted = os.fsencode(self.folder)  # a command's process still has the server's words, which name the folder
        found: dict[int, str] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                with contextlib.suppress(OSError):
                    words = Path("/proc", entry, "cmdline").read_bytes()
                    if words and wanted in words + Path("/proc", entry, "environ").read_bytes():
                        found[int(entry)] = words.replace(b"\0", b" ").decode("utf-8", "replace")
        return found
