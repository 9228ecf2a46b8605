"""Record what Docker with BuildKit makes of the cases: ``DOCKER_HOST=... python record_docker.py BUSYBOX``.

BUSYBOX is a statically linked busybox; base images are made from it with ``docker import``. The results are kept in
the repository, so that the comparison runs without docker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = Path(__file__).parent / "cases"
APPLETS = ("sh", "ls", "cat", "echo", "mkdir", "cp", "env", "touch", "id", "true", "rm")
CHANGES = ("ENV FROM_BASE=yes", 'CMD ["sh"]', "LABEL base=1")


def docker(*words: str) -> str:
    """Run docker; its output."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    return subprocess.run(["docker", *words], check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def make_bases(busybox: str) -> None:
    """Import ``base:1`` and ``base:2``."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        Path(root, "bin").mkdir(parents=True)
        subprocess.run(["cp", busybox, root / "bin" / "busybox"], check=True)
        for applet in APPLETS:
            Path(root, "bin", applet).symlink_to("busybox")
        tar = f"{folder}/root.tar"
        subprocess.run(["tar", "-C", root, "-cf", tar, "."], check=True)
        changes = [word for change in CHANGES for word in ("--change", change)]
        for name in ("base:1", "base:2"):
            docker("import", *changes, tar, name)


def record(case: Path) -> None:
    """Build one case and write its ``docker.json``."""
    given = case / "request.json"
    request = json.loads(given.read_text()) if given.exists() else {}
    words = [w for k, v in request.get("build_args", {}).items() for w in ("--build-arg", f"{k}={v}")]
    if "target" in request:
        words += ["--target", request["target"].lower()]
    docker("build", "--network=none", "-q", "-t", "recorded", *words, str(case))
    image = json.loads(docker("inspect", "recorded"))[0]
    lines = docker("history", "--no-trunc", "--format", "{{json .}}", "recorded").splitlines()
    history = [json.loads(line) for line in reversed(lines)]
    # the classic API does not say which entries have layers; those that are not metadata do
    layered = ("RUN ", "COPY ", "ADD ", "WORKDIR ")
    document = {
        "Config": {key: value for key, value in image["Config"].items() if value not in (None, "", False)},
        "Author": image["Author"],
        "History": [
            {
                "created_by": line["CreatedBy"],
                "empty": not line["CreatedBy"].startswith(layered) or line["CreatedBy"] == "WORKDIR /",
            }
            for line in history
            if line["Comment"] == "buildkit.dockerfile.v0"
        ],
        "Layers": len(image["RootFS"].get("Layers") or ()),
    }
    (case / "docker.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    make_bases(sys.argv[1])
    for path in sorted(CASES.glob("*/Dockerfile")):
        try:
            record(path.parent)
        except subprocess.CalledProcessError as problem:
            print(f"{path.parent.name}: not recorded: {problem}")
