"""How a way out is found: with programs that are played by scripts, in a network namespace that has none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

FIND = """
import json, os, socket, sys
from contextkernel.linux.userns import enter
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.network import outbound
from contextkernel.network.bench import Bench
from contextkernel.network.inner import serve
from contextkernel.network.loop import Loop

tun, patience, stay = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "stay"
outbound._PATIENCE = patience
watch = outbound._watch

# the first program may be one that hangs; whatever comes after it has time to load its modules
def once(*words):
    watcher = watch(*words)
    outbound._PATIENCE = 60.0
    return watcher

outbound._watch = once
uid, gid = os.geteuid(), os.getegid()
if uid:
    enter(IdMap((IdRange(0, uid, 1),), (IdRange(0, gid, 1),)))
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
inner = os.fork()
if inner == 0:
    ours.close()
    serve(theirs, shared=False)
    os._exit(0)
theirs.close()
loop = Loop()
outside = outbound.Outside(loop, Bench(loop, ours, lambda: sys.exit("lost")), inner, tun=tun)
found = []
outside.open(found.append)
while not found:
    loop.run_once(30)
(way,) = found
said = {"kind": way.kind, "by": way.by, "redirect": bool(way.redirect), "problems": way.problems}
print(json.dumps(said), flush=True)
if stay:
    sys.stdin.read()
outside.close()
"""

#: enters the namespace that it is given and makes what looks like its device
MAKES = """#!{python}
import os, sys, time
from contextkernel.linux.namespaces import CLONE_NEWNET, setns
from pyroute2 import IPRoute
open(os.environ["NOTE"], "w").write(str(os.getpid()))  # before the device, by which the service knows it to be ready
place = next(word for word in sys.argv if word.startswith("/proc/self/fd/"))
setns(os.open(place, os.O_RDONLY), CLONE_NEWNET)
with IPRoute() as links:
    links.link("add", ifname="tap0", kind="bridge")
    index = links.link_lookup(ifname="tap0")[0]
    links.link("set", index=index, state="up")
    links.addr("add", index=index, address="10.0.2.100", prefixlen=24)
    links.route("add", dst="default", gateway="10.0.2.2", oif=index)
time.sleep(60)
"""
REFUSES = "#!/bin/sh\necho some line >&2\necho no such luck >&2\nexit 3\n"
HANGS = "#!/bin/sh\nexec sleep 60\n"


@pytest.fixture
def programs(tmp_path: Path):
    """Scripts as the only pasta and slirp4netns."""
    place = tmp_path / "bin"
    place.mkdir()

    def make(**scripts: str) -> dict[str, str]:
        for name, script in scripts.items():
            file = place / name
            file.write_text(script.format(python=sys.executable) if "{python}" in script else script)
            file.chmod(0o755)
        path = os.environ.get("PATH", "").split(":")
        rest = [part for part in path if not any(shutil.which(name, path=part) for name in ("pasta", "slirp4netns"))]
        paths = os.pathsep.join(dict.fromkeys(path for path in sys.path if path))
        return {**os.environ, "PATH": f"{place}:{':'.join(rest)}", "NOTE": str(tmp_path / "pid"), "PYTHONPATH": paths}

    return make


def find(environment: dict[str, str], tun: str = os.devnull, patience: float = 60) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", FIND, tun, str(patience), "go"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_program_that_makes_its_device(programs):
    assert find(programs(pasta=MAKES, slirp4netns=HANGS)) == {
        "kind": "tap",
        "by": "pasta",
        "redirect": False,
        "problems": [],
    }


@pytest.mark.parametrize(("script", "said"), [(REFUSES, "no such luck"), (HANGS, "it made no device")])
def test_a_program_that_does_not_leads_to_the_next(programs, script, said):
    found = find(programs(pasta=script, slirp4netns=MAKES), patience=60 if script == REFUSES else 1)
    assert found == {"kind": "tap", "by": "slirp4netns", "redirect": False, "problems": [f"pasta: {said}"]}


def test_without_a_program_there_is_the_relay(programs):
    found = find(programs())
    assert (found["kind"], found["redirect"]) == ("relay", True)
    assert found["problems"] == ["neither pasta nor slirp4netns is installed"]


def test_without_a_device_no_program_is_tried(programs, tmp_path):
    found = find(programs(pasta=MAKES), tun=str(tmp_path / "tun"))
    assert found["kind"] == "relay"
    assert found["problems"] == [f"{tmp_path / 'tun'}: no such file or directory"]


def test_the_program_ends_with_the_service_even_if_that_is_killed(programs, tmp_path):
    service = subprocess.Popen(
        [sys.executable, "-c", FIND, os.devnull, "60", "stay"],
        env=programs(pasta=MAKES),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    assert service.stdin is not None
    assert json.loads(service.stdout.readline())["by"] == "pasta"
    pid = int((tmp_path / "pid").read_text())
    assert os.path.exists(f"/proc/{pid}")
    service.send_signal(signal.SIGKILL)
    service.wait()
    service.stdin.close()
    service.stdout.close()
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}") and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
