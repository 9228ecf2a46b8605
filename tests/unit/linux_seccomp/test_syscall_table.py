from __future__ import annotations

import re
from pathlib import Path

import pytest

from contextkernel.linux.syscall_table import syscall_numbers

_HEADERS = Path("/usr/include/x86_64-linux-gnu/asm")


@pytest.mark.may_skip
@pytest.mark.parametrize(("abi", "file"), [("x86_64", "unistd_64.h"), ("i386", "unistd_32.h"), ("x32", "unistd_x32.h")])
def test_numbers_are_those_of_the_kernel_headers(abi: str, file: str) -> None:
    header = _HEADERS / file
    if not header.exists():
        pytest.skip(f"no {header}")
    text = header.read_text()
    real = {
        name: int(number) for name, number in re.findall(r"#define __NR_(\w+) \(?(?:__X32_SYSCALL_BIT \+ )?(\d+)", text)
    }
    assert len(real) > 300
    ours = syscall_numbers(abi)
    assert {name: ours.get(name) for name in real} == real


@pytest.mark.may_skip
def test_aarch64_numbers_are_those_of_the_generic_header() -> None:
    header = Path("/usr/include/asm-generic/unistd.h")
    if not header.exists():
        pytest.skip(f"no {header}")
    real = dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header.read_text()))
    ours = syscall_numbers("aarch64")
    # under __NR3264_ names, 64-bit ABIs drop the "64"; ranges and names of other ABIs are not calls of this one
    wrong = {n: (int(v), ours[n]) for n, v in real.items() if n in ours and ours[n] != int(v)}
    assert wrong == {}
    assert len(ours.keys() & real.keys()) > 280


@pytest.mark.parametrize("abi", ["x86_64", "x32", "i386", "aarch64", "arm"])
def test_numbers_are_unique_and_ascending(abi: str) -> None:
    numbers = list(syscall_numbers(abi).values())
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 300
