"""The process that answers a container's changes of owner and device nodes; one beside its monitor, for each run.

It is outside of the container: it sees the host's /proc, and has the engine's capabilities in its user namespace, but
its root directory is the container's. A process of its own, so that a container that asks without end, or whose file
systems do not answer, keeps its monitor from nothing. When its monitor ends it ends as well; the kernel then answers
with ENOSYS, so that nobody waits for ever.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import select
import signal
import socket
from contextlib import suppress
from typing import NoReturn

import msgspec

from contextkernel.errors import LaunchFailed
from contextkernel.linux import namespaces as ns
from contextkernel.linux import seccomp, seccomp_notify, statx
from contextkernel.linux.descriptors import close_from
from contextkernel.linux.fsops import is_overlay
from contextkernel.linux.passing import receive_with, send_with
from contextkernel.model.recorded import TABLE, Run
from contextkernel.runtime.callers import Caller, Names
from contextkernel.runtime.recording import Recorder, Table

_LINK, _ROOT, _TABLE, _FIRST_FREE = 3, 4, 5, 6
_NOTED, _ANSWERED = b"n", b"a"  # what comes with a listener
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class RecorderProcess:
    """That process, as its monitor has it.

    Args:
        root: descriptor of the container's root directory.
        directory: where the table of what cannot be noted elsewhere is kept.
        capabilities: the container's bounding set.

    Raises:
        SyscallFailed: no process can be made. OSError: the table cannot be written.
    """

    def __init__(self, root: int, directory: str, capabilities: frozenset[str]) -> None:
        run = os.urandom(4).hex()
        table = os.open(f"{directory}/{TABLE}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(table, msgspec.json.encode(Run(is_overlay(root), run)) + b"\n")
        self._link, theirs = socket.socketpair()
        try:
            # a sibling: what has become of it concerns nobody, and a monitor knows all its children
            if ns.clone(ns.CLONE_PARENT) == 0:
                _become((theirs.fileno(), root, table), capabilities, run)
        except BaseException:
            self._link.close()
            raise
        finally:
            theirs.close()
            os.close(table)

    def add(self, listener: int, *, noted: bool) -> None:
        """Answer what this listener hears, too.

        Args:
            listener: see :func:`contextkernel.linux.seccomp_notify.install_listener`.
            noted: note what is said.

        Raises:
            LaunchFailed: the process has ended.
        """
        try:
            send_with(self._link, _NOTED if noted else _ANSWERED, [listener])
        except OSError as problem:
            raise LaunchFailed("the process that answers changes of owner has ended") from problem

    def close(self) -> None:
        """Let it end."""
        self._link.close()


def _become(given: tuple[int, int, int], capabilities: frozenset[str], run: str) -> NoReturn:
    """Become it; ``given`` are the descriptors of its link, the container's root directory, and the table."""
    try:
        ns.set_dumpable(False)
        high = [fcntl.fcntl(one, fcntl.F_DUPFD, _FIRST_FREE) for one in given]
        for place, one in zip((_LINK, _ROOT, _TABLE), high, strict=True):
            os.dup2(one, place, inheritable=False)
        close_from(_FIRST_FREE)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        ns.set_process_name("ck-recorder")
        os.umask(0)
        gc.enable()
        _serve(capabilities, run)
    finally:
        os._exit(0)


def _serve(capabilities: frozenset[str], run: str) -> None:
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount = statx.look(_ROOT)
    names = Names(_ROOT, descriptors)
    recorder = Recorder(names, mount, Table(_TABLE), seccomp.recorded_calls(), capabilities, run)
    link = socket.socket(fileno=_LINK)
    noted: dict[int, bool] = {}
    poll = select.poll()
    poll.register(_LINK, select.POLLIN)
    while True:
        for descriptor, events in poll.poll():
            if descriptor == _LINK:
                data, listeners = receive_with(link, 1, 1)
                if not data:
                    return
                for listener in listeners:
                    noted[listener] = data == _NOTED
                    poll.register(listener, select.POLLIN)
            elif events & select.POLLIN:
                _answer(recorder, proc, descriptor, noted=noted[descriptor])
            elif events & _GONE:
                poll.unregister(descriptor)  # nobody is left who could ask
                os.close(descriptor)


def _answer(recorder: Recorder, proc: int, listener: int, *, noted: bool) -> None:
    """One call: whatever it brings, its caller gets an answer."""
    call = seccomp_notify.receive(listener)
    if call is None:  # it has been killed since
        return
    number = errno.EIO
    try:
        caller = Caller(proc, call.pid)
        try:
            if not seccomp_notify.is_valid(listener, call):
                return
            number = recorder.perform(caller, call, noted=noted)
        finally:
            caller.close()
    except Exception:
        number = errno.EIO
    finally:
        with suppress(OSError):
            seccomp_notify.answer(listener, call, number)
