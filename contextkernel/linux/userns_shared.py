"""One user namespace for all processes that work on one store with the same ids.

Network links can be put together only by somebody who rules both ends, so the containers of one user must be below one
user namespace, whoever started them. It lives as long as one process is in it; there is no keeper. Whoever enters
leaves a file in a directory of the store, holds a lock on it (flock(2)) and writes its process id into it. Processes
that are forked from it hold the same lock by inheritance, and add their ids. So a file that can be locked is stale, and
one that cannot names, among others, a process whose namespace can be joined.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from contextlib import suppress

from contextkernel.errors import SyscallFailed
from contextkernel.linux import userns
from contextkernel.linux.namespaces import CLONE_NEWUSER, set_dumpable, setns
from contextkernel.model.ids import IdMap

_TURN = "turn.lock"  # held while looking for a namespace and until there is one to be found
_PATIENCE = 5.0  # seconds to wait for one's turn: making a namespace takes milliseconds
_PAUSE = 0.002
_LOOKS = 50  # a process that was forked this moment has not written its id yet


def registry_of(root: str) -> str:
    """The registry of the store whose directory is ``root``."""
    return f"{root}/run/userns"


class Membership:
    """That this process, and those forked from it, are in a shared user namespace.

    Args:
        descriptor: of the locked file in the registry; ``None`` if nobody can find this process.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int | None:
        """Of the locked file; a process that is started afresh with a copy of it takes part by ``Membership(copy)``."""
        return self._descriptor

    @property
    def shared(self) -> bool:
        """Others can find the namespace of this process."""
        return self._descriptor is not None

    def note(self) -> None:
        """Add this process; to be called first thing after a fork by whoever may outlive its parent."""
        if self._descriptor is not None:
            with suppress(OSError):  # a full disk: then this one cannot be found, others can
                os.write(self._descriptor, b"%d\n" % os.getpid())

    def leave(self) -> None:
        """Not be found any more. Idempotent; the end of the process does the same."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_own = Membership()


def own_membership() -> Membership:
    """That of this process: made by :func:`enter_shared` here, or in the process that this one was forked from."""
    return _own


def enter_shared(idmap: IdMap, registry: str | None) -> Membership:
    """Move this process, which must have a single thread, into the user namespace of a store, and become root in it.

    A namespace with this id map that somebody of this registry is in is joined; else one is made. Where the registry
    cannot be used (a file system that is full or read-only) the namespace is this process's own.

    Args:
        idmap: what the ids inside are outside; identity: no namespace at all.
        registry: path of a directory for this purpose only, made if missing; ``None``: share with nobody.

    Raises:
        SyscallFailed, HostUnsupported: as of :func:`contextkernel.linux.userns.enter`.
    """
    global _own  # noqa: PLW0603 - a process is in one user namespace
    _own = _enter(idmap, registry)
    return _own


def _enter(idmap: IdMap, registry: str | None) -> Membership:
    if idmap.identity:
        return Membership()
    directory = _open(registry)
    if directory is None:
        userns.enter(idmap)
        return Membership()
    try:
        turn = _take_turn(directory)
        try:
            key = registry_key(idmap)
            namespace = _find(directory, key)
            entry = _new_entry(directory, key)
            if namespace is None or not _join(namespace, idmap):
                userns.enter(idmap)
            return Membership(_fill(entry))
        finally:
            if turn is not None:
                os.close(turn)
    finally:
        os.close(directory)


def registry_key(idmap: IdMap) -> str:
    """What two processes must have in common to share: boot, surrounding namespaces, user, id map."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    words = [boot, os.readlink("/proc/self/ns/user"), os.readlink("/proc/self/ns/pid"), str(os.geteuid())]
    words += [f"{part.container} {part.host} {part.size}" for part in (*idmap.uids, *idmap.gids)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def _open(registry: str | None) -> int | None:
    if registry is None:
        return None
    try:
        os.makedirs(registry, 0o700, exist_ok=True)
        return os.open(registry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None


def _take_turn(directory: int) -> int | None:
    """The lock that makes looking and registering one step; ``None`` if it cannot be had."""
    try:
        descriptor = os.open(_TURN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=directory)
    except OSError:
        return None
    deadline = time.monotonic() + _PATIENCE
    while not _locked(descriptor):
        if time.monotonic() > deadline:  # somebody was stopped while it held the lock
            os.close(descriptor)
            return None
        time.sleep(_PAUSE)
    return descriptor


def _locked(descriptor: int) -> bool:
    """Take the lock of an open file, if nobody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _find(directory: int, key: str) -> int | None:
    """The namespace of anybody who is registered under ``key``, opened; removes what dead processes left."""
    for _ in range(_LOOKS):
        living = _living(directory, key)
        if not living:
            return None
        for text in living:
            namespace = _open_namespace(text)
            if namespace is not None:
                return namespace
        time.sleep(_PAUSE)
    return None


def _living(directory: int, key: str) -> list[bytes]:
    """Content of the files under ``key`` that a living process holds."""
    found = []
    for name in os.listdir(directory):
        if name == _TURN:
            continue
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            continue
        try:
            if _locked(descriptor):
                with suppress(OSError):
                    os.unlink(name, dir_fd=directory)
            elif name.startswith(f"{key}-"):
                size = os.fstat(descriptor).st_size
                found.append(os.pread(descriptor, 128, 0) + b"\n" + os.pread(descriptor, 4096, max(0, size - 4096)))
        finally:
            os.close(descriptor)
    return found


def _open_namespace(text: bytes) -> int | None:
    """By way of one of the processes of a registry file: its first line is the namespace, the others are their ids."""
    inode, *pids = text.split() or [b""]
    # the last ones are the youngest; the first one, the launcher's, often lives longest
    for pid in dict.fromkeys([*pids[:1], *reversed(pids)]):
        if not pid.isdigit():
            continue
        try:
            descriptor = os.open(f"/proc/{int(pid)}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        # the process id may have been given to another process since
        if str(os.fstat(descriptor).st_ino).encode() == inode:
            return descriptor
        os.close(descriptor)
    return None


def _join(namespace: int, idmap: IdMap) -> bool:
    """Enter an open namespace and become root there; ``False`` if the kernel does not let us."""
    try:
        setns(namespace, CLONE_NEWUSER)
    except SyscallFailed:
        return False
    finally:
        os.close(namespace)
    if not idmap.single:
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    set_dumpable(True)
    return True


def _new_entry(directory: int, key: str) -> int | None:
    """A locked file for this process, empty yet; made outside, where the directory may be written to."""
    name = f"{key}-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    except OSError:
        return None
    if _locked(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _fill(entry: int | None) -> int | None:
    """Write down the namespace of this process, and the process; give up an entry that cannot be written."""
    if entry is None:
        return None
    try:
        os.write(entry, b"%d\n%d\n" % (os.stat("/proc/self/ns/user").st_ino, os.getpid()))
    except OSError:
        os.close(entry)
        return None
    return entry
