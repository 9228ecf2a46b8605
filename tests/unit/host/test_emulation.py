"""Emulators as binfmt_misc shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contextkernel.host.emulation import cannot_run, registered
from contextkernel.model.platform import Platform

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
AARCH64 = "7f454c460201010000000000000000000200b700"
MIPS = "7f454c460102010000000000000000000002000" + "8"


def register(root: Path, name: str, magic: str, *, enabled: str = "enabled", flags: str = "OCF") -> None:
    (root / name).write_text(
        f"{enabled}\ninterpreter /usr/bin/{name}-static\nflags: {flags}\noffset 0\nmagic {magic}\nmask ff\n"
    )


def test_own_programs_need_nothing(tmp_path):
    assert cannot_run(AMD64, AMD64, root=str(tmp_path)) is None
    assert cannot_run(Platform("linux", "amd64", "v3"), AMD64, root=str(tmp_path)) is None
    assert cannot_run(Platform("linux", "386"), AMD64, root=str(tmp_path)) is None
    assert cannot_run(Platform("linux", "arm", "v7"), ARM64, root=str(tmp_path)) is None


def test_others_need_an_emulator(tmp_path):
    reason, hint = cannot_run(ARM64, AMD64, root=str(tmp_path / "missing"))
    assert reason == "this machine is linux/amd64, and no emulator is registered for arm64"
    assert "qemu-user-static" in hint
    register(tmp_path, "qemu-aarch64", AARCH64)
    assert cannot_run(ARM64, AMD64, root=str(tmp_path)) is None
    assert cannot_run(Platform("linux", "s390x"), AMD64, root=str(tmp_path)) is not None


def test_other_systems(tmp_path):
    reason, _ = cannot_run(Platform("windows", "amd64"), AMD64, root=str(tmp_path))
    assert reason == "this machine runs programs of linux"


@pytest.mark.parametrize(
    ("options", "problem"), [({"enabled": "disabled"}, "switched off"), ({"flags": "OC"}, "without the flag F")]
)
def test_emulators_that_cannot_be_used(tmp_path, options, problem):
    register(tmp_path, "qemu-aarch64", AARCH64, **options)
    reason, _ = cannot_run(ARM64, AMD64, root=str(tmp_path))
    assert "qemu-aarch64" in reason
    assert problem in reason


def test_all_switched_off(tmp_path):
    register(tmp_path, "any-name", AARCH64)
    (tmp_path / "status").write_text("disabled\n")
    (tmp_path / "register").write_text("")
    assert [(one[0], one[1], bool(one[2])) for one in registered(str(tmp_path))] == [("any-name", "arm64", True)]


def test_what_is_no_emulator(tmp_path):
    for name, magic in (("python3.11", "a70d0d0a"), ("jar", "504b0304"), ("odd", "xyz"), ("short", "7f454c46")):
        register(tmp_path, name, magic)
    register(tmp_path, "qemu-mips", MIPS)
    assert list(registered(str(tmp_path))) == []
