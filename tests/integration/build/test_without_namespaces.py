"""A build and a container in what docker's default profile leaves of a machine: its system call policy, no privileges.

A process installs the policy that docker gives a container, and becomes an ordinary user: it can make no namespace.
What it does then is what a pod does.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

BUSYBOX = "/bin/busybox"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n"

_INSIDE = r"""
import json, os, sys
from contextkernel.linux.caps import set_no_new_privs
from contextkernel.linux.seccomp import default_filter, install_filter
from contextkernel.runtime.plan_security import CAPABILITIES

set_no_new_privs()
install_filter(default_filter(frozenset(CAPABILITIES)))

from contextkernel import Engine
from contextkernel.model.build_inputs import SecretValue, StepOptions
from contextkernel.model.events import BuildWarning

place = sys.argv[1]
warnings = []
found = {}
text = '''
FROM base AS first
RUN mkdir /made && echo $((6 * 7)) >/made/answer && ln /made/answer /made/same && ln -s answer /made/link
RUN rm /etc/unwanted && rm -r /made && mkdir /made && echo new >/made/only
RUN --mount=type=cache,target=/cache --mount=type=secret,id=key cat /run/secrets/key >/cache/x && test -s /cache/x
USER bob
RUN id -u >/tmp/who
FROM base
COPY --from=first --chown=3:4 /made /copied
RUN --mount=type=bind,from=first,target=/first ! touch /first/x && cat /first/tmp/who >/who
'''
steps = StepOptions(secrets={"key": SecretValue(b"hush")})
with Engine(place + "/store") as engine:
    found["tier"] = engine.host_report().tier
    engine.import_image(place + "/base.tar", "base")
    def heard(event):
        if isinstance(event, BuildWarning):
            warnings.append(event.text)
    engine.build(None, text=text, tags=["one"], steps=steps, report=heard)
    engine.build(None, text=text, tags=["two"], steps=steps, target="first")
    engine.save(["two"], place + "/two.tar")
    script = "cat /copied/only /who; ls -d /first /cache; id -u; exit 3"
    done = engine.run("one", ["sh", "-c", script], remove=True)
    found["run"] = [done.exit_code, done.stdout_text.split()]
    found["two"] = engine.run("two", ["sh", "-c", "ls /made /etc; id -u"], remove=True).stdout_text.split()
    found["left"] = os.listdir(place + "/store/containers")
found["warnings"] = warnings
print(json.dumps(found))
"""


def _owners(path: Path) -> dict[str, tuple[int, int]]:
    """Of all files in the layers of a saved image."""
    found: dict[str, tuple[int, int]] = {}
    with tarfile.open(path) as archive:
        manifest = json.load(archive.extractfile("manifest.json") or io.BytesIO())
        for name in manifest[0]["Layers"]:
            layer = io.BytesIO((archive.extractfile(name) or io.BytesIO()).read())
            with tarfile.open(fileobj=layer) as files:
                found.update({one.name.removeprefix("./"): (one.uid, one.gid) for one in files})
    return found


def _of_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


@pytest.fixture
def place(request: pytest.FixtureRequest):
    """A folder with what is needed, of the ordinary user; and the words to become that user."""
    words: list[str] = []
    folder = Path("/tmp") / f"ck-without-{os.getpid()}"
    folder.mkdir(mode=0o755)
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    for applet in ("sh", "cat", "id", "ls", "mkdir", "ln", "rm", "test", "touch"):
        (root / "bin" / applet).symlink_to("busybox")
    for name in ("etc", "tmp"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "unwanted").write_text("x")
    with tarfile.open(folder / "base.tar", "w") as tar:
        tar.add(root, ".", filter=_of_root)
    if os.geteuid() == 0:
        user = request.getfixturevalue("user")
        words = ["runuser", "-u", user, "--"]
        shutil.chown(folder, user)
    yield folder, words
    shutil.rmtree(folder)


def test_build_and_run_where_dockers_default_profile_leaves_no_namespaces(place):
    if not shutil.which("proot") or not os.path.exists(BUSYBOX):
        pytest.skip("needs proot and a static busybox")
    folder, words = place
    path = os.pathsep.join(one for one in sys.path if one)
    words += ["env", f"HOME={folder}", f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1"]
    words += [sys.executable, "-c", _INSIDE, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["tier"] == "ptrace"
    assert found["run"] == [3, ["new", "1000", "0"]]
    assert found["two"] == ["/etc:", "hostname", "hosts", "passwd", "resolv.conf", "/made:", "only", "1000"]
    assert found["left"] == []
    owners = _owners(folder / "two.tar")
    assert owners["made/only"] == owners["made"] == (0, 0)
    assert owners["tmp/who"] == (1000, 1001)
    assert any("without isolation" in text for text in found["warnings"])
