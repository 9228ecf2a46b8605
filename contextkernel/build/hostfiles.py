"""A minimal root file system made of the host's own tools, for machines with neither registry nor package mirror."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile

from contextkernel.errors import HostUnsupported

_DIRECTORIES = (
    "bin", "dev", "etc", "home", "lib", "lib64", "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp",
    "usr", "usr/bin", "usr/lib", "usr/local", "usr/local/bin", "usr/sbin", "var", "var/log", "var/tmp",
)  # fmt: skip
_TOOLS = (
    "sh", "bash", "awk", "basename", "cat", "chgrp", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname", "du",
    "echo", "env", "expr", "false", "find", "free", "grep", "gunzip", "gzip", "head", "hostname", "id", "install",
    "kill", "ln", "ls", "mkdir", "mktemp", "more", "mount", "mv", "nproc", "od", "printenv", "printf", "ps", "pwd",
    "readlink", "rm", "rmdir", "sed", "seq", "sha256sum", "sleep", "sort", "stat", "stty", "tail", "tar", "tee", "test",
    "touch", "tr", "true", "tty", "umount", "uname", "uniq", "wc", "which", "whoami", "xargs", "yes",
)  # fmt: skip
_ACCOUNTS = (
    "root:x:0:0:root:/root:/bin/sh\n"
    "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n"
)
_GROUP = "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n"


def write_root(path: str, reference: str) -> tuple[str, ...]:
    """Write a tar of a root file system.

    A statically linked busybox is preferred: one file that needs nothing else. Else the host's shell and
    tools are copied, with the libraries that ``ldd`` names.

    Args:
        path: tar file to write.
        reference: what it stands in for; goes into ``/etc/os-release``.

    Returns:
        Names of the tools it has.

    Raises:
        HostUnsupported: there is no shell that could be copied.
    """
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in _DIRECTORIES:
            _directory(tar, name, 0o1777 if name in ("tmp", "var/tmp") else 0o700 if name == "root" else 0o755)
        busybox = _static_busybox()
        tools = _add_busybox(tar, busybox) if busybox else _add_tools(tar)
        _text(tar, "etc/passwd", _ACCOUNTS)
        _text(tar, "etc/group", _GROUP)
        _text(tar, "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
        _text(tar, "etc/os-release", f'NAME="contextkernel stand-in for {reference}"\nID=contextkernel\n')
    return tools


def _static_busybox() -> str | None:
    busybox = shutil.which("busybox")
    return busybox if busybox and not _libraries(busybox) else None


def _add_busybox(tar: tarfile.TarFile, busybox: str) -> tuple[str, ...]:
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    _file(tar, busybox, "bin/busybox")
    for name in listed:
        if name != "busybox":
            _symlink(tar, f"bin/{name}", "busybox")
    return tuple(sorted(listed))


def _add_tools(tar: tarfile.TarFile) -> tuple[str, ...]:
    found = {name: path for name in _TOOLS if (path := shutil.which(name))}
    if "sh" not in found:
        raise HostUnsupported("no stand-in: this host has no shell in PATH")
    libraries: dict[str, str] = {}
    for name, path in sorted(found.items()):
        real = os.path.realpath(path)
        _file(tar, real, f"bin/{name}")
        libraries.update(_libraries(real))
    for wanted, real in sorted(libraries.items()):
        _file(tar, real, wanted.lstrip("/"))
    return tuple(sorted(found))


def _libraries(program: str) -> dict[str, str]:
    """Where the dynamic linker looks for each library of a program, and the file it finds there."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    paths = re.findall(r"(?:=> )?(/\S+) \(0x", listed.stdout)
    return {path: os.path.realpath(path) for path in paths}


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = mode
    return info


def _directory(tar: tarfile.TarFile, name: str, mode: int) -> None:
    info = _entry(name, mode)
    info.type = tarfile.DIRTYPE
    tar.addfile(info)


def _symlink(tar: tarfile.TarFile, name: str, target: str) -> None:
    info = _entry(name, 0o777)
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)


def _text(tar: tarfile.TarFile, name: str, text: str) -> None:
    info = _entry(name, 0o644)
    info.size = len(text.encode())
    tar.addfile(info, io.BytesIO(text.encode()))


def _file(tar: tarfile.TarFile, source: str, name: str) -> None:
    info = _entry(name, 0o755)
    with open(source, "rb") as file:
        info.size = os.fstat(file.fileno()).st_size
        tar.addfile(info, file)
