"""``state.json`` and the lock beside it: what is known of a container, by its monitor and by everybody else."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from contextlib import suppress

import msgspec

from contextkernel.errors import ContainerRunning, ContextKernelError
from contextkernel.linux import pidfd
from contextkernel.model.container import RunState
from contextkernel.runtime.cgroups import group_at

STATE = "state.json"
LOCK = "monitor.lock"
SOCKET = "control.sock"
_WENT_DOWN = 255  # docker's exit code of what it finds ended after its own start
_LOCK_PATIENCE = 2.0  # seconds; a look at the state holds the lock for microseconds


def write_state(directory: int, state: RunState) -> None:
    """Replace the recorded state at once: a reader sees the old or the new.

    Args:
        directory: descriptor of the state directory.
        state: what to record.
    """
    temporary = f".{STATE}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        os.write(descriptor, msgspec.json.encode(msgspec.structs.replace(state, boot=boot_id())))
    finally:
        os.close(descriptor)
    os.rename(temporary, STATE, src_dir_fd=directory, dst_dir_fd=directory)


def take_lock(directory: int) -> int:
    """Lock the container for its monitor; the lock goes with the returned descriptor, and with the process.

    Raises:
        ContainerRunning: another monitor has it.
    """
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=directory)
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise ContainerRunning("the container is already running") from None
            time.sleep(0.01)


def note_init(lock: int, pid: int) -> None:
    """Write into the lock file which process is the container's init, so that it can be found without its monitor."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{pid} {pidfd.start_time(pid)}\n".encode(), 0)


def read_state(state_dir: str) -> RunState:
    """What became of a container; never raises.

    A container whose monitor has vanished is ``dead``; should its init have survived, it is killed now, and what is
    left of its control group is removed. If the machine was started since, it has ``exited`` with docker's 255, and
    there is nothing left to be killed.

    Args:
        state_dir: its directory.
    """
    path = os.path.join(state_dir, STATE)
    try:
        with open(path, "rb") as file:
            written = os.fstat(file.fileno()).st_mtime_ns
            state, boot = _decoded(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return RunState(status="created")
    except (OSError, msgspec.MsgspecError) as problem:
        return RunState(status="dead", exit_code=137, error=f"unreadable state: {problem}")
    if not state.alive or _is_locked(state_dir):
        return state
    with suppress(OSError, msgspec.MsgspecError), open(path, "rb") as file:
        # it may have ended between the two looks
        again, _ = _decoded(file.read())
        if not again.alive:
            return again
    if boot and boot != boot_id():
        return RunState(
            status="exited",
            exit_code=_WENT_DOWN,
            started=state.started,
            finished=written,
            error="the machine went down while the container ran",
            restart_count=state.restart_count,
        )
    _kill_leftover(state_dir)
    if any(os.path.isdir(place) for place in state.groups.values()):
        group = group_at(state.groups)
        group.kill()
        group.remove()
    return RunState(
        status="dead",
        exit_code=137,
        started=state.started,
        finished=written,
        error="the container's monitor vanished without recording an exit",
    )


def _decoded(content: bytes) -> tuple[RunState, str]:
    """The state, and in which start of the machine it was recorded, which says nothing of a state that is true."""
    state = msgspec.json.decode(content, type=RunState)
    return msgspec.structs.replace(state, boot=""), state.boot


def boot_id() -> str:
    """Which start of the machine this is; empty where the kernel does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_locked(state_dir: str) -> bool:
    try:
        descriptor = os.open(os.path.join(state_dir, LOCK), os.O_RDWR | os.O_CLOEXEC)
    except OSError as problem:
        return problem.errno == errno.EACCES
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _kill_leftover(state_dir: str) -> None:
    """Kill the init of a container whose monitor is gone; normally it died with it."""
    with suppress(OSError, ValueError, ContextKernelError):
        with open(os.path.join(state_dir, LOCK), encoding="ascii") as file:
            pid, started = map(int, file.read().split())
        handle = pidfd.open_pid(pid)
        if handle is None:
            return
        try:
            if started and pidfd.start_time(pid) == started:
                pidfd.send(handle, signal.SIGKILL)
        finally:
            os.close(handle)
