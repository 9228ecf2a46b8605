"""The real registry server (Debian's docker-registry) on loopback, and skopeo beside it.

``real_registry`` is one for a whole module; ``start_registry`` starts more of them, with a login, TLS or as a mirror.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE = 60.0  # seconds until a server that does not answer is called broken
USER, PASSWORD = "student", "a lesson"
#: bcrypt, the only hash that docker-registry takes: of PASSWORD
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuLNCWDexBC458SMr.l9Stcof8t2ReLjK\n"


@dataclass(frozen=True)
class RealRegistry:
    """A running docker-registry.

    Attributes:
        address: ``127.0.0.1:port``, as it stands in an image's name.
        storage: directory of its files; ``docker/registry/v2/blobs/sha256/ab/abcd.../data`` are the blobs.
        user, password: for those that want a login.
        secure: it speaks TLS.
    """

    address: str
    storage: Path
    user: str = ""
    password: str = ""
    secure: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.address}"

    def blob(self, digest: str) -> Path:
        """The file of a blob, to look at or to damage."""
        algorithm, _, name = digest.partition(":")
        return self.storage / "docker/registry/v2/blobs" / algorithm / name[:2] / name / "data"

    def get(self, path: str, accept: str = "*/*") -> bytes:
        """What an anonymous, plain request for ``/v2/<path>`` gives."""
        request = urllib.request.Request(f"{self.url}/v2/{path}", headers={"Accept": accept})  # noqa: S310
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310
            return bytes(response.read())

    def tags(self, repository: str) -> list[str]:
        return sorted(json.loads(self.get(f"{repository}/tags/list"))["tags"] or [])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def needed(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    login: bool = False,
    delete: bool = True,
    certificate: tuple[Path, Path] | None = None,
    mirror_of: str = "",
    address: str = "",
) -> Iterator[RealRegistry]:
    """A registry with its files below ``folder``.

    ``certificate``: certificate and key file, for TLS. ``mirror_of``: the URL it is a pull-through cache of.
    ``address``: where it listens, e.g. to come back where it was; default a free port.
    """
    program = needed("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    address = address or f"127.0.0.1:{free_port()}"
    http: dict[str, object] = {"addr": address, "secret": "not secret here"}
    if certificate is not None:
        http["tls"] = {"certificate": str(certificate[0]), "key": str(certificate[1])}
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": delete}},
        "http": http,
    }
    if login:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "lesson", "path": str(folder / "htpasswd")}}
    if mirror_of:
        config["proxy"] = {"remoteurl": mirror_of}
    # JSON is YAML
    (folder / "config.yml").write_text(json.dumps(config))
    with open(folder / "log", "ab") as log:
        server = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        host, _, port = address.rpartition(":")
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    break
            assert server.poll() is None, f"the registry ended: {(folder / 'log').read_text()}"
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.02)
        user, password = (USER, PASSWORD) if login else ("", "")
        yield RealRegistry(address, folder / "storage", user, password, certificate is not None)
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def real_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """An empty registry without a login, for the tests of one module; each should use repositories of its own."""
    with serving(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def start_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RealRegistry]]:
    """Starts registries that end with the test; arguments as for ``serving``."""
    with contextlib.ExitStack() as stack:

        def start(folder: Path | None = None, **settings: object) -> RealRegistry:
            place = folder or tmp_path_factory.mktemp("registry")
            return stack.enter_context(serving(place, **settings))  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="session")
def skopeo() -> Callable[..., str]:
    """Runs ``skopeo WORDS...``, which must succeed; gives its standard output."""
    program = needed("skopeo")

    def run(*words: str) -> str:
        done = subprocess.run(
            [program, "--insecure-policy", *map(str, words)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"skopeo {' '.join(map(str, words))}: {done.stderr}"
        return done.stdout

    return run
