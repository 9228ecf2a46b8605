"""Fuzz the readers: ``python tests/fuzz/run.py [--seconds N] [--corpus DIR] [TARGET ...]``; needs the extra ``fuzz``.

Each target runs in a process of its own, one after the other, for its share of the time. A crash, an input that takes
longer than ten seconds, and more than one gigabyte of memory fail the run; the input is kept beside the corpus.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = ("parser", "expansion", "ignore", "layer", "registry", "login", "archive")
MEMORY = 1024
SLOWEST = 10
LONGEST = {
    "parser": 2048,
    "expansion": 512,
    "ignore": 512,
    "layer": 12288,
    "registry": 4096,
    "login": 1024,
    "archive": 16384,
}


def main() -> int:
    """Run the targets that were asked for; the exit code is 1 if any of them failed."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("targets", nargs="*", choices=[[], *NAMES], metavar="TARGET", help=", ".join(NAMES))
    words.add_argument("--seconds", type=int, default=60, help="for all of them together")
    words.add_argument("--corpus", type=Path, help="directory to keep inputs in; default a temporary one")
    asked = words.parse_args()
    targets = asked.targets or NAMES
    with tempfile.TemporaryDirectory(prefix="contextkernel-fuzz-") as temporary:
        home = asked.corpus or Path(temporary)
        failed = [name for name in targets if not _run(name, max(1, asked.seconds // len(targets)), home)]
    for name in failed:
        print(f"{name}: failed")
    return 1 if failed else 0


def _run(name: str, seconds: int, home: Path) -> bool:
    corpus, kept = home / name, (home if home.is_absolute() else Path.cwd() / home) / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    kept.mkdir(exist_ok=True)
    command = [
        sys.executable,
        str(Path(__file__).with_name("one.py")),
        name,
        str(corpus),
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST[name]}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={kept}/{name}-",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    print(f"{name}: {seconds} s", flush=True)
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT, check=False)
    for found in sorted(kept.glob(f"{name}-*")):
        print(f"{name}: {found.name}: {found.read_bytes()!r}")
    return ended.returncode == 0


if __name__ == "__main__":
    raise SystemExit(main())
