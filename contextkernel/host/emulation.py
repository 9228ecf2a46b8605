"""Which machines' programs this host can run: its own, those its processor knows too, and those with an emulator.

An emulator is registered with the kernel (``binfmt_misc``, Documentation/admin-guide/binfmt-misc.rst). It must be
registered with the flag ``F``, which opens it at once: a container has no file of that name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from contextkernel.host.texts import text_of
from contextkernel.model.platform import Platform

_ROOT = "/proc/sys/fs/binfmt_misc"
_HINT = (
    "register an emulator: on Debian and Ubuntu `apt install qemu-user-static`, which registers all it has; or let "
    "stages that run programs start with FROM --platform=$BUILDPLATFORM, and copy from them"
)
# (e_machine, 64 bit, big endian) of ELF headers, elf.h and qemu's scripts/qemu-binfmt-conf.sh
_MACHINES = {
    (3, False, False): "386",
    (8, True, False): "mips64le",
    (21, True, False): "ppc64le",
    (21, True, True): "ppc64",
    (22, True, True): "s390x",
    (40, False, False): "arm",
    (62, True, False): "amd64",
    (183, True, False): "arm64",
    (243, True, False): "riscv64",
    (258, True, False): "loong64",
}
_ALSO = {"amd64": ("386",), "arm64": ("arm",)}


def cannot_run(platform: Platform, host: Platform, *, root: str = _ROOT) -> tuple[str, str] | None:
    """Why programs of ``platform`` do not run here, and what would change it; ``None`` if they do.

    Args:
        platform: of the programs.
        host: of this machine.
        root: where binfmt_misc is mounted.
    """
    if platform.os != host.os:
        return f"this machine runs programs of {host.os}", "build for linux"
    if platform.architecture == host.architecture or platform.architecture in _ALSO.get(host.architecture, ()):
        return None
    unusable = ""
    for name, architecture, problem in registered(root):
        if architecture == platform.architecture:
            if not problem:
                return None
            unusable = f"the emulator registered as {name} cannot be used: {problem}"
    return unusable or f"this machine is {host}, and no emulator is registered for {platform.architecture}", _HINT


def registered(root: str = _ROOT) -> Iterator[tuple[str, str, str]]:
    """Name, architecture and problem (empty for none) of each registered emulator of ELF programs.

    Args:
        root: where binfmt_misc is mounted.
    """
    disabled = text_of(f"{root}/status").strip() == "disabled"
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return
    for name in names:
        if name in ("register", "status"):
            continue
        text = text_of(f"{root}/{name}")
        facts = dict(line.partition(" ")[::2] for line in text.splitlines())
        architecture = _architecture(facts.get("magic", ""))
        if not architecture:
            continue
        problem = ""
        if disabled or "enabled" not in text.split():
            problem = "it is switched off"
        elif "F" not in facts.get("flags:", ""):
            problem = "it was registered without the flag F, so it is looked for inside of containers"
        yield name, architecture, problem


def _architecture(magic: str) -> str:
    """The architecture of the ELF headers that a magic number in hex matches; empty for other files."""
    try:
        header = bytes.fromhex(magic)
    except ValueError:
        return ""
    if header[:4] != b"\x7fELF" or len(header) < 20:
        return ""
    big = header[5] == 2
    machine = int.from_bytes(header[18:20], "big" if big else "little")
    return _MACHINES.get((machine, header[4] == 2, big), "")
