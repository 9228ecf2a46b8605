"""One session: everything is made once, then each environment has its day, two at a time."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pods import made
from pods.daemon import Docker
from pods.environments import BareUser, Environment, Pod
from pods.proxy import CachingProxy

HERE = Path(__file__).parents[1]
NOTEBOOKS = HERE.parents[1] / "notebooks"
_SECONDS = 1500  # until a day counts as hanging


class DayFailed(Exception):
    """An environment's day did not come to its end; the text is what was said until then."""


class Session:
    """What all environments need, and one call to run each.

    Attributes:
        seconds: of each part that was made.
        image: of the pods.
    """

    def __init__(self, folder: Path, docker: Docker, proxy: CachingProxy, cache: Path) -> None:
        self.folder = folder
        self.docker = docker
        self.proxy = proxy
        self.cache = cache
        self.share = folder / "share"
        self.image = ""
        self.seconds: dict[str, float] = {}

    def make(self, base_archive: Callable[[], Path]) -> None:
        """Make what all environments need, side by side where possible."""
        self.share.mkdir()
        outside, here = self.proxy.listen(self.docker.gateway), self.proxy.listen("127.0.0.1")
        with ThreadPoolExecutor(2) as pool:
            system = pool.submit(self._timed, "system", made.make_system, self.cache, here)
            wheel = self._timed("wheel", made.make_wheel, self.share)
            packages = pool.submit(self._timed, "packages", made.make_packages, wheel, self.share)
            self._timed("bases", made.make_bases, base_archive(), self.share, outside)
            self.image = self._timed("image", made.make_image, self.docker, system.result())
            packages.result()
        shutil.copy(HERE / "inside.py", self.share)
        for notebook in NOTEBOOKS.glob("*.ipynb"):
            shutil.copy(notebook, self.share)

    def _timed(self, name: str, make: Callable[..., Any], *given: object) -> Any:
        began = time.monotonic()
        result = make(*given)
        self.seconds[name] = round(time.monotonic() - began, 1)
        return result

    def run(self, environment: Environment) -> Day:
        """One environment's day.

        Raises:
            DayFailed: it did not come to its end.
        """
        out = self.out(environment)
        words = (
            "/usr/bin/python3",
            f"{self.share}/inside.py",
            f"--share={self.share}",
            f"--out={out}",
            *environment.notebooks,
        )
        began = time.monotonic()
        with self.prepared(environment, words) as command, (out / "log").open("w") as log:
            try:
                code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
                                      timeout=_SECONDS).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                code = -1
        if code or not (out / "result.json").exists():
            what = "hangs" if code == -1 else f"exit code {code}"
            raise DayFailed(f"{environment.name}: {what}\n{(out / 'log').read_text()[-6000:]}")
        return Day(out, round(time.monotonic() - began, 1))

    def out(self, environment: Environment) -> Path:
        """The folder for what an environment finds out: it may write there, whoever it is."""
        out = self.folder / "out" / environment.name
        out.mkdir(parents=True, exist_ok=True)
        out.chmod(0o777)
        return out

    @contextlib.contextmanager
    def prepared(
        self, environment: Environment, words: tuple[str, ...], *, terminal: bool = False
    ) -> Iterator[list[str]]:
        """The command line that runs ``words`` in the environment; what was made for it goes afterwards."""
        match environment:
            case Pod():
                with self._pod(environment, words, terminal=terminal) as command:
                    yield command
            case BareUser():
                with self._user(environment, words) as command:
                    yield command

    @contextlib.contextmanager
    def _pod(self, pod: Pod, words: tuple[str, ...], *, terminal: bool) -> Iterator[list[str]]:
        options = [*pod.options, f"--volume={self.share}:{self.share}:ro"]
        out = self.out(pod)
        options.append(f"--volume={out}:{out}")
        if pod.volume:
            store = self.folder / f"store-{pod.name}"
            store.mkdir()
            os.chown(store, 1000, 1000)
            options += [f"--volume={store}:/store", "--env=CONTEXTKERNEL_ROOT=/store"]
        # the shell is process 1, and reaps as the small init of such hosts does
        shell = ("sh", "-c", '"$@"; exit $?', "sh", *words)
        interactive = ["--interactive", "--tty"] if terminal else []
        try:
            named = (f"--name={pod.name}", f"--hostname={pod.name}", "--network=outer")
            # whatever else is tested on this machine at the same time goes first
            modest = "--cpu-shares=64"
            yield self.docker.command("run", "--rm", *named, modest, *interactive, *options, self.image, *shell)
        finally:
            with contextlib.suppress(Exception):
                self.docker.run("rm", "--force", "--volumes", pod.name)

    @contextlib.contextmanager
    def _user(self, user: BareUser, words: tuple[str, ...]) -> Iterator[list[str]]:
        name = f"ck-{user.name}"
        home = self.folder / name
        # users of the system get no subordinate ids
        subprocess.run(["useradd", *([] if user.ranges else ["--system"]), f"--home-dir={home}", "--create-home", name],
                       check=True, capture_output=True)  # fmt: skip
        try:
            home.chmod(0o700)
            clean = {
                "HOME": str(home),
                "USER": name,
                "LANG": "C.UTF-8",
                "PATH": "/usr/local/bin:/usr/bin:/bin",
            }
            settings = [f"{key}={value}" for key, value in clean.items()]
            yield ["runuser", "-u", name, "--", "env", "-i", "-C", str(home), *settings, *words]
        finally:
            _end_all_of(pwd.getpwnam(name).pw_uid)
            subprocess.run(["userdel", "--force", name], check=False, capture_output=True)


