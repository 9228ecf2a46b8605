"""Runs in an environment, as its user and with its Python: what a user does on the first day. Writes ``result.json``.

It stands alone: nothing of the checkout is there, only what the folder ``--share`` holds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path

DOCKERFILE = "FROM ubuntu:20.04\nRUN echo made > /made\n"


class Day:
    """Everything that is found out, in ``result``; ``seconds`` of each part in it."""

    def __init__(self, share: Path, out: Path) -> None:
        self.share = share
        self.out = out
        self.result: dict[str, object] = {"seconds": {}}
        self.python = str(Path.home() / "venv/bin/python")
        self.program = str(Path.home() / "venv/bin/contextkernel")

    @contextlib.contextmanager
    def part(self, name: str):
        """Measure a part, and say on the way what is done."""
        print(f"{time.strftime('%T')} {name}", flush=True)
        began = time.monotonic()
        yield
        self.result["seconds"][name] = round(time.monotonic() - began, 1)

    def call(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def install(self) -> None:
        """From the wheel, into an environment where all that it depends on is there."""
        home = Path(self.python).parents[1]
        venv.create(home, with_pip=False)
        (folder,) = home.glob("lib/python3*/site-packages")
        (folder / "packages.pth").write_text(f"{self.share}/packages\n")
        pip = (self.python, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-cache-dir")
        self.call(*pip, "install", "--no-index", f"--find-links={self.share}", "contextkernel")

    def doctor(self) -> None:
        self.result["doctor"] = json.loads(self.call(self.program, "doctor", "--json").stdout)

    def load(self) -> None:
        self.call(self.program, "load", "--input", f"{self.share}/bases.tar")

    def first_steps(self) -> None:
        """A build and a container at the command line: whether they work, what is warned about, what inspect says."""
        with tempfile.TemporaryDirectory() as context:
            Path(context, "Dockerfile").write_text(DOCKERFILE)
            built = self.call(self.program, "build", "--progress=plain", "--tag=steps", context, check=False)
        ran = self.call(self.program, "run", "--name=steps", "ubuntu:20.04", "echo", "hello", check=False)
        looked = self.call(self.program, "inspect", "--type=container", "steps", check=False)
        self.result["build"] = {"exit": built.returncode, "says": built.stderr + built.stdout}
        self.result["run"] = {"exit": ran.returncode, "out": ran.stdout, "says": ran.stderr}
        self.result["inspect"] = json.loads(looked.stdout)[0].get("ContextKernel") if looked.returncode == 0 else None
        self.call(self.program, "rm", "--force", "steps", check=False)
        self.call(self.program, "rmi", "steps", check=False)

    def notebook(self, name: str) -> None:
        """Execute one to its end; it stays, with its outputs, for those who look closer."""
        words = (f"{self.share}/{name}.ipynb", f"{self.out}/{name}.ipynb")
        self.call(self.python, __file__, "--execute", *words)

    def memory(self) -> None:
        """What the control group has counted: the most at once, caches included, programs killed, processors' time."""
        version_1 = Path("/sys/fs/cgroup/memory")
        found = {"programs": 0}
        self.result["memory"] = found
        if Path.home() != Path("/home/jovyan"):
            return  # the machine's own numbers say nothing of this user
        if version_1.is_dir():
            found["limit"] = int((version_1 / "memory.limit_in_bytes").read_text())
            found["peak"] = int((version_1 / "memory.max_usage_in_bytes").read_text())
            found["killed"] = _entry(version_1 / "memory.oom_control", "oom_kill")
        elif Path("/sys/fs/cgroup/memory.max").exists():
            limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
            found["limit"] = -1 if limit == "max" else int(limit)
            found["peak"] = int(Path("/sys/fs/cgroup/memory.peak").read_text())
            found["killed"] = _entry(Path("/sys/fs/cgroup/memory.events"), "oom_kill")
        time_of_version_1 = Path("/sys/fs/cgroup/cpuacct/cpuacct.usage")
        if time_of_version_1.exists():
            self.result["seconds"]["processors"] = round(int(time_of_version_1.read_text()) / 1e9, 1)


def _entry(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.split()[0] == name)


def execute(source: str, result: str) -> None:
    """Execute a notebook; a cell that fails does not end it."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=900, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": folder}}
        )
        client.create_kernel_manager()
        client.km.transport, client.km.ip = "ipc", f"{folder}/kernel"  # no open ports
        client.execute(env={**os.environ, "IPYTHONDIR": f"{folder}/ipython", "PYTHONFAULTHANDLER": "1"})
    nbformat.write(notebook, result)


class Watch:
    """Looks now and then at how much memory programs have (no caches): the most that was seen."""

    def __init__(self) -> None:
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        for path, name in (("/sys/fs/cgroup/memory/memory.stat", "total_rss"), ("/sys/fs/cgroup/memory.stat", "anon")):
            if Path(path).exists():
                while not self._over.wait(0.1):
                    self.most = max(self.most, _entry(Path(path), name))
                return


def main() -> None:
    """See the module."""
    if sys.argv[1:2] == ["--execute"]:
        execute(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=Path, required=True, help="the wheel, bases.tar and the notebooks")
    parser.add_argument("--out", type=Path, required=True, help="for what is found out")
    parser.add_argument("notebooks", nargs="*")
    options = parser.parse_args()
    day = Day(options.share, options.out)
    with day.part("install"):
        day.install()
    with day.part("doctor"):
        day.doctor()
    with day.part("load"):
        day.load()
    with day.part("first steps"):
        day.first_steps()
    with Watch() as watch:
        for name in options.notebooks:
            with day.part(name):
                day.notebook(name)
    day.memory()
    day.result["memory"]["programs"] = watch.most
    (options.out / "result.json").write_text(json.dumps(day.result, indent=1))


if __name__ == "__main__":
    main()
