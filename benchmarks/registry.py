"""Time images on their way in and out, beside docker and skopeo with umoci, in one run on one machine.

    python benchmarks/registry.py [--debian TAR] [--rounds 3] [--only load,pull,push,save] [--json FILE]

Needs Debian's docker-registry (two run on loopback, one to pull from, an empty one to push to), skopeo and umoci, and
takes a docker engine along that answers at DOCKER_HOST. Without --debian, mmdebstrap makes the base's file system.

How it is kept fair:

* Every round has an image of its own, so that no engine knows a layer already; nothing is removed before the end,
  because ext4 is slow for minutes where many files were removed. Engines other than docker begin with an empty store.
* What is read was read just before (a warm page cache), and everything was written to the disk (sync).
* The order of the engines changes from round to round. The first figure is the time until the command returns, the one
  in brackets until a sync of the file system has returned as well. Figures are medians.
* Memory is the largest sum of the proportional set sizes (PSS) of the started processes and all below them, looked at
  ten times a second; for docker that of dockerd and containerd is added, which are there all the time.
* "skopeo+umoci" is `skopeo copy` into an OCI layout followed by `umoci unpack`; it keeps the packed layers as well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from registry_images import write_archives

CLI = [sys.executable, "-m", "contextkernel"]
DOCKER = os.environ.get("DOCKER") or shutil.which("docker", path="/usr/bin:/bin") or "docker"
ROWS = {
    "load": "load and unpack a Debian base",
    "pull": "pull and unpack 10 layers",
    "push": "push the same to an empty registry",
    "save": "save the same as a docker-archive",
}


# ---- measuring


class Peak(threading.Thread):
    """Watches the memory of processes and of everything below them."""

    def __init__(self, roots: list[int]) -> None:
        super().__init__(daemon=True)
        self.roots = roots
        self.most = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, sum(map(pss, descendants(self.roots))))

    def end(self) -> int:
        self._over.set()
        self.join()
        return self.most


def descendants(roots: list[int]) -> set[int]:
    found: set[int] = set()
    left = list(roots)
    while left:
        pid = left.pop()
        if pid in found:
            continue
        found.add(pid)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                left += map(int, (task / "children").read_text().split())
    return found


def pss(pid: int) -> int:
    """Bytes; a page that several processes have counts in part for each."""
    with contextlib.suppress(OSError, StopIteration), open(f"/proc/{pid}/smaps_rollup") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return 0


def peer(path: str) -> int | None:
    """The process that listens on a unix socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        pid: int = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid
    return None


def daemons() -> list[int]:
    """dockerd and the containerd that it uses, if they are on this machine."""
    engine = peer(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))
    if engine is None:
        return []
    words = Path(f"/proc/{engine}/cmdline").read_text().split("\0")
    there = words[words.index("--containerd") + 1] if "--containerd" in words else "/run/containerd/containerd.sock"
    return [pid for pid in (engine, peer(there)) if pid is not None]


def measured(commands: list[list[str]], env: dict[str, str], folder: Path, others: list[int]) -> dict[str, float]:
    """Run commands one after the other.

    Returns:
        Seconds until the last returned, and until its files were on the disk; the most bytes of memory.
    """
    subprocess.run(["sync"], check=True)
    peak = Peak(list(others))
    peak.start()
    began = time.perf_counter()
    for command in commands:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env) as process:
            peak.roots = [process.pid, *others]
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    done = time.perf_counter()
    subprocess.run(["sync", "-f", str(folder)], check=True)
    return {"seconds": done - began, "synced": time.perf_counter() - began, "bytes": peak.end()}


def read_all(path: Path) -> None:
    """Have a file, or all files below a directory, in the page cache."""
    for file in [path] if path.is_file() else (one for one in path.rglob("*") if one.is_file()):
        with file.open("rb") as stream:
            while stream.read(1 << 20):
                pass


# ---- the engines


