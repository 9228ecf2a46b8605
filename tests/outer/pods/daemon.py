"""A dockerd of our own: private socket, data and network; it works beside another one, and nothing of it stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

#: dockerd starts these, too
PROGRAMS = ("dockerd", "docker", "containerd", "containerd-shim-runc-v2", "runc")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # the distribution's programs before any others


class DockerProblem(Exception):
    """A docker command failed; the text is what it said."""


def why_not() -> str:
    """What this machine lacks; empty if a dockerd can be started."""
    if os.geteuid() != 0:
        return "only root can start a dockerd"
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    return f"{', '.join(missing)} not installed (apt-get install docker.io)" if missing else ""


class Docker:
    """Started on entering, gone after leaving.

    Attributes:
        gateway: this machine's address on the containers' network. The network leads nowhere else: no packet filter
            and no forwarding of this machine is touched.
    """

    def __init__(self, folder: Path, *, network: bool = True) -> None:
        """``folder`` is for everything that is written; without ``network`` containers have none to be on."""
        self.folder = folder
        self._network = network
        self.gateway = ""
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environment = {
            "PATH": _PATH,
            "HOME": str(folder),
            "DOCKER_HOST": f"unix://{folder}/docker.sock",
        }

    def __enter__(self) -> Docker:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        at = self.folder
        (at / "containerd.toml").write_text(
            f'version = 2\nroot = "{at}/containerd"\nstate = "{at}/containerd-run"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{at}/containerd.sock"\n'
        )
        self._spawn("containerd", "--config", f"{at}/containerd.toml")
        self._wait((at / "containerd.sock").exists, "containerd")
        self._spawn(
            "dockerd",
            *(f"--host=unix://{at}/docker.sock", f"--containerd={at}/containerd.sock", f"--data-root={at}/data"),
            *(
                f"--exec-root={at}/run",
                f"--pidfile={at}/dockerd.pid",
                "--default-address-pool=base=10.222.0.0/16,size=24",
            ),
            # what other dockerds keep in the packet filter is theirs
            *("--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
        )
        self._wait(lambda: self._client("version").returncode == 0, "dockerd")
        if not self._network:
            return
        self.run("network", "create", f"--opt=com.docker.network.bridge.name=ckouter{os.getpid() % 100000}", "outer")
        self.gateway = self.run("network", "inspect", "--format={{(index .IPAM.Config 0).Gateway}}", "outer").strip()

    def __exit__(self, *_: object) -> None:
        containers = self._client("ps", "-aq").stdout.split()
        if containers:
            self._client("rm", "--force", "--volumes", *containers)
        if self._network:
            self._client("network", "rm", "outer")
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((mount for mount in mounts if mount.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False)

    def run(self, *words: str, stdin: str | Path | None = None, seconds: float = 600) -> str:
        """One command of docker's client; gives its output.

        Args:
            words: of the command.
            stdin: a text, or a file.
            seconds: until it counts as hanging.

        Raises:
            DockerProblem: it failed.
        """
        done = self._client(*words, stdin=stdin, seconds=seconds)
        if done.returncode:
            raise DockerProblem(f"docker {' '.join(words)}: {done.returncode}: {done.stderr}\n{self.log()}")
        return done.stdout

    def command(self, *words: str) -> list[str]:
        """The command line, for who wants to talk to the client himself."""
        settings = [f"{name}={value}" for name, value in self._environment.items()]
        return ["env", *settings, "docker", *words]

    def _client(
        self, *words: str, stdin: str | Path | None = None, seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        with open(stdin if isinstance(stdin, Path) else "/dev/null", "rb") as file:
            source = {"input": stdin} if isinstance(stdin, str) else {"stdin": file}
            return subprocess.run(
                ["docker", *words],
                **source,
                env=self._environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds,
            )

    def log(self) -> str:
        """The last lines of both daemons."""
        return "".join((self.folder / f"{name}.log").read_text()[-1500:] for name in ("containerd", "dockerd"))

    def _spawn(self, *words: str) -> None:
        # should this session be killed, they go, too
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *words],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)

    def _wait(self, ready, what: str) -> None:
        deadline = time.monotonic() + 60
        while not ready():
            if self._processes[-1].poll() is not None or time.monotonic() > deadline:
                raise DockerProblem(f"{what} did not start: {(self.folder / f'{what}.log').read_text()[-3000:]}")
            time.sleep(0.1)
