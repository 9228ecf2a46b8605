"""Random work in a file system, the same on an overlay and on a copied tree: run as a program of its own.

Standard input is a JSON document: ``idmap`` (ids of the worker), ``jobs``: ``root``, ``lowers``, ``upper``, ``work``
(``lowers`` empty: ``root`` is the tree itself), ``steps``: lists of a verb and its words.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

#: what every change gets as its time in the end; the base is older
LATER = 1_700_000_000
_OLDER = 1_650_000_000
_NAMES = ("a", "b", "c", "d", "etc", "link", "one", "two", "new", "deep")


def random_steps(seed: int) -> list[list[Any]]:
    """Some work; much of it fails, in the same way everywhere."""
    dice = random.Random(seed)  # noqa: S311 - nothing secret

    def path() -> str:
        return "/".join(dice.choice(_NAMES) for _ in range(dice.choice((1, 1, 2, 2, 3))))

    makers: list[Callable[[], list[Any]]] = [
        lambda: ["write", path(), dice.randrange(3)],
        lambda: ["append", path()],
        lambda: ["remove", path()],
        lambda: ["remove", path()],
        lambda: ["mkdir", path()],
        lambda: ["again", path()],
        lambda: ["move", path(), path()],
        lambda: ["link", path(), path()],
        lambda: ["symlink", path(), path()],
        lambda: ["chmod", path(), dice.choice((0o600, 0o644, 0o755, 0o4755))],
        lambda: ["times", path()],
        lambda: ["fifo", path()],
        lambda: ["note", path()],
        lambda: ["truncate", path()],
        lambda: ["rewrite", path()],
    ]
    return [dice.choice(makers)() for _ in range(dice.randrange(1, 25))]


def work(step: list[Any]) -> None:
    """Do one step in the current directory."""
    match step:
        case ["write", path, kind]:
            with open(path, "wb") as stream:
                stream.write(b"x" * (0, 10, 70_000)[kind])
        case ["append", path]:
            with open(path, "ab") as stream:
                stream.write(b"more")
        case ["remove", path]:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        case ["mkdir", path]:
            os.mkdir(path)
        case ["again", path]:  # a directory that is empty after it had something in it
            shutil.rmtree(path)
            os.mkdir(path)
        case ["move", source, target]:
            subprocess.run(["mv", "-T", source, target], check=False, stderr=subprocess.DEVNULL)
        case ["link", source, target]:
            os.link(source, target, follow_symlinks=False)
        case ["symlink", source, target]:
            os.symlink(source, target)
        case ["chmod", path, mode]:
            # whoever has no privilege has to get into its directories
            os.chmod(path, mode | 0o700 * os.path.isdir(path))
        case ["times", path]:
            os.utime(path, (1, 2))
        case ["fifo", path]:
            os.mkfifo(path)
        case ["note", path]:
            os.setxattr(path, "user.note", b"text")
        case ["truncate", path]:
            os.truncate(path, 5)
        case ["rewrite", path]:  # nothing changes but by a look at the inode
            info = os.stat(path)
            with open(path, "rb") as stream:
                data = stream.read()
            with open(path, "r+b") as stream:
                stream.write(data)
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def settle_times() -> None:
    """All that changed just now gets one time, so that layers can be compared."""
    for directory, folders, files in os.walk(".", topdown=False):
        for name in (*files, *folders):
            path = os.path.join(directory, name)
            if os.lstat(path).st_mtime > _OLDER:
                os.utime(path, (LATER, LATER), follow_symlinks=False)


def main() -> None:
    """See the module."""
    from contextkernel.linux import mount, namespaces, userns
    from contextkernel.model.codec import from_json
    from contextkernel.model.ids import IdMap

    asked = json.load(sys.stdin)
    idmap = from_json(json.dumps(asked["idmap"]).encode(), IdMap)
    userns.enter(idmap)
    if any(job["lowers"] for job in asked["jobs"]):
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mount.make_private()
    os.umask(0o022)
    for job in asked["jobs"]:
        if job["lowers"]:
            mount.overlay(
                job["root"],
                lowers=job["lowers"],
                upper=job["upper"],
                work=job["work"],
                userxattr=not idmap.identity,
                volatile=True,
            )
        os.chdir(job["root"])
        for step in job["steps"]:
            with contextlib.suppress(OSError):
                work(step)
        settle_times()
        os.chdir("/")
        if job["lowers"]:
            mount.umount(job["root"])


if __name__ == "__main__":
    main()
