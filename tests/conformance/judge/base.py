"""The base image of the cases: a busybox root file system, the same bytes for both engines."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

BASE = "ck-base"
_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr", "usr/bin", "var")
_TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nbin:x:2:3:bin:/bin:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nbin:x:3:\nwheel:x:10:bin\nnogroup:x:65534:\n",
    # present, so that no engine has to make stubs to mount over
    "etc/hosts": "",
    "etc/hostname": "",
    "etc/resolv.conf": "",
}


def write_base(path: Path) -> None:
    """Write the root file system as a tar.

    Args:
        path: file to write.

    Raises:
        FileNotFoundError: there is no busybox on this machine.
    """
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox is not installed (Debian: busybox-static)")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in _DIRECTORIES:
            info = _info(name, 0o1777 if name == "tmp" else 0o755)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        for name, text in _TEXTS.items():
            _add(tar, name, text.encode(), 0o644)
        _add(tar, "bin/busybox", Path(busybox).read_bytes(), 0o755)
        for applet in sorted(applets):
            info = _info(f"bin/{applet}", 0o777)
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            if applet != "busybox":
                tar.addfile(info)


def _info(name: str, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = mode, 1_600_000_000
    return info


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    info = _info(name, mode)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
