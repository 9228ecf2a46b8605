"""The filter for traced programs: what it says of each call, on each machine."""

from __future__ import annotations

import pytest

from contextkernel.linux.seccomp import fixed_filter
from contextkernel.linux.seccomp_traced import TRACED_POLICY, UNKNOWN_CALLS
from contextkernel.linux.syscall_table import syscall_numbers


@pytest.mark.parametrize("table", ["x86_64", "i386", "aarch64"])
def test_the_calls_are_known_by_these_names(table):
    assert set(UNKNOWN_CALLS.names) <= set(syscall_numbers(table))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_it_compiles_for_all_machines(machine):
    assert fixed_filter(TRACED_POLICY, machine)


def test_only_what_the_tracer_does_not_know_is_answered():
    assert [rule.action & 0xFFFF for rule in TRACED_POLICY.rules] == [38]  # ENOSYS
    assert not {"open", "openat", "execve", "rename", "renameat", "stat", "newfstatat"} & set(UNKNOWN_CALLS.names)
