"""Sessions: who is adding something to the store, and whether they are still there.

A session is a file on which its process holds a ``flock``; the kernel lets go of it when the process ends, however
that happens. Things in the making carry the session's id; once its lock is free they are left-overs.
"""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from contextlib import suppress

from contextkernel.store import reserve
from contextkernel.store.paths import SESSION_LENGTH, Paths, random_name, refused

_SUFFIX = ".lock"


class Session:
    """The session of one open store; the lock file is made when the id is first needed."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._id = ""
        self._descriptor = -1
        #: layer directories made and not yet added, by name
        self.pending: set[str] = set()
        #: directories below caches/ made and not yet known, by name
        self.pending_caches: set[str] = set()
        _ALL.add(self)

    @property
    def active(self) -> bool:
        """Whether a lock file was made."""
        return bool(self._id)

    @property
    def id(self) -> str:
        """The session's id; 8 characters.

        Raises:
            StoreFull, StoreProblem: the lock file cannot be made.
        """
        with self._lock:
            if not self._id:
                reserve.renew(self._paths.root)
                try:
                    self._start()
                except OSError as problem:
                    raise refused(problem, self._paths.root) from problem
            return self._id

    def _start(self) -> None:
        while True:
            name = random_name(SESSION_LENGTH)
            path = self._path(name)
            try:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.exists(path):
                    self._id, self._descriptor = name, descriptor
                    return
            except BlockingIOError:
                pass  # somebody is just looking whether the new file's owner lives; leave it to them
            os.close(descriptor)

    def _path(self, name: str) -> str:
        return f"{self._paths.sessions}/{name}{_SUFFIX}"

    def alive(self, name: str) -> bool:
        """Whether the process of session ``name`` (in this or another process) still runs."""
        if name == self._id:
            return True
        claim = self.claim(name)
        if claim >= 0:
            os.close(claim)
            return False
        return os.path.exists(self._path(name))

    def claim(self, name: str) -> int:
        """Take over the lock of a session whose process is gone.

        Returns:
            A descriptor that holds the lock; -1 if the process lives, another one is cleaning up, or there is no
            such session.
        """
        if name == self._id:
            return -1
        try:
            descriptor = os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return -1
        return descriptor

    def others(self) -> list[str]:
        """The ids of all sessions but this one, alive or not."""
        names = [entry.removesuffix(_SUFFIX) for entry in os.listdir(self._paths.sessions) if entry.endswith(_SUFFIX)]
        return [name for name in names if name != self._id]

    def forget(self, name: str, descriptor: int) -> None:
        """Remove the file of a claimed session whose left-overs are gone."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(name))
        os.close(descriptor)

    def end(self) -> None:
        """Give up this session. Idempotent; the next use of :attr:`id` starts another one."""
        with self._lock:
            if self._id:
                self.forget(self._id, self._descriptor)
                self._id, self._descriptor = "", -1
                self.pending = set()
                self.pending_caches = set()

    def abandon(self) -> None:
        """Let go of the lock and leave the file, as if the process had ended: others clean up."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._id, self._descriptor, self.pending, self.pending_caches = "", -1, set(), set()

    def _in_child(self) -> None:
        # the lock belongs to the open file that parent and child share: the child must let go of its half,
        # or the parent would seem alive for as long as the child (a container's monitor) runs
        self._lock = threading.Lock()
        self.abandon()


_ALL: weakref.WeakSet[Session] = weakref.WeakSet()


def _after_in_child() -> None:
    for session in list(_ALL):
        session._in_child()


os.register_at_fork(after_in_child=_after_in_child)