def _end_all_of(uid: int) -> None:
    """End the processes of a user that was made for a day."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == uid:
                os.kill(int(process.name), signal.SIGKILL)


class Day:
    """What an environment's day left.

    Attributes:
        out: folder with ``result.json`` and the executed notebooks.
        seconds: from its start to its end.
    """

    def __init__(self, out: Path, seconds: float) -> None:
        self.out = out
        self.seconds = seconds
        self.result: dict[str, Any] = json.loads((out / "result.json").read_text())

    def notebook(self, name: str) -> Any:
        """An executed notebook."""
        import nbformat

        return nbformat.read(self.out / f"{name}.ipynb", as_version=4)


@contextlib.contextmanager
def session(cache: Path, base_archive: Callable[[], Path]) -> Iterator[Session]:
    """A session with its dockerd and all that is made; at its end nothing is left but what ``cache`` keeps.

    Args:
        cache: a folder that lives longer.
        base_archive: gives an archive of the course's base images.
    """
    folder = Path(tempfile.mkdtemp(prefix="ck-outer-"))
    folder.chmod(0o755)
    proxy = CachingProxy(cache / "packages", folder / "lists")
    try:
        (folder / "docker").mkdir()
        began = time.monotonic()
        with Docker(folder / "docker") as docker:
            made_here = Session(folder, docker, proxy, cache)
            made_here.seconds["dockerd"] = round(time.monotonic() - began, 1)
            made_here.make(base_archive)
            yield made_here
    finally:
        proxy.close()
        shutil.rmtree(folder, ignore_errors=True)


def side_by_side(run: Callable[[Environment], Day], environments: tuple[Environment, ...]) -> dict[str, Future[Day]]:
    """Start all, two at a time if nothing else is asked for, the longest first; gives each one's future."""
    pool = ThreadPoolExecutor(int(os.environ.get("CONTEXTKERNEL_OUTER_AT_ONCE") or 2))
    ordered = sorted(environments, key=lambda environment: -environment.seconds)
    futures = {environment.name: pool.submit(run, environment) for environment in ordered}
    pool.shutdown(wait=False)
    return futures
