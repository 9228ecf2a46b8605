"""Keeps a container of an installed OCI runtime: has it created and started, passes signals on, ends as it ends.

It is the first process of a pid namespace around the container's: when it is killed, so is everything.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from contextkernel.errors import LaunchFailed
from contextkernel.linux import mount as mounts
from contextkernel.linux.namespaces import set_child_subreaper
from contextkernel.runtime.document import generated_directory, oci_name
from contextkernel.runtime.execute import DEFAULT_PATH, ExecProblem
from contextkernel.runtime.surroundings import Surrounding

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest
    from contextkernel.runtime.operations import RunOci
    from contextkernel.runtime.users import Identity

_KEPT = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD)
_PIECE = 65536
_NOT_FOUND = ("executable file not found", "no such file or directory")
_NOT_EXECUTABLE = ("permission denied", "is a directory", "exec format error")


def keep(step: RunOci, identity: Identity, *, started: Callable[[], None]) -> NoReturn:
    """Create, start, watch, end.

    Args:
        step: what is to be run.
        identity: the user, as the image knows it.
        started: called once the container is created, before its program runs.

    Raises:
        LaunchFailed: it cannot be created. ExecProblem: its program cannot be executed.
    """
    command = command_of(step.program, step.bundle)
    set_child_subreaper()
    mounts.mount("proc", "/proc", "proc", mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)
    for name, value, required in step.settings:
        _set(f"/proc/sys/{name}", value, required=required)
    _write_bundle(step, identity)
    errors, errors_end = os.pipe()
    pid_file = os.path.join(step.bundle, "pid")
    create = ["create", "--bundle", step.bundle, "--pid-file", pid_file, "--no-new-keyring", step.name]
    if _run(command + create, errors_end):
        problem = _problem(step, errors)
        _run([*command, "delete", "--force", step.name], errors_end)
        raise problem
    with open(pid_file, encoding="ascii") as file:
        container = int(file.read())
    os.close(errors_end)
    _pass_signals_on(container)
    started()
    if _run([*command, "start", step.name], 2):
        raise SystemExit(1)  # nobody listens any more; it has said why
    code = _watch(container, errors)
    null = os.open(os.devnull, os.O_RDWR)
    _run([*command, "delete", "--force", step.name], null)
    os._exit(code)


def command_of(runtime: str, bundle: str) -> list[str]:
    """The words that every command of a runtime begins with.

    Raises:
        LaunchFailed: it is not installed.
    """
    program = shutil.which(runtime, path=DEFAULT_PATH)
    if program is None:
        raise LaunchFailed(
            f"the OCI runtime {runtime!r} is not installed",
            hint=f"install it (Debian: apt-get install {os.path.basename(runtime)}), or leave out --runtime",
        )
    command = [program, "--root", os.path.join(bundle, "state"), "--log", os.path.join(bundle, "log")]
    if os.path.basename(program) == "crun":  # the container is in its control group already
        command.append("--cgroup-manager=disabled")
    return [*command, "--log-format", "json"]


class Leftovers(Surrounding):
    """What a runtime keeps of a container whose keeper was killed: its notes, and control groups of its own.

    Args:
        request: of the container.
    """

    def __init__(self, request: LaunchRequest) -> None:
        super().__init__()
        self._runtime = request.security.runtime
        self._bundle = generated_directory(request)
        self._name = oci_name(request.id)

    def leave(self) -> None:
        """Have the runtime forget it."""
        if not os.path.isdir(os.path.join(self._bundle, "state", self._name)):
            shutil.rmtree(self._bundle, ignore_errors=True)
            return
        with suppress(LaunchFailed, OSError):
            command = [*command_of(self._runtime, self._bundle), "delete", "--force", self._name]
            null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
            pid = os.posix_spawn(command[0], command, {"PATH": DEFAULT_PATH}, file_actions=null)
            os.waitpid(pid, 0)
        shutil.rmtree(self._bundle, ignore_errors=True)


def _write_bundle(step: RunOci, identity: Identity) -> None:
    shutil.rmtree(step.bundle, ignore_errors=True)
    os.makedirs(os.path.join(step.bundle, "state"), 0o700)
    for name, content in step.files:
        path = os.path.join(step.bundle, name)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
    config: dict[str, Any] = json.loads(step.config)
    process = config["process"]
    groups = list(dict.fromkeys((identity.gid, *identity.groups)))
    process["user"] = {"uid": identity.uid, "gid": identity.gid, "umask": 0o022, "additionalGids": groups}
    own = process["capabilities"]["bounding"] if identity.uid == 0 else []
    process["capabilities"].update(effective=own, permitted=own)
    if not any(item.startswith("HOME=") for item in process.get("env", ())):
        process["env"] = [*process.get("env", ()), f"HOME={identity.home}"]
    with open(os.path.join(step.bundle, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)


def _set(path: str, value: str, *, required: bool) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except OSError as problem:
        if required:
            raise LaunchFailed(f"write {path}: {(problem.strerror or str(problem)).lower()}") from None


def _run(command: list[str], errors: int) -> int:
    """Run to the end; what it writes to standard error goes to ``errors``. Its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(errors, 2)
            os.execve(command[0], command, {"PATH": DEFAULT_PATH})  # noqa: S606 - no shell is wanted
        finally:
            os._exit(127)
    # this one alone: the container's first process is a child as well, and may end meanwhile
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _problem(step: RunOci, errors: int) -> Exception:
    """What the runtime said, as this engine says it."""
    said = ""
    with suppress(OSError), open(os.path.join(step.bundle, "log"), encoding="utf-8") as log:
        for line in log:
            with suppress(ValueError, KeyError):
                record = json.loads(line)
                if record["level"] in ("error", "fatal"):
                    said = record["msg"]
    if not said:
        os.set_blocking(errors, False)
        with suppress(BlockingIOError):
            said = os.read(errors, _PIECE).decode("utf-8", "replace").strip()
    text = f"{os.path.basename(step.program)}: {said or 'it has failed and said nothing'}"
    program = json.loads(step.config)["process"]["args"][0]
    lower = said.lower()
    if f'"{program}"' in said or f"`{program}`" in said or "exec" in lower:
        if any(word in lower for word in _NOT_EXECUTABLE):
            return ExecProblem("not_executable", text, 0)
        if any(word in lower for word in _NOT_FOUND):
            return ExecProblem("not_found", text, 0)
    return LaunchFailed(text, hint="the same container without --runtime tells whether it is the runtime")


def _pass_signals_on(container: int) -> None:
    def on(number: int, _frame: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(container, number)

    for number in signal.valid_signals() - set(_KEPT):
        with suppress(OSError, ValueError):
            signal.signal(number, on)


def _watch(container: int, errors: int) -> int:
    """Relay what comes on ``errors`` until the container's first process has ended; its exit code."""
    handle = os.pidfd_open(container)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(errors, select.POLLIN)
    ended = False
    while not ended:
        ready = dict(poll.poll())
        ended = handle in ready
        if errors in ready and not _relay(errors):
            poll.unregister(errors)
    os.set_blocking(errors, False)
    with suppress(BlockingIOError, OSError):
        while _relay(errors):
            pass
    status = os.waitstatus_to_exitcode(os.waitpid(container, 0)[1])
    return status if status >= 0 else 128 - status


def _relay(errors: int) -> bool:
    data = os.read(errors, _PIECE)
    if not data:
        return False
    rest = data
    with suppress(BrokenPipeError):
        while rest:
            rest = rest[os.write(2, rest) :]
    return True
