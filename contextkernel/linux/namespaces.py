"""unshare, clone, setns, and what a process sets in its fresh namespaces."""

from __future__ import annotations

import _thread
import ctypes
import os
import signal
import time
from collections.abc import Sequence

from contextkernel.linux.libc import check, libc, libc_holding_lock, number, prctl, syscall

CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_PAUSE = 0.0001  # seconds: a thread that has nothing more to do ends sooner

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_KEYCTL_JOIN_SESSION_KEYRING = 1


def unshare(flags: int) -> None:
    """Move this process into new namespaces (unshare(2)).

    Raises:
        SyscallFailed: the kernel refused; ``EINVAL`` for a user namespace in a process with threads.
    """
    check(libc.unshare(ctypes.c_int(flags)), "unshare")


def new_network() -> int:
    """Make a network namespace that nobody is in.

    This process stays where it is: a thread, which belongs to network namespaces of its own (network_namespaces(7)),
    goes there and ends. It has ended when this returns: a process that is cloned (:func:`clone`) while a thread holds a
    lock of the interpreter or of the C library would wait for that lock for ever.

    Returns:
        A descriptor, which keeps it alive; close-on-exec.

    Raises:
        SyscallFailed: the kernel refused.
    """
    made: list[int | BaseException] = []
    threads: list[str] = []
    done = _thread.allocate_lock()
    done.acquire()

    def make() -> None:
        try:
            threads.append(f"/proc/{os.readlink('/proc/thread-self')}")
            unshare(CLONE_NEWNET)
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except BaseException as problem:
            made.append(problem)
        finally:
            done.release()

    _thread.start_new_thread(make, ())
    done.acquire()
    while any(os.path.exists(thread) for thread in threads):
        time.sleep(_PAUSE)
    (result,) = made
    if isinstance(result, BaseException):
        raise result
    return result


def setns(descriptor: int, flags: int = 0) -> None:
    """Join the namespaces of a namespace file or pidfd (setns(2)).

    Raises:
        SyscallFailed: the kernel refused.
    """
    check(libc.setns(ctypes.c_int(descriptor), ctypes.c_int(flags)), "setns")


def clone(flags: int) -> int:
    """Fork into new namespaces with one call (clone(2)); only for a process with a single thread.

    The interpreter's lock is held throughout and no fork handlers run: the child may run Python code, and must leave
    by exec or ``os._exit``.

    Args:
        flags: ``CLONE_NEW...``, or ``CLONE_PARENT``: the child becomes a sibling.

    Returns:
        0 in the child, its pid in the parent.

    Raises:
        SyscallFailed: the kernel refused.
    """
    words = [ctypes.c_long(word) for word in (number("clone"), flags | signal.SIGCHLD, 0, 0, 0, 0)]
    return check(libc_holding_lock.syscall(*words), "clone")


def set_hostname(name: str) -> None:
    """Set the host name of this UTS namespace.

    Raises:
        SyscallFailed: it is longer than 64 bytes, or not allowed.
    """
    data = os.fsencode(name)
    check(libc.sethostname(data, ctypes.c_size_t(len(data))), "sethostname", name)


def set_domainname(name: str) -> None:
    """Set the NIS domain name of this UTS namespace, which is what ``--domainname`` means.

    Raises:
        SyscallFailed: it is longer than 64 bytes, or not allowed.
    """
    data = os.fsencode(name)
    check(libc.setdomainname(data, ctypes.c_size_t(len(data))), "setdomainname", name)


def set_parent_death_signal(number_: int) -> None:
    """Ask for a signal when the parent dies; forgotten when the ids of this process change (prctl(2))."""
    prctl(_PR_SET_PDEATHSIG, number_)


def set_dumpable(allowed: bool) -> None:
    """Whether others with the same ids may look into this process, its /proc files and namespaces (prctl(2))."""
    prctl(_PR_SET_DUMPABLE, int(allowed))


def set_process_name(name: str) -> None:
    """The name that ps shows, up to 15 bytes."""
    data = ctypes.create_string_buffer(name.encode()[:15])
    prctl(_PR_SET_NAME, ctypes.addressof(data))


def set_command_line(words: Sequence[str]) -> None:
    """Overwrite what ps shows as this process's command line, as far as the room of the old one goes.

    Where /proc does not tell the place of the old one (fields 48 and 49 of proc_pid_stat(5)) nothing happens.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return
    start, end = int(fields[45]), int(fields[46])  # counted from field 3
    if start and end - start > 1:
        data = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - start - 1]
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, data, len(data))


def set_child_subreaper() -> None:
    """Become the parent of orphaned descendants (prctl(2))."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def join_new_session_keyring(name: str) -> None:
    """Leave the keys of whoever started this process behind (keyctl(2)).

    Raises:
        SyscallFailed: no keyrings here, or the quota is used up.
    """
    syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, os.fsencode(name))
