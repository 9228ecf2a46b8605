"""A small root file system made of a static busybox, and a runtime for whoever runs the tests.

Root runs them without a user namespace; an ordinary user with a range of ids, or with a single one
(``CONTEXTKERNEL_TEST_IDS=single``). test_unprivileged.py does so from root. With
``CONTEXTKERNEL_TEST_IDS=traced`` there are no namespaces, and proot shows the files.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contextkernel.model.container import Bind, LaunchRequest
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.results import HostReport
from contextkernel.runtime.client import NamespaceRuntime
from contextkernel.runtime.facts import HostFacts, from_report

BUSYBOX = "/bin/busybox"
APPLETS = (
    "awk cat chown cut dd env find grep head hostname id ifconfig ip kill ln ls mkdir mknod mount mv ps pwd readlink"
    " rm rmdir seq setsid sh sleep sort stat su tail tar test touch tr true umount wc yes"
)
TRACED = os.environ.get("CONTEXTKERNEL_TEST_IDS") == "traced"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n"
GROUP = "root:x:0:root\nbob:x:1001:\nextra:x:50:bob\nother:x:60:\n"


def _own_range(path: str, name: str) -> IdRange | None:
    for line in Path(path).read_text().splitlines():
        who, first, count = line.split(":")
        if who == name:
            return IdRange(1, int(first), int(count))
    return None


def _idmap() -> IdMap:
    uid, gid = os.geteuid(), os.getegid()
    if TRACED:
        return IdMap(own=uid != 0)
    if uid == 0:
        return IdMap()
    single = IdMap((IdRange(0, uid, 1),), (IdRange(0, gid, 1),))
    if os.environ.get("CONTEXTKERNEL_TEST_IDS") == "single" or not shutil.which("newuidmap"):
        return single
    name = pwd.getpwuid(uid).pw_name
    uids, gids = _own_range("/etc/subuid", name), _own_range("/etc/subgid", name)
    if uids is None or gids is None:
        return single
    return IdMap((*single.uids, uids), (*single.gids, gids))


def _namespaces_allowed() -> bool:
    flag = "0x20000" if os.geteuid() == 0 else "0x10020000"
    code = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({flag}) != 0)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="session")
def idmap() -> IdMap:
    if TRACED and not shutil.which("proot"):
        pytest.skip("needs proot")
    if sys.platform != "linux" or (not TRACED and not _namespaces_allowed()):
        pytest.skip("this host allows no namespaces")
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs a static busybox")
    return _idmap()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer: busybox with its applets, /etc/passwd and /etc/group; no mount points."""
    root = tmp_path_factory.mktemp("layers") / "base" / "diff"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    for applet in APPLETS.split():
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc").mkdir()
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "group").write_text(GROUP)
    return root


@dataclass
class Finished:
    code: int
    out: str
    err: str


@dataclass
class Box:
    """Makes requests with fresh directories, and runs them."""

    runtime: NamespaceRuntime
    idmap: IdMap
    base: Path
    home: Path
    count: int = 0
    started: list[str] = field(default_factory=list)

    @property
    def single(self) -> bool:
        return self.idmap.single

    def request(self, *argv: str, state: bool = False, **changes: object) -> LaunchRequest:
        self.count += 1
        directory = self.home / f"c{self.count}"
        for name in ("upper", "work"):
            (directory / name).mkdir(parents=True)
        values: dict[str, object] = {
            "id": f"c{self.count}",
            "argv": argv,
            "env": ("PATH=/bin",),
            "hostname": "box",
            "network": "none",
            "lowers": (str(self.base),),
            "upper": str(directory / "upper"),
            "work": str(directory / "work"),
            "fake_ids": self.single,
        }
        if self.runtime.facts.isolation == "none":
            shutil.copytree(self.base, directory / "tree", symlinks=True)
            values |= {"lowers": (), "upper": str(directory / "tree"), "network": "host"}
        if state:
            values |= {"state_dir": str(directory), "log": str(directory / "log.json")}
            self.started.append(str(directory))
        return LaunchRequest(**{**values, **changes})  # type: ignore[arg-type]

    def run(self, *argv: str, stdin: bytes | None = None, **changes: object) -> Finished:
        """Run to the end, with both outputs collected."""
        return self.execute(self.request(*argv, **changes), stdin=stdin)

    def execute(self, request: LaunchRequest, *, stdin: bytes | None = None) -> Finished:
        pipes = [os.pipe() for _ in range(3)]
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = pipes
        collected: dict[int, bytes] = {}

        def collect(descriptor: int) -> None:
            with os.fdopen(descriptor, "rb") as stream:
                collected[descriptor] = stream.read()

        def feed() -> None:
            with suppress(BrokenPipeError), os.fdopen(in_write, "wb") as stream:
                stream.write(stdin or b"")

        threads = [threading.Thread(target=collect, args=(end,)) for end in (out_read, err_read)]
        threads.append(threading.Thread(target=feed))
        for thread in threads:
            thread.start()
        try:
            process = self.runtime.launch(
                request, stdin=None if stdin is None else in_read, stdout=out_write, stderr=err_write
            )
        finally:
            for end in (in_read, out_write, err_write):
                os.close(end)
        code = process.wait()
        process.close()
        for thread in threads:
            thread.join()
        assert code is not None
        return Finished(
            code, collected[out_read].decode("utf-8", "replace"), collected[err_read].decode("utf-8", "replace")
        )

    def end(self) -> None:
        """Kill what still runs."""
        for directory in self.started:
            process = self.runtime.connect(directory)
            if process is not None:
                process.signal(9)
                process.wait()
                process.close()

    def sh(self, script: str, **changes: object) -> str:
        """Standard output of a shell script that must succeed."""
        done = self.run("sh", "-c", script, **changes)
        assert (done.code, done.err) == (0, "")
        return done.out


@pytest.fixture
def python(box: Box):
    """Runs Python code in a container: the host's own Python, seen through read-only binds."""
    program = "/usr/bin/python3"
    if not os.access(program, os.X_OK):
        pytest.skip("needs /usr/bin/python3, to make system calls from inside")
    binds = tuple(Bind(path, path, read_only=True) for path in ("/usr", "/lib", "/lib64") if os.path.exists(path))

    def run(code: str, *, within: Box = box, **changes: object) -> Finished:
        more = changes.pop("binds", ())
        return within.run(program, "-B", "-c", code, binds=(*binds, *more), **changes)  # type: ignore[misc]

    return run


def _traced_facts(idmap: IdMap) -> HostFacts:
    """Those of a host that allows no namespaces."""
    return from_report(idmap, HostReport(tier="ptrace", facts=()))


@pytest.fixture(scope="session")
def _traced_runtime():
    if not shutil.which("proot"):
        pytest.skip("needs proot")
    idmap = IdMap(own=os.geteuid() != 0)
    runtime = NamespaceRuntime(idmap, facts=_traced_facts(idmap))
    yield runtime
    runtime.close()


@pytest.fixture
def traced(_traced_runtime: NamespaceRuntime, base: Path, tmp_path: Path):
    """A box whose containers have no namespaces, whatever this host allows."""
    made = Box(_traced_runtime, IdMap(own=os.geteuid() != 0), base, tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="session")
def _runtime(idmap: IdMap):
    runtime = NamespaceRuntime(idmap, facts=_traced_facts(idmap) if TRACED else None)
    yield runtime
    runtime.close()


@pytest.fixture
def box(_runtime: NamespaceRuntime, idmap: IdMap, base: Path, tmp_path: Path):
    made = Box(_runtime, idmap, base, tmp_path)
    yield made
    made.end()
