"""Run environments by hand: python tests/outer/run.py [--shell | --keep DIR] [ENVIRONMENT...] [--notebooks PREFIX...]

Prints how what was found differs from ``expected.toml``, and what was found in the form of that file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "notebook")]

from course_bases import base_archive  # noqa: E402
from pods import compare, daemon  # noqa: E402
from pods.environments import COURSE, ENVIRONMENTS  # noqa: E402
from pods.session import session, side_by_side  # noqa: E402

CACHE = Path(os.environ.get("CONTEXTKERNEL_TEST_CACHE") or Path.home() / ".cache" / "contextkernel-tests")


def main() -> int:
    """Command line entry."""
    names = [environment.name for environment in ENVIRONMENTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shell", action="store_true", help="a shell in the (one) environment instead of its tests")
    parser.add_argument("--keep", type=Path, help="copy results and executed notebooks to this directory")
    parser.add_argument("--notebooks", nargs="*", metavar="PREFIX", help="only these; without a word, none")
    parser.add_argument("environments", nargs="*", metavar="ENVIRONMENT", help=f"of {', '.join(names)}; default: all")
    options = parser.parse_args()
    unknown = [name for name in options.environments if name not in names]
    if unknown:
        parser.error(f"no such environment: {', '.join(unknown)}; there are {', '.join(names)}")
    if problem := daemon.why_not():
        parser.error(problem)
    chosen = tuple(one for one in ENVIRONMENTS if one.name in options.environments or not options.environments)
    if options.notebooks is not None:
        wanted = tuple(options.notebooks)
        chosen = tuple(
            replace(one, notebooks=tuple(name for name in COURSE if name.startswith(wanted))) for one in chosen
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with session(CACHE, lambda: base_archive(CACHE)) as made:
        print(f"made: {made.seconds}", flush=True)
        if options.shell:
            with made.prepared(chosen[0], ("bash",), terminal=sys.stdin.isatty()) as command:
                print(f"the wheel, the base images and the notebooks are in {made.share}", flush=True)
                return subprocess.run(command, check=False).returncode
        wrong = 0
        for name, future in side_by_side(made.run, chosen).items():
            if problem := future.exception():
                print(f"==> {name}: {problem}", flush=True)
                wrong += 1
                continue
            day = future.result()
            environment = next(one for one in chosen if one.name == name)
            found = compare.observed(day, environment.notebooks)
            rows = compare.differences(compare.expected().get(name, {}), found)
            print(f"==> {name}: {day.seconds} s, {day.result['seconds']}, {day.result['memory']}")
            print(compare.table_of(rows) or "as expected")
            print(compare.as_toml(name, found), flush=True)
            wrong += bool(rows)
            if options.keep:
                shutil.copytree(day.out, options.keep / name, dirs_exist_ok=True)
                (options.keep / f"{name}.toml").write_text(compare.as_toml(name, found))
        print(f"packages and lists downloaded: {made.proxy.fetched}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
