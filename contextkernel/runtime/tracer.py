"""The tracer, proot: what it needs of the host, and the command line that makes it show a container its files.

Facts about proot are from its sources (proot-me/proot, versions 5.1.0 and 5.4.0) and from trying it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from contextkernel.linux.proot_loaders import ELF
from contextkernel.runtime.facts import Tracer
from contextkernel.runtime.traced_starter import MARK

_NAME = "proot"
_SECONDS = 10.0
_64_BITS = 2
_INTERPRETER = 3  # PT_INTERP
#: read by the dynamic linker, where they exist
_LINKER_FILES = ("/etc/ld.so.cache", "/etc/ld.so.preload")
#: variables that change how proot itself is started, and one that it sets: the container's are hidden from it
_HIDDEN = ("LD_", "GLIBC_TUNABLES=", "PROOT_", "PWD=")


def find_tracer() -> Tracer | None:
    """Find proot as it is installed here; ``None`` without it."""
    import shutil  # the launcher needs neither
    import subprocess

    path = shutil.which(_NAME)
    if path is None:
        return None
    path = os.path.realpath(path)
    interpreter = _interpreter(path)
    if not interpreter:
        return Tracer(path)
    done = subprocess.run(
        [interpreter, "--list", path], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
    )
    words = (word for line in done.stdout.decode(errors="replace").splitlines() for word in line.split())
    found = [word for word in words if word.startswith("/")]
    return Tracer(path, interpreter, (*dict.fromkeys(found), *_LINKER_FILES))


def _interpreter(path: str) -> str:
    """The dynamic linker that a program names (elf(5)); empty for a static one."""
    with open(path, "rb") as file:
        head = file.read(64)
        if head[:4] != ELF or head[4] != _64_BITS:
            return ""
        (offset,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        for number in range(count):
            file.seek(offset + number * size)
            kind, _, place, _, _, length = struct.unpack_from("<IIQQQQ", file.read(size))
            if kind == _INTERPRETER:
                file.seek(place)
                return os.fsdecode(file.read(length).rstrip(b"\0"))
    return ""


def command_line(
    tracer: str,
    root: str,
    shown: Sequence[tuple[str, str]],
    *,
    uid: int,
    gid: int,
    working_dir: str,
    argv: Sequence[str],
) -> tuple[str, ...]:
    """Words that start proot.

    Args:
        tracer: path of proot.
        root: the container's tree.
        shown: ``(host, guest)`` paths; host's without a colon, guest's without links. Inner ones may come first.
        uid, gid: who the program appears to be.
        working_dir: as the program sees it.
        argv: first program, by an absolute path, and its arguments.
    """
    binds = (word for host, guest in shown for word in ("-b", f"{host}:{guest}!"))  # !: it is no link to be followed
    return (tracer, "-v", "-1", "-r", root, *binds, "-i", f"{uid}:{gid}", "-w", working_dir, *argv)


def tracer_environment(environment: Sequence[str], *, wide: str, narrow: str) -> tuple[str, ...]:
    """The environment of proot, from which the container's is left when its first program has taken off the rest.

    Args:
        environment: the container's.
        wide, narrow: paths of the loaders; empty for none.
    """
    own = (
        f"PROOT_LOADER={wide}",
        *([f"PROOT_LOADER_32={narrow}"] if narrow else []),
        "PWD=/",
        f"{MARK}=",
    )
    return (*own, *(f"{MARK}{item}" if item.startswith(_HIDDEN) else item for item in environment))
