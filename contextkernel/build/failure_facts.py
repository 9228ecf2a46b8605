"""What advice on a failed RUN looks up: the programs that its stage has, seen through the directories of its layers.

Only looked at after a failure, on the directories themselves: the failed step's own changes have no index yet. What
this user may not read counts as not there.
"""

from __future__ import annotations

import os
import platform
import posixpath
import stat
from collections.abc import Iterable, Sequence

from contextkernel.build.advice import Program
from contextkernel.plan.steps import RunStep
from contextkernel.store.lower_files import LowerFiles

_HEAD = 4096
_MAX_NAMES = 20_000
#: e_machine of an ELF header (elf.h) by number, as ``uname -m`` has it
_MACHINES = {
    3: "i686",
    8: "mips",
    20: "ppc",
    21: "ppc64le",
    22: "s390x",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
_PT_INTERP = 3
_SAME = {("i686", "x86_64"), ("armv7l", "aarch64")}


class StageFiles:
    """The files of a stage.

    Args:
        lowers: ``diff`` directories, base first.
        upper: the failed step's own.
        step: for ``PATH`` and the working directory.
    """

    def __init__(self, lowers: Sequence[str], upper: str, step: RunStep) -> None:
        self._files = LowerFiles((*lowers, upper))
        self._cwd = step.cwd
        path = next((item[5:] for item in step.env if item.startswith("PATH=")), "")
        self._path = [directory for directory in path.split(":") if directory.startswith("/")]
        self._names: tuple[str, ...] | None = None

    @property
    def machine(self) -> str:
        """Of this host."""
        return platform.machine()

    def programs(self) -> Iterable[str]:
        """Names in ``PATH``."""
        if self._names is None:
            found: set[str] = set()
            for directory in self._path:
                resolved = self._files.resolve(directory)
                if resolved is not None:
                    found |= self._files.names(resolved)
                if len(found) > _MAX_NAMES:
                    break
            self._names = tuple(sorted(found))
        return self._names

    def look(self, name: str) -> Program | None:
        """A program by path, or by name in ``PATH``."""
        if "/" in name:
            candidates = [posixpath.join(self._cwd, name)]
        else:
            candidates = [posixpath.join(directory, name) for directory in self._path]
        for candidate in candidates:
            resolved = self._files.resolve(candidate)
            found = self._files.find(resolved) if resolved is not None else None
            if found is not None:
                return self._program(found)
        return None

    def _program(self, path: str) -> Program:
        try:
            facts = os.lstat(path)
            if stat.S_ISDIR(facts.st_mode):
                return Program(kind="directory")
            executable = bool(facts.st_mode & 0o111)
            with open(path, "rb") as stream:
                head = stream.read(_HEAD) if stat.S_ISREG(facts.st_mode) else b""
        except OSError:
            return Program(kind="other")
        if head.startswith(b"\x7fELF"):
            return self._binary(head, executable=executable)
        if not head.startswith(b"#!"):
            return Program(kind="other", executable=executable)
        line = head[2:].partition(b"\n")[0]
        words = line.split()
        interpreter = os.fsdecode(words[0]) if words else ""
        return Program(
            kind="script",
            interpreter=interpreter,
            interpreter_found=bool(interpreter) and self._files.resolve(interpreter) is not None,
            carriage=line.endswith(b"\r"),
            executable=executable,
        )

    def _binary(self, head: bytes, *, executable: bool) -> Program:
        """What an ELF header says (elf(5)): the machine, and the loader."""
        order = "big" if head[5:6] == b"\x02" else "little"
        wide = head[4:5] == b"\x02"

        def number(at: int, size: int) -> int:
            return int.from_bytes(head[at : at + size], "big" if order == "big" else "little")

        code = number(18, 2)
        machine = _MACHINES.get(code, f"machine {code}")
        if (machine, self.machine) in _SAME:
            machine = self.machine
        interpreter = ""
        start, size, count = (number(32, 8), number(54, 2), number(56, 2)) if wide else (
            number(28, 4), number(42, 2), number(44, 2)
        )  # fmt: skip
        for index in range(min(count, 64)):
            at = start + index * size
            if number(at, 4) == _PT_INTERP:
                where, length = (
                    (number(at + 8, 8), number(at + 32, 8)) if wide else (number(at + 4, 4), number(at + 16, 4))
                )
                interpreter = os.fsdecode(head[where : where + length].rstrip(b"\0"))
        return Program(
            kind="elf",
            machine=machine,
            interpreter=interpreter,
            interpreter_found=not interpreter or self._files.resolve(interpreter) is not None,
            executable=executable,
        )
