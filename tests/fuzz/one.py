"""One target under atheris: ``python tests/fuzz/one.py TARGET CORPUS [libFuzzer options]``; see ``run.py``."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["contextkernel", "tarfile"]):
    from tests.fuzz.targets import SEEDS, TARGETS


def main() -> None:
    """Write the seeds into the corpus and fuzz."""
    name, corpus, *options = sys.argv[1:]
    for seed in SEEDS[name]():
        (Path(corpus) / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    atheris.Setup([sys.argv[0], *options, corpus], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
