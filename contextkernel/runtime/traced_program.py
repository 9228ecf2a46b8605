"""Whether a traced program can be executed, found out before proot tries it, with docker's words for what is wrong."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Mapping
from typing import NoReturn

from contextkernel.runtime.execute import DEFAULT_PATH, ExecProblem
from contextkernel.runtime.messages import FailureKind
from contextkernel.runtime.traced_paths import View

_HEAD = 256  # BINPRM_BUF_SIZE: what the kernel reads of a script's first line
_SCRIPTS = 5  # the kernel's limit of scripts run by scripts
_ELF = b"\x7fELF"
_INTERPRETER = 3  # PT_INTERP
_MAX_HEADERS = 64
#: ``e_machine`` (<linux/elf-em.h>) of what each machine runs
_RUNS = {"x86_64": (62, 3), "aarch64": (183, 40), "riscv64": (243,)}


def find_program(view: View, name: str, environment: Mapping[str, str], working_dir: str) -> str:
    """The path of a program as its container sees it, by the rules of Go's exec.LookPath.

    Args:
        view: the container's files.
        name: as it was asked for; with a slash it is the path itself.
        environment: whose ``PATH`` is searched.
        working_dir: where a path that is not absolute starts.

    Returns:
        An absolute path; its last component may be a link.

    Raises:
        ExecProblem: there is none, or it cannot be executed.
    """
    if "/" in name:
        number = _unusable(view, name, working_dir)
        if number in (errno.ENOENT, errno.ENOTDIR):
            raise ExecProblem("not_found", f'exec: "{name}": stat {name}: {os.strerror(number).lower()}', number)
        if number:
            raise ExecProblem("not_executable", f'exec: "{name}": {os.strerror(number).lower()}', number)
        path = os.path.join(working_dir, name)
    else:
        folders = environment.get("PATH", DEFAULT_PATH).split(":") if name else ()
        candidates = (os.path.join(working_dir, folder, name) for folder in folders)
        path = next((one for one in candidates if not _unusable(view, one, working_dir)), "")
        if not path:
            raise ExecProblem("not_found", f'exec: "{name}": executable file not found in $PATH', errno.ENOENT)
    _check_kind(view, path, path, _SCRIPTS)
    return path


def _unusable(view: View, path: str, working_dir: str) -> int:
    """0 for a file that may be executed, else the errno that says why not."""
    try:
        place = view.find(path, directory=working_dir)
        mode = os.lstat(place.host).st_mode
    except OSError as problem:
        return problem.errno or errno.ENOENT
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return 0 if stat.S_ISREG(mode) and mode & 0o111 else errno.EACCES


def _check_kind(view: View, program: str, path: str, left: int) -> None:
    """Refuse what the kernel would refuse to execute: proot would tell the user in its own way, and exit with 1."""
    try:
        place = view.find(path)
        descriptor = os.open(place.host, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        _refuse(program, "not_found", errno.ENOENT)
    except OSError:
        return  # not to be read: proot says what it thinks of it
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        head = file.read(_HEAD) or b""
        if head.startswith(b"#!"):
            words = head[2:].partition(b"\n")[0].split()
            if words and left:
                _check_kind(view, program, os.fsdecode(words[0]), left - 1)
            return
        if not head.startswith(_ELF):
            _refuse(program, "not_executable", errno.ENOEXEC)
        needed = _RUNS.get(os.uname().machine)
        if len(head) >= 20 and needed is not None and struct.unpack_from("<H", head, 18)[0] not in needed:
            _refuse(program, "not_executable", errno.ENOEXEC)
        interpreter = _interpreter(file.fileno(), head)
    if interpreter and view.find(interpreter).missing:
        _refuse(program, "not_found", errno.ENOENT)


def _interpreter(descriptor: int, head: bytes) -> str:
    """The dynamic linker that a program names (elf(5)); empty for none."""
    wide = head[4:5] == b"\x02"
    try:
        (offset,) = struct.unpack_from("<Q", head, 32) if wide else struct.unpack_from("<I", head, 28)
        size, count = struct.unpack_from("<HH", head, 54 if wide else 42)
        for number in range(min(count, _MAX_HEADERS)):
            entry = os.pread(descriptor, size, offset + number * size)
            if struct.unpack_from("<I", entry)[0] == _INTERPRETER:
                place = struct.unpack_from("<Q", entry, 8)[0] if wide else struct.unpack_from("<I", entry, 4)[0]
                return os.fsdecode(os.pread(descriptor, os.pathconf("/", "PC_PATH_MAX"), place).partition(b"\0")[0])
    except (struct.error, OSError, OverflowError):
        return ""
    return ""


def _refuse(program: str, kind: FailureKind, number: int) -> NoReturn:
    raise ExecProblem(kind, f"exec {program}: {os.strerror(number).lower()}", number)
