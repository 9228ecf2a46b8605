"""proot's loaders, which are inside of its program: for those who have it use others than those in /tmp.

Facts about proot are from its sources (proot-me/proot, versions 5.1.0 and 5.4.0) and from trying it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from contextkernel.errors import LaunchFailed

ELF = b"\x7fELF"
"""How a program begins (elf(5))."""


class Loaders(NamedTuple):
    """proot's loaders, which map the container's programs: for 64 bits, and for 32 bits (empty: none)."""

    wide: bytes
    narrow: bytes


def loaders_in(program: bytes) -> Loaders:
    """The loaders that are inside of proot, as whole programs.

    proot writes them to /tmp when it needs them, where a container has no business; but it uses others that it is told.

    Args:
        program: content of proot's file.

    Raises:
        LaunchFailed: there is none.
    """
    wide = narrow = b""
    place = program.find(ELF, 1)
    while place > 0:
        kind = program[place + 4 : place + 6]
        try:
            if kind == b"\x02\x01":
                (sections,) = struct.unpack_from("<Q", program, place + 40)
                size, count = struct.unpack_from("<HH", program, place + 58)
                wide = wide or program[place : place + sections + size * count]
            elif kind == b"\x01\x01":
                (sections,) = struct.unpack_from("<I", program, place + 32)
                size, count = struct.unpack_from("<HH", program, place + 46)
                narrow = narrow or program[place : place + sections + size * count]
        except struct.error:
            break
        place = program.find(ELF, place + 1)
    if not wide:
        raise LaunchFailed("this proot has no loader inside", hint="Debian's package proot has one")
    return Loaders(wide, narrow)
