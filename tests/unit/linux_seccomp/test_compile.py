from __future__ import annotations

import importlib.util
import random
import struct
from pathlib import Path

import pytest

from contextkernel.errors import HostUnsupported, InvalidInput
from contextkernel.linux import seccomp
from contextkernel.linux.caps import CAPABILITIES, DEFAULT_CAPABILITIES
from contextkernel.linux.seccomp_policy import (
    ALLOW,
    DEFAULT_POLICY,
    ERRNO,
    FAKE_IDS_POLICY,
    NOTIFY,
    RECORDED_IDS_POLICY,
    Condition,
    Operator,
    Policy,
    Rule,
    fail_with,
)
from contextkernel.linux.syscall_table import syscall_numbers

_SPEC = importlib.util.spec_from_file_location("machine", Path(__file__).with_name("machine.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
machine = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(machine)

ARCHITECTURES = ("x86_64", "aarch64")
SETS = {
    "docker": DEFAULT_CAPABILITIES,
    "none": frozenset(),
    "all": frozenset(CAPABILITIES),
    "admin": DEFAULT_CAPABILITIES | {"CAP_SYS_ADMIN"},
    "ptrace": frozenset({"CAP_SYS_PTRACE", "CAP_SYS_NICE"}),
}
VALUES = (
    *(0, 1, 8, 37, 38, 39, 40, 41, 0x20000, 0x20008, 0x20009, 0x10000000, 0x0010F000, 0x7E020000, 0xFFFFFFFF),
    *(0x1_00000000, 0x1_00000028, 0x1_FFFFFFFF, 1 << 63, (1 << 64) - 1, 0o020644, 0o060600, 0o010644, 0o100644),
)


def check_every_number(policy: Policy, capabilities: frozenset[str], architecture: str, program: bytes) -> int:
    reading = machine.Reading(policy, capabilities, architecture)
    checked = 0
    for abi in machine.SUB[architecture]:
        last = max(n for n in reading.names[abi] if n < machine.PRIVATE)
        private = [n + d for n in reading.names[abi] if n >= machine.PRIVATE for d in (-1, 0, 1)]
        for number in [*range(last + 40), *private, 0xEFFFF, 0x3FFFFFFE, 0x3FFFFFFF]:
            name = reading.names[abi].get(number)
            conditional = any(name in rule.names and rule.conditions for rule in reading.rules)
            for value in VALUES if conditional else VALUES[:2]:
                for place in range(3) if conditional else range(1):
                    arguments = [0] * 6
                    arguments[place] = value
                    expected = reading.verdict(abi, number, arguments)
                    real = machine.run(program, number | machine.BIT.get(abi, 0), machine.AUDIT[abi], arguments)
                    assert real == expected, (abi, number, name, arguments)
                    checked += 1
    return checked


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("which", SETS)
def test_program_decides_as_the_default_policy_says(which: str, architecture: str) -> None:
    program = seccomp.compile_policy(DEFAULT_POLICY, SETS[which], architecture)
    assert check_every_number(DEFAULT_POLICY, SETS[which], architecture, program) > 1000
    assert len(program) % 8 == 0
    assert len(program) // 8 < 500


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_program_decides_as_the_fake_ids_policy_says(architecture: str) -> None:
    program = seccomp.fixed_filter(FAKE_IDS_POLICY, architecture)
    assert check_every_number(FAKE_IDS_POLICY, frozenset(), architecture, program) > 1000
    assert machine.run(program, 5, 0x12345) == ALLOW


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_program_decides_as_the_recorded_ids_policy_says(architecture: str) -> None:
    program = seccomp.fixed_filter(RECORDED_IDS_POLICY, architecture)
    assert check_every_number(RECORDED_IDS_POLICY, frozenset(), architecture, program) > 1000
    assert machine.run(program, 5, 0x12345) == ALLOW


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_whoever_listens_knows_the_calls_that_it_hears_of_and_no_others(architecture: str) -> None:
    program = seccomp.fixed_filter(RECORDED_IDS_POLICY, architecture)
    device = [0o020644] * 6  # whatever argument the mode is
    heard = set()
    for abi in machine.SUB[architecture]:
        for number in range(machine.BIT.get(abi, 0), machine.BIT.get(abi, 0) + 700):
            if machine.run(program, number, machine.AUDIT[abi], device) == NOTIFY:
                heard.add((machine.AUDIT[abi], number))
    assert heard == set(seccomp.recorded_calls(architecture))


def test_ids_of_16_bits_are_known_as_such() -> None:
    calls = seccomp.recorded_calls("x86_64")
    assert {(call.name, call.short) for (audit, _), call in calls.items() if audit == machine.AUDIT["i386"]} == {
        *((name, short) for name in ("chown", "fchown", "lchown") for short in (True, False)),
        *((name, False) for name in ("fchownat", "mknod", "mknodat")),
    }
    assert not any(call.short for (audit, _), call in calls.items() if audit == machine.AUDIT["x86_64"])


def call(name: str, *arguments: int, abi: str = "x86_64", capabilities: frozenset[str] = DEFAULT_CAPABILITIES) -> int:
    program = seccomp.compile_policy(
        DEFAULT_POLICY, capabilities, "x86_64" if abi in machine.SUB["x86_64"] else "aarch64"
    )
    number = syscall_numbers(abi)[name] | machine.BIT.get(abi, 0)
    return machine.run(program, number, machine.AUDIT[abi], (*arguments, 0, 0, 0, 0, 0, 0)[:6])


@pytest.mark.parametrize("abi", ["x86_64", "x32", "i386", "aarch64", "arm"])
def test_what_docker_is_known_to_decide(abi: str) -> None:
    eperm, enosys = fail_with(1), fail_with(38)
    for name in ("mount", "unshare", "setns", "keyctl", "add_key", "bpf", "kexec_load", "pivot_root", "io_uring_setup",
                 "userfaultfd", "reboot", "swapon", "pidfd_getfd"):  # fmt: skip
        assert call(name, abi=abi) == eperm, name
    for name in ("read", "execve", "openat2", "seccomp", "chroot", "ptrace", "landlock_restrict_self", "statx"):
        assert call(name, abi=abi) == ALLOW, name
    assert call("clone3", abi=abi) == enosys
    assert call("clone", 0x003D0F00, abi=abi) == ALLOW  # a thread
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert call("clone", flag | 17, abi=abi) == eperm
    assert call("socket", 2, abi=abi) == ALLOW
    assert call("socket", 16, abi=abi) == ALLOW
    assert call("socket", 38, abi=abi) == eperm
    assert call("socket", 40, abi=abi) == eperm
    assert call("personality", 0xFFFFFFFF, abi=abi) == ALLOW
    assert call("personality", 0x0040000, abi=abi) == eperm  # ADDR_NO_RANDOMIZE
    admin = DEFAULT_CAPABILITIES | {"CAP_SYS_ADMIN"}
    for name in ("mount", "unshare", "setns", "clone3", "bpf"):
        assert call(name, 0x10000000, abi=abi, capabilities=admin) == ALLOW
    assert call("chroot", abi=abi, capabilities=frozenset()) == eperm
    assert call("open_by_handle_at", abi=abi, capabilities=frozenset({"CAP_DAC_READ_SEARCH"})) == ALLOW


def test_attack_socket_family_with_a_high_bit_does_not_reach_vsock() -> None:
    # the kernel sees (int)0x100000028 == AF_VSOCK
    assert call("socket", 1 << 32 | 40) == fail_with(1)
    assert call("socket", 1 << 32 | 38) == fail_with(1)
    assert call("socket", 1 << 32 | 2) == ALLOW


def test_attack_personality_with_a_high_bit_is_refused() -> None:
    assert call("personality", 1 << 32) == fail_with(1)


def test_attack_foreign_architecture_is_killed() -> None:
    program = seccomp.compile_policy(DEFAULT_POLICY, DEFAULT_CAPABILITIES, "x86_64")
    for audit in (0, 0xC00000B7, 0x40000028, 0xFFFFFFFF):
        assert machine.run(program, 0, audit) == machine.KILL


def test_newer_calls_than_the_policy_knows_look_unimplemented() -> None:
    program = seccomp.compile_policy(DEFAULT_POLICY, DEFAULT_CAPABILITIES, "x86_64")
    assert machine.run(program, syscall_numbers("x86_64")["removexattrat"], machine.AUDIT["x86_64"]) == ALLOW
    for number in (467, 470, 1000, 0x3FFFFFFF, 0x40000000 | 548, 0xFFFFFFFF):
        assert machine.run(program, number, machine.AUDIT["x86_64"]) == fail_with(38), number


def test_compiling_is_deterministic_and_cached() -> None:
    a = seccomp.compile_policy(DEFAULT_POLICY, DEFAULT_CAPABILITIES, "x86_64")
    assert a == seccomp.compile_policy(DEFAULT_POLICY, frozenset(sorted(DEFAULT_CAPABILITIES)), "x86_64")
    assert seccomp.fixed_filter(FAKE_IDS_POLICY, "aarch64") is seccomp.fixed_filter(FAKE_IDS_POLICY, "aarch64")
    assert seccomp.fixed_filter(FAKE_IDS_POLICY, "aarch64") != seccomp.fixed_filter(RECORDED_IDS_POLICY, "aarch64")


def test_old_kernels_get_no_ptrace() -> None:
    program = seccomp.compile_policy(DEFAULT_POLICY, DEFAULT_CAPABILITIES, "x86_64", kernel=(4, 7))
    assert machine.run(program, syscall_numbers("x86_64")["ptrace"], machine.AUDIT["x86_64"]) == fail_with(1)


def random_condition(random_: random.Random) -> Condition:
    value = random_.choice([0, 1, 7, 0x80000000, 0xFFFFFFFF, 1 << 32, (5 << 32) + 3, (1 << 64) - 1])
    operator = random_.choice(list(Operator))
    masked = value & random_.getrandbits(64) if operator is Operator.MASKED_EQUAL else 0
    return Condition(random_.randrange(6), operator, value, masked)


@pytest.mark.parametrize("seed", range(12))
def test_random_policies_decide_as_written(seed: int) -> None:
    random_ = random.Random(seed)  # noqa: S311
    names = list(syscall_numbers("x86_64"))
    rules = tuple(
        Rule(
            names=tuple(random_.sample(names, random_.randrange(1, 20))),
            action=random_.choice([ALLOW, ERRNO | 1, ERRNO | 13, 0x7FFC0000]),
            conditions=tuple(random_condition(random_) for _ in range(random_.randrange(4))),
        )
        for _ in range(random_.randrange(1, 16))
    )
    policy = Policy(rules=rules, default=random_.choice([ALLOW, ERRNO | 1, ERRNO | 38]))
    program = seccomp.compile_policy(policy, frozenset(), "x86_64")
    reading = machine.Reading(policy, frozenset(), "x86_64")
    values = [0, 1, 2, 6, 7, 8, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 1 << 32, (5 << 32) + 2, (5 << 32) + 3,
              (5 << 32) + 4, (6 << 32), (1 << 64) - 1]  # fmt: skip
    for name, number in syscall_numbers("x86_64").items():
        for _ in range(6):
            arguments = [random_.choice(values) for _ in range(6)]
            expected = reading.verdict("x86_64", number, arguments)
            assert machine.run(program, number, machine.AUDIT["x86_64"], arguments) == expected, (name, arguments)


def test_jumps_are_within_the_program_and_its_reach() -> None:
    # many argument checks push the targets of the search beyond 255 instructions
    names = list(syscall_numbers("x86_64"))
    rules = tuple(
        Rule(names=(name,), conditions=(Condition(0, Operator.EQUAL, index), Condition(1, Operator.GREATER, index)))
        for index, name in enumerate(names[:120])
    )
    policy = Policy(rules=rules)
    program = seccomp.compile_policy(policy, frozenset(), "x86_64")
    code = list(struct.iter_unpack("=HBBI", program))
    assert len(code) > 1000
    for at, (operation, jt, jf, k) in enumerate(code):
        reach = k if operation == 0x05 else max(jt, jf) if operation in (0x15, 0x25, 0x35) else 0
        assert at + 1 + reach < len(code) or operation == 0x06
    reading = machine.Reading(policy, frozenset(), "x86_64")
    for index, name in enumerate(names):
        number = syscall_numbers("x86_64")[name]
        for arguments in ((index, index + 1, 0, 0, 0, 0), (index, index, 0, 0, 0, 0), (index + 1, 9999, 0, 0, 0, 0)):
            expected = reading.verdict("x86_64", number, arguments)
            assert machine.run(program, number, machine.AUDIT["x86_64"], arguments) == expected


def test_too_long_a_program_is_refused() -> None:
    names = list(syscall_numbers("x86_64"))
    rules = tuple(
        Rule(names=(name,), conditions=tuple(Condition(i, Operator.EQUAL, n * 7 + i << 20) for i in range(6)))
        for n, name in enumerate(names)
    )
    with pytest.raises(InvalidInput, match=r"instructions, the kernel takes 4096"):
        seccomp.compile_policy(Policy(rules=rules), frozenset(), "x86_64")


def test_unknown_architecture() -> None:
    with pytest.raises(HostUnsupported, match="'vax'"):
        seccomp.compile_policy(DEFAULT_POLICY, frozenset(), "vax")
    with pytest.raises(HostUnsupported, match="'vax'"):
        syscall_numbers("vax")


def test_every_name_in_the_policies_exists_somewhere() -> None:
    known = {name for abi in machine.AUDIT for name in syscall_numbers(abi)}
    # calls of other architectures, and ARM's sync_file_range2, which is called arm_sync_file_range there
    elsewhere = {"riscv_hwprobe", "sync_file_range2"}
    for policy in (DEFAULT_POLICY, FAKE_IDS_POLICY):
        assert {name for rule in policy.rules for name in rule.names} - known <= elsewhere
