"""The command line of proot, its environment, and its loaders."""

from __future__ import annotations

import struct

import pytest

from contextkernel.errors import LaunchFailed
from contextkernel.linux.proot_loaders import loaders_in
from contextkernel.runtime.tracer import command_line, tracer_environment


def test_exact_words():
    words = command_line(
        "/usr/bin/proot",
        "/s/c/tree",
        (("/proc", "/proc"), ("/s/c/room/shown-1", "/dev")),
        uid=1000,
        gid=50,
        working_dir="/work",
        argv=("/dev/.starter", "/bin/sh", "sh", "-c", "true"),
    )
    assert words == (
        *("/usr/bin/proot", "-v", "-1", "-r", "/s/c/tree", "-b", "/proc:/proc!", "-b", "/s/c/room/shown-1:/dev!"),
        *("-i", "1000:50", "-w", "/work", "/dev/.starter", "/bin/sh", "sh", "-c", "true"),
    )


def test_what_would_change_proot_is_hidden_from_it():
    items = ("A=1", "LD_PRELOAD=x.so", "PROOT_NO_SECCOMP=1", "PWD=/w", "GLIBC_TUNABLES=a", "LDFLAGS=-s")
    assert tracer_environment(items, wide="/r/loader", narrow="/r/loader-32") == (
        "PROOT_LOADER=/r/loader",
        "PROOT_LOADER_32=/r/loader-32",
        "PWD=/",
        "\x01=",
        "A=1",
        "\x01LD_PRELOAD=x.so",
        "\x01PROOT_NO_SECCOMP=1",
        "\x01PWD=/w",
        "\x01GLIBC_TUNABLES=a",
        "LDFLAGS=-s",
    )
    assert tracer_environment((), wide="/r/loader", narrow="") == ("PROOT_LOADER=/r/loader", "PWD=/", "\x01=")


def elf(bits: int, body: bytes) -> bytes:
    """A program of one section header, which is its end."""
    identity = b"\x7fELF" + (b"\x02\x01\x01" if bits == 64 else b"\x01\x01\x01") + bytes(9)
    size = 64 if bits == 64 else 52
    if bits == 64:
        head = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, size + len(body), 0, 64, 56, 0, 64, 1, 0)
    else:
        head = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, 0, size + len(body), 0, 52, 32, 0, 40, 1, 0)
    return identity + head + body + bytes(64 if bits == 64 else 40)


def test_loaders_are_found_inside_of_the_program():
    wide, narrow = elf(64, b"wide"), elf(32, b"narrow")
    program = elf(64, b"proot itself" + wide + b"between" + narrow + b"after")
    assert loaders_in(program) == (wide, narrow)
    assert loaders_in(elf(64, b"" + wide)).narrow == b""


def test_a_program_without_loaders_is_refused():
    with pytest.raises(LaunchFailed, match="no loader"):
        loaders_in(elf(64, b"nothing"))
    with pytest.raises(LaunchFailed, match="no loader"):
        loaders_in(b"x" * 10 + b"\x7fELF\x02\x01")
