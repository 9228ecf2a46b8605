"""Entering a user namespace with a given id map (user_namespaces(7))."""

from __future__ import annotations

import os
from collections.abc import Sequence

from contextkernel.errors import HostUnsupported, SyscallFailed
from contextkernel.linux.namespaces import CLONE_NEWUSER, set_dumpable, unshare
from contextkernel.model.ids import IdMap, IdRange


def enter(idmap: IdMap) -> None:
    """Move this process, which must have a single thread, into a new user namespace and become root in it.

    An identity map means no namespace: nothing happens. One's own single id is mapped by the process itself; anything
    more needs privileges outside, which ``newuidmap`` and ``newgidmap`` have (or root itself): a child that stays
    outside does it.

    Args:
        idmap: what the ids inside are outside.

    Raises:
        SyscallFailed: the kernel refused; ``EINVAL`` means this process has several threads.
        HostUnsupported: the id range was refused.
    """
    if idmap.identity:
        return
    uid, gid = os.geteuid(), os.getegid()
    alone = idmap.uids == (IdRange(0, uid, 1),) and idmap.gids == (IdRange(0, gid, 1),)
    if alone:
        unshare(CLONE_NEWUSER)
        _write("/proc/self/setgroups", "deny")  # the kernel's condition for an unprivileged gid map
        _write("/proc/self/uid_map", _lines(idmap.uids))
        _write("/proc/self/gid_map", _lines(idmap.gids))
    else:
        _enter_range(idmap)
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    set_dumpable(True)


def _lines(ranges: Sequence[IdRange]) -> str:
    return "".join(f"{part.container} {part.host} {part.size}\n" for part in ranges)


def _write(path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as problem:
        raise SyscallFailed("write", problem.errno or 0, path) from problem


def _enter_range(idmap: IdMap) -> None:
    """Unshare here while a child, still outside, waits and then writes our maps."""
    target = os.getpid()
    start_read, start_write = os.pipe()
    answer_read, answer_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.close(start_write)
            if os.read(start_read, 1):
                _map_from_outside(target, idmap)
                status = 0
        except BaseException as problem:
            os.write(answer_write, str(getattr(problem, "problem", problem)).encode())
        finally:
            os._exit(status)
    os.close(start_read)
    os.close(answer_write)
    try:
        unshare(CLONE_NEWUSER)
        os.write(start_write, b"x")
    finally:
        os.close(start_write)  # without the byte the helper leaves
        with os.fdopen(answer_read, "rb") as answer:
            text = answer.read().decode("utf-8", "replace").strip()
        _, status = os.waitpid(helper, 0)
    if status:
        raise HostUnsupported(
            f"the id range cannot be mapped: {text or 'helper failed'}",
            hint="install uidmap (newuidmap, newgidmap) and give this user ranges in /etc/subuid and /etc/subgid",
        )


def _map_from_outside(target: int, idmap: IdMap) -> None:
    if os.geteuid() == 0:
        _write(f"/proc/{target}/uid_map", _lines(idmap.uids))
        _write(f"/proc/{target}/gid_map", _lines(idmap.gids))
        return
    for program, ranges in (("newuidmap", idmap.uids), ("newgidmap", idmap.gids)):
        _run(program, [str(target), *_lines(ranges).split()])


def _run(program: str, arguments: list[str]) -> None:
    """Run a program and wait for it; what it says on stderr becomes the error."""
    read, write = os.pipe()
    try:
        pid = os.posix_spawnp(
            program, [program, *arguments], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 2)]
        )
    except OSError as problem:
        os.close(read)
        raise HostUnsupported(f"{program}: {os.strerror(problem.errno or 0).lower()}") from problem
    finally:
        os.close(write)
    with os.fdopen(read, "rb") as stream:
        text = stream.read().decode("utf-8", "replace").strip()
    _, status = os.waitpid(pid, 0)
    if status:
        raise HostUnsupported(f"{program}: {text or f'exit status {status}'}")
