"""Where things are in a store.

::

    root/meta.db                  SQLite
    root/blobs/sha256/<hex>       configs, and the original archives of layers from elsewhere
    root/layers/<id>/             diff/ (overlay lower directory), index, work/
    root/caches/<name>/           tree/data (what RUN --mount=type=cache shows), lock
    root/containers/<id>/         upper/, work/, log.json, state.json, ...
    root/volumes/<name>/_data     what a volume shows
    root/sessions/<id>.lock       one per process that is adding something
    root/downloads/               what has arrived of layers whose pull was interrupted
    root/tmp/<session>-<random>   files being written
    root/run/userns/              locks of those who share the user namespace (linux.userns_shared)
    root/reserve                  room for cleaning up when the disk is full

Layer and temporary names begin with the id of the session that made them: whether that session's lock is still held
tells whether something that no database row knows of is work in progress or left over by a killed process.
"""

from __future__ import annotations

import errno
import os

from contextkernel.errors import StoreFull, StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.room import human_size

SESSION_LENGTH = 8
ROOM_ADVICE = (
    "`system df` shows what takes it; `system prune` (`-a --volumes`: all that no container uses), rmi and rm free some"
)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def random_name(length: int) -> str:
    """A name of ``length`` characters, five bits each."""
    return "".join(_ALPHABET[byte & 31] for byte in os.urandom(length))


def default_root() -> str:
    """``$CONTEXTKERNEL_ROOT``, else ``/var/lib/contextkernel`` for root, else the user's data directory."""
    chosen = os.environ.get("CONTEXTKERNEL_ROOT")
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))
    if os.geteuid() == 0:
        return "/var/lib/contextkernel"
    from platformdirs import user_data_dir

    return os.path.abspath(user_data_dir("contextkernel"))


def refused(problem: OSError, root: str) -> StoreProblem:
    """The typed error for a refusal of the file system the store is on."""
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return no_space(root)
    reason = (problem.strerror or str(problem)).lower()
    return StoreProblem(
        f"the store {root} cannot be used: {problem.filename or root}: {reason}",
        hint="set CONTEXTKERNEL_ROOT to a directory of your own",
    )


def no_space(root: str) -> StoreFull:
    """The error for a full disk, or a quota that is used up.

    Args:
        root: the store's directory.
    """
    room = ""
    try:
        state = os.statvfs(root)
        room = (
            f": {human_size(state.f_bavail * state.f_frsize)} of {human_size(state.f_blocks * state.f_frsize)} are free"
        )
    except OSError:
        pass  # then without numbers
    return StoreFull(
        f"no space left for the store {root}{room}",
        hint=f"{ROOM_ADVICE}, or set CONTEXTKERNEL_ROOT to a larger file system",
    )


class Paths:
    """The paths of one store.

    Args:
        root: absolute path of its directory.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.database = f"{root}/meta.db"
        self.blobs = f"{root}/blobs/sha256"
        self.layers = f"{root}/layers"
        self.containers = f"{root}/containers"
        self.caches = f"{root}/caches"
        self.volumes = f"{root}/volumes"
        self.registries = f"{root}/registry"
        self.sessions = f"{root}/sessions"
        self.downloads = f"{root}/downloads"
        self.tmp = f"{root}/tmp"  # noqa: S108 # not the shared /tmp

    def make(self) -> None:
        """Make the directories that are missing.

        Nobody else may look in: layers hold set-user-id programs of untrusted images.

        Raises:
            StoreFull, StoreProblem: it is not possible.
        """
        try:
            if not os.path.isdir(self.root):
                os.makedirs(self.root, 0o700, exist_ok=True)
            for path in (
                self.sessions,
                self.tmp,
                self.layers,
                self.caches,
                self.containers,
                self.volumes,
                f"{self.root}/blobs",
                self.blobs,
            ):
                if not os.path.isdir(path):
                    os.makedirs(path, 0o700, exist_ok=True)
        except OSError as problem:
            raise refused(problem, self.root) from problem

    def blob(self, digest: Digest) -> str:
        """Path of a blob."""
        return f"{self.root}/blobs/{digest.algorithm}/{digest.hex}"

    def layer(self, name: str) -> str:
        """Path of a layer directory."""
        return f"{self.layers}/{name}"

    def container(self, id: str) -> str:
        """Path of a container's directory."""
        return f"{self.containers}/{id}"

    def volume(self, name: str) -> str:
        """Path of what a volume shows."""
        return f"{self.volumes}/{name}/_data"

    def temporary(self, session: str) -> str:
        """A new path for something that ``session`` is writing."""
        return f"{self.tmp}/{session}-{random_name(12)}"
