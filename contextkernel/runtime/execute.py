"""Finding and executing the container's program, with docker's words for what can go wrong."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from typing import NoReturn

from contextkernel.errors import SyscallFailed
from contextkernel.linux.libc import AT_FDCWD
from contextkernel.linux.openat2 import RESOLVE_NO_MAGICLINKS, openat2
from contextkernel.runtime.messages import FailureKind

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INTERPRETERS = 5  # the kernel's limit of scripts run by scripts
_HEAD = 256  # BINPRM_BUF_SIZE: what the kernel reads of a script's first line


class ExecProblem(Exception):
    """The program cannot be executed.

    Args:
        kind: which of docker's exit codes it is.
        text: docker's kind of message.
        number: errno.
    """

    def __init__(self, kind: FailureKind, text: str, number: int) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.number = number


def execute(argv: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Execute ``argv`` in this process.

    Args:
        argv: program and arguments; a program without a slash is looked up in ``PATH``.
        environment: all of the program's environment.

    Raises:
        ExecProblem: it does not exist, or cannot be executed.
    """
    name = argv[0]
    path = find_program(name, environment.get("PATH", DEFAULT_PATH))
    _refuse_jumps(name, path)
    try:
        os.execve(path, list(argv), dict(environment))  # noqa: S606 - no shell is wanted
    except OSError as problem:
        number = problem.errno or 0
        # the file was there a moment ago: what is missing is its interpreter
        kind: FailureKind = "not_found" if number == errno.ENOENT else "not_executable"
        raise ExecProblem(kind, f"exec {path}: {os.strerror(number).lower()}", number) from problem


def find_program(name: str, search: str) -> str:
    """The file that ``name`` means, by the rules of Go's exec.LookPath, which docker's messages come from.

    Args:
        name: with a slash it is the path itself.
        search: directories, colon separated; an empty one is the working directory.

    Raises:
        ExecProblem: there is none.
    """
    if "/" in name:
        number = _unusable(name)
        if number == 0:
            return name
        text = os.strerror(number).lower()
        if number in (errno.ENOENT, errno.ENOTDIR):
            raise ExecProblem("not_found", f'exec: "{name}": stat {name}: {text}', number)
        raise ExecProblem("not_executable", f'exec: "{name}": {text}', number)
    if name:
        for directory in search.split(":"):
            candidate = os.path.join(directory or ".", name)
            if _unusable(candidate) == 0:
                return candidate
    raise ExecProblem("not_found", f'exec: "{name}": executable file not found in $PATH', errno.ENOENT)


def _unusable(path: str) -> int:
    """0 for a file that may be executed, else the errno that says why not."""
    try:
        mode = os.stat(path).st_mode
    except OSError as problem:
        return problem.errno or errno.ENOENT
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return 0 if os.access(path, os.X_OK, effective_ids=True) else errno.EACCES


def _refuse_jumps(name: str, path: str) -> None:
    """Refuse a program, or a script's interpreter, that is reached through a jump link of /proc.

    ``#!/proc/self/exe`` would run this engine's own interpreter, a file of the host, inside the container, and give its
    root a handle on it (CVE-2019-5736).

    Raises:
        ExecProblem: refused.
    """
    for _ in range(_INTERPRETERS):
        try:
            descriptor = openat2(AT_FDCWD, path, os.O_RDONLY | os.O_NONBLOCK, resolve=RESOLVE_NO_MAGICLINKS)
        except SyscallFailed as failure:
            if failure.number == errno.ELOOP:
                text = f'exec: "{name}": {path} leads out of the container'
                raise ExecProblem("not_executable", text, errno.ELOOP) from failure
            return  # not readable, or not there: execve says it better
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            head = file.read(_HEAD) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
        if not head or not head.startswith(b"#!"):
            return
        words = head[2:].partition(b"\n")[0].split()
        if not words:
            return
        path = os.fsdecode(words[0])