class Ours:
    name = "ours"
    others: list[int] = []  # noqa: RUF012 - never changed

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder / f"ours-{number}"
        self.folder.mkdir()
        self.env = {**os.environ, "CONTEXTKERNEL_ROOT": str(self.folder / "store")}

    def load(self, archive: Path, image: str) -> list[list[str]]:
        del image
        self.env["CONTEXTKERNEL_ROOT"] = str(self.folder / "loaded")
        return [[*CLI, "load", "-q", "-i", str(archive)]]

    def pull(self, image: str) -> list[list[str]]:
        self.env["CONTEXTKERNEL_ROOT"] = str(self.folder / "store")
        return [[*CLI, "pull", "-q", image]]

    def push(self, image: str, target: str) -> list[list[str]]:
        subprocess.run([*CLI, "tag", image, target], check=True, env=self.env)
        return [[*CLI, "push", "-q", target]]

    def save(self, image: str, archive: Path) -> list[list[str]]:
        return [[*CLI, "save", "-o", str(archive), image]]


class Docker:
    name = "docker"

    def __init__(self, folder: Path, number: int) -> None:
        del number
        self.folder = folder
        self.env = dict(os.environ)
        self.others = daemons()
        root = subprocess.run([DOCKER, "info", "-f", "{{.DockerRootDir}}"], check=True, capture_output=True, text=True)
        if os.path.isdir(root.stdout.strip()):
            self.folder = Path(root.stdout.strip())

    def load(self, archive: Path, image: str) -> list[list[str]]:
        del image
        return [[DOCKER, "load", "-q", "-i", str(archive)]]

    def pull(self, image: str) -> list[list[str]]:
        return [[DOCKER, "pull", "-q", image]]

    def push(self, image: str, target: str) -> list[list[str]]:
        subprocess.run([DOCKER, "tag", image, target], check=True)
        return [[DOCKER, "push", "-q", target]]

    def save(self, image: str, archive: Path) -> list[list[str]]:
        return [[DOCKER, "save", "-o", str(archive), image]]


class Skopeo:
    name = "skopeo+umoci"
    others: list[int] = []  # noqa: RUF012 - never changed

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder / f"skopeo-{number}"
        self.folder.mkdir()
        self.env = dict(os.environ)

    def _unpack(self, source: str, name: str) -> list[list[str]]:
        layout = f"{self.folder / name}:latest"
        rootless = [] if os.geteuid() == 0 else ["--rootless"]
        return [
            ["skopeo", "copy", "-q", "--src-tls-verify=false", source, f"oci:{layout}"],
            ["umoci", "unpack", *rootless, "--image", layout, str(self.folder / f"{name}-unpacked")],
        ]

    def load(self, archive: Path, image: str) -> list[list[str]]:
        del image
        return self._unpack(f"docker-archive:{archive}", "loaded")

    def pull(self, image: str) -> list[list[str]]:
        return self._unpack(f"docker://{image}", "pulled")

    def push(self, image: str, target: str) -> list[list[str]]:
        del image
        layout = f"oci:{self.folder / 'pulled'}:latest"
        return [["skopeo", "copy", "-q", "--dest-tls-verify=false", layout, f"docker://{target}"]]

    def save(self, image: str, archive: Path) -> list[list[str]]:
        return [["skopeo", "copy", "-q", f"oci:{self.folder / 'pulled'}:latest", f"docker-archive:{archive}:{image}"]]


# ---- the registries


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A docker-registry on loopback, as HOST:PORT."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        raise SystemExit("docker-registry is not installed (Debian: apt install docker-registry)")
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    document = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": address, "secret": "benchmark"},
        "log": {"level": "error", "accesslog": {"disabled": True}},
    }
    (folder / "config.yml").write_text(json.dumps(document))  # JSON is YAML
    process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(address.split(":"), 1):
                yield address
                return
            time.sleep(0.1)
        raise SystemExit("docker-registry did not start")
    finally:
        process.terminate()
        process.wait()


# ---- the run


def engines() -> list[type[Ours | Docker | Skopeo]]:
    found: list[type[Ours | Docker | Skopeo]] = [Ours]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if subprocess.run([DOCKER, "info"], capture_output=True, check=False, timeout=10).returncode == 0:
            found.append(Docker)
    if len(found) == 1:
        print("no docker engine answers: its column stays empty (start dockerd, set DOCKER_HOST)")
    if not (shutil.which("skopeo") and shutil.which("umoci")):
        raise SystemExit("skopeo and umoci are not installed")
    return [*found, Skopeo]


def one_round(
    folder: Path, number: int, debian: Path, source: str, target: str, only: list[str]
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Measure everything once; yields row, engine and figures."""
    mark = f"{time.time_ns()}-{number}"
    base, layers = write_archives(folder / f"images-{number}", debian, mark)
    image = f"{source}/bench:r{number}"
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{layers}", f"docker://{image}"], check=True
    )
    order = engines()
    order = order[number % len(order) :] + order[: number % len(order)]
    made = {kind.name: kind(folder, number) for kind in order}
    if "docker" in made:
        LEFT.extend([image, f"bench-base:{mark}", f"{target}/docker:r{number}"])
    steps: dict[str, tuple[Path, Callable[[Ours | Docker | Skopeo], list[list[str]]]]] = {
        "load": (base, lambda engine: engine.load(base, "bench-base")),
        "pull": (folder / "source", lambda engine: engine.pull(image)),
        "push": (layers, lambda engine: engine.push(image, f"{target}/{engine.name.partition('+')[0]}:r{number}")),
        "save": (layers, lambda engine: engine.save(image, folder / f"saved-{engine.name}-{number}.tar")),
    }
    for row, (read, command) in steps.items():
        if row not in only and not (row == "pull" and {"push", "save"} & set(only)):
            continue
        for engine in made.values():
            read_all(read)
            yield row, engine.name, measured(command(engine), engine.env, engine.folder, engine.others)


LEFT: list[str] = []  # images of docker's to remove at the end


def table(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    names = list(dict.fromkeys(name for row in results.values() for name in row))
    lines = [f"{'':36}" + "".join(f"{name:>24}" for name in names)]
    for row, found in results.items():
        cells = []
        for name in names:
            figures = found[name]
            seconds, synced, size = (
                statistics.median(one[key] for one in figures) for key in ("seconds", "synced", "bytes")
            )
            cells.append(f"{seconds:6.2f} ({synced:5.2f}) {size / 1e6:5.0f} MB")
        lines.append(f"{ROWS[row]:36}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--debian", type=Path, help="tar of a Debian file system, about 170 MB")
    parser.add_argument("--rounds", type=int, default=3, help="measurements per row and engine")
    parser.add_argument("--only", default=",".join(ROWS), help="rows, with commas: load, pull, push, save")
    parser.add_argument("--folder", type=Path, help="where to work (default: TMPDIR); 4 GB a round")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    only = options.only.split(",")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder, ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        debian = options.debian
        if debian is None:
            debian = folder / "debian.tar"
            subprocess.run(["mmdebstrap", "-q", "--variant=important", "bookworm", str(debian)], check=True)
        try:
            with registry(folder / "source") as source, registry(folder / "target") as target:
                for number in range(options.rounds):
                    for row, engine, figures in one_round(folder, number, debian, source, target, only):
                        results.setdefault(row, {}).setdefault(engine, []).append(figures)
                        print(f"round {number + 1}: {row:5} {engine:13} {figures['seconds']:6.2f} s", flush=True)
        finally:
            for image in LEFT:
                subprocess.run([DOCKER, "rmi", image], check=False, capture_output=True)
        print(f"load of the machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
        print("seconds until the command returned (until everything was on the disk), peak memory")
        print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
