"""Seccomp filters: policies compiled to classic BPF, and their installation (seccomp(2)).

Calls with a number above the highest that a policy speaks of fail with ENOSYS instead of the policy's errno, as with
runc: C libraries take that for "this kernel is too old" and fall back, which keeps new programs running under an
old policy. Calls through an architecture that the policy does not know end the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from contextkernel.errors import HostUnsupported, SyscallFailed
from contextkernel.linux import bpf
from contextkernel.linux.libc import syscall
from contextkernel.linux.seccomp_policy import (
    ALLOW,
    DEFAULT_POLICY,
    ENOSYS,
    KILL_PROCESS,
    LOG,
    NOTIFY,
    RECORDED_IDS_POLICY,
    TRACE,
    Condition,
    Operator,
    Policy,
    Rule,
    fail_with,
)
from contextkernel.linux.seccomp_profile import DOCKER_NAMES, parse_profile, resolve
from contextkernel.linux.syscall_table import syscall_numbers


class _Abi(NamedTuple):
    """One way into the kernel: which numbers mean what under which AUDIT_ARCH_* value."""

    table: str
    audit: int
    first: int  # added to the table's numbers


# <linux/audit.h>; x32 shares x86-64's value and sets bit 30 of the number (__X32_SYSCALL_BIT).
# ARM's private calls (cacheflush, set_tls ...) are those from 0xf0000.
_ABIS: dict[str, tuple[_Abi, ...]] = {
    "x86_64": (
        _Abi("x86_64", 0xC000_003E, 0),
        _Abi("x32", 0xC000_003E, 0x4000_0000),
        _Abi("i386", 0x4000_0003, 0),
    ),
    "aarch64": (
        _Abi("aarch64", 0xC000_00B7, 0),
        _Abi("arm", 0x4000_0028, 0),
    ),
}
_ARM_PRIVATE = 0xF_0000

SET_MODE_FILTER = 1  # SECCOMP_SET_MODE_FILTER
_LOG = 2  # SECCOMP_FILTER_FLAG_LOG
SPECULATION_ALLOWED = 4  # SECCOMP_FILTER_FLAG_SPEC_ALLOW


def architectures() -> tuple[str, ...]:
    """Machines (``uname -m``) that policies can be compiled for."""
    return tuple(_ABIS)


def _abis(architecture: str) -> tuple[_Abi, ...]:
    try:
        return _ABIS[architecture]
    except KeyError:
        raise HostUnsupported(
            f"no seccomp policy for architecture {architecture!r}", hint=f"supported: {', '.join(_ABIS)}"
        ) from None


def _decisions(
    policy: Policy, capabilities: frozenset[str], architecture: str, kernel: tuple[int, int]
) -> dict[str, tuple[Rule, ...]]:
    """The rules that count here, by system call."""
    found: dict[str, tuple[Rule, ...]] = {}
    for rule in policy.rules:
        if rule.applies(capabilities, DOCKER_NAMES[architecture], kernel):
            for name in rule.names:
                found[name] = (*found.get(name, ()), rule)
    return found


def compile_policy(
    policy: Policy,
    capabilities: frozenset[str],
    architecture: str,
    *,
    kernel: tuple[int, int] = (6, 1),
) -> bytes:
    """Compile a policy for a container; pure.

    Args:
        policy: the rules.
        capabilities: the container's bounding set, names such as ``CAP_CHOWN``.
        architecture: the machine as ``uname -m`` says it: ``x86_64`` or ``aarch64``, each with its 32-bit ABIs.
        kernel: version that rules with a least version are measured against.

    Returns:
        An array of ``struct sock_filter``, for :func:`install_filter`.

    Raises:
        HostUnsupported: no tables for this architecture.
        InvalidInput: the program is too long for the kernel.
    """
    abis = _abis(architecture)
    barred: _Outcome = (((), KILL_PROCESS),)
    rules = _decisions(policy, capabilities, architecture, kernel)
    program = bpf.Assembler()
    audits: dict[int, list[tuple[int, _Outcome]]] = {}
    for abi in abis:
        if policy.abis is None or abi.table in policy.abis:
            audits.setdefault(abi.audit, []).extend(_ranges(policy, rules, abi))
        elif abi.audit in audits:  # x32: its numbers are those above the machine's own
            audits[abi.audit].append((abi.first, barred))
    entry = program.ret(ALLOW if policy.default == ALLOW and policy.abis is None else KILL_PROCESS)
    for audit, ranges in reversed(audits.items()):
        places = {outcome: _emit(program, outcome) for outcome in dict.fromkeys(outcome for _, outcome in ranges)}
        search = program.search([start for start, _ in ranges], [places[outcome] for _, outcome in ranges])
        entry = program.jump(bpf.JEQ, audit, program.load(bpf.OFFSET_NUMBER, search), entry)
    return program.program(program.load(bpf.OFFSET_ARCH, entry))


# conditions and verdict of each rule, in order; the last one has no conditions
_Outcome = tuple[tuple[tuple[Condition, ...], int], ...]


def _ranges(policy: Policy, rules: dict[str, tuple[Rule, ...]], abi: _Abi) -> list[tuple[int, _Outcome]]:
    """Ranges of numbers with the same outcome, from each start up to the next one."""
    default: _Outcome = (((), policy.default),)
    unknown: _Outcome = default if policy.default & 0xFFFF_0000 in (ALLOW, LOG, TRACE) else (((), fail_with(ENOSYS)),)
    outcomes = {
        number: (*((rule.conditions, rule.action) for rule in rules[name]), *default)
        for name, number in syscall_numbers(abi.table).items()
        if name in rules
    }
    highest = max((number for number in outcomes if number < _ARM_PRIVATE), default=-1)
    ranges: list[tuple[int, _Outcome]] = [(abi.first, default)]

    def begin(number: int, outcome: _Outcome) -> None:
        if ranges[-1][0] == number:
            ranges.pop()
        if not ranges or ranges[-1][1] != outcome:
            ranges.append((number, outcome))

    for number, outcome in outcomes.items():
        decided = next(index for index, (conditions, _) in enumerate(outcome) if not conditions)
        begin(abi.first + number, outcome[: decided + 1])
        begin(abi.first + number + 1, default if number < highest else unknown)
    return ranges


def _emit(program: bpf.Assembler, outcome: _Outcome) -> int:
    """The first verdict whose conditions hold; the last has none."""
    place = -1
    for conditions, verdict in reversed(outcome):
        no, place = place, program.ret(verdict)
        for condition in reversed(conditions):
            place = _compare(program, condition, place, no)
    return place


def _compare(program: bpf.Assembler, condition: Condition, yes: int, no: int) -> int:
    """Compare an argument: its low word, and for 64 bits the high word before it (little-endian machines)."""
    low_offset = bpf.OFFSET_ARGUMENTS + 8 * condition.index
    high, low = condition.value >> 32, condition.value & 0xFFFF_FFFF
    match condition.operator:
        case Operator.EQUAL | Operator.NOT_EQUAL:
            if condition.operator is Operator.NOT_EQUAL:
                yes, no = no, yes
            place = program.load(low_offset, program.jump(bpf.JEQ, low, yes, no))
            if condition.bits == 64:
                place = program.load(low_offset + 4, program.jump(bpf.JEQ, high, place, no))
            return place
        case Operator.MASKED_EQUAL:
            want_high, want_low = condition.masked >> 32, condition.masked & 0xFFFF_FFFF
            place = program.load(low_offset, program.mask(low, program.jump(bpf.JEQ, want_low, yes, no)))
            if condition.bits == 64 and (high or want_high):
                place = program.load(low_offset + 4, program.mask(high, program.jump(bpf.JEQ, want_high, place, no)))
            return place
        case Operator.GREATER | Operator.GREATER_OR_EQUAL | Operator.LESS | Operator.LESS_OR_EQUAL:
            if condition.operator in (Operator.LESS, Operator.LESS_OR_EQUAL):
                yes, no = no, yes  # a < b is not (a >= b)
            strict = condition.operator in (Operator.GREATER, Operator.LESS_OR_EQUAL)
            place = program.load(low_offset, program.jump(bpf.JGT if strict else bpf.JGE, low, yes, no))
            if condition.bits == 64:
                equal = program.jump(bpf.JEQ, high, place, no)
                place = program.load(low_offset + 4, program.jump(bpf.JGT, high, yes, equal))
            return place


def _machine() -> str:
    return os.uname().machine


def _kernel() -> tuple[int, int]:
    major, minor, *_ = os.uname().release.split(".")
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or 0)


@cache
def default_filter(capabilities: frozenset[str]) -> bytes:
    """The default policy compiled for this machine and a container's bounding set; cached.

    Raises:
        HostUnsupported: no tables for this machine's architecture.
    """
    return compile_policy(DEFAULT_POLICY, capabilities, _machine(), kernel=_kernel())


def profile_filter(text: str, capabilities: frozenset[str]) -> tuple[bytes, bool] | None:
    """A profile in docker's format compiled for this machine and a container's bounding set.

    Returns:
        The program and whether it logs, for :func:`install_filter`; ``None`` for an empty profile.

    Raises:
        InvalidInput: the profile is not right, or too long for the kernel.
        HostUnsupported: no tables for this machine's architecture.
    """
    policy = resolve(parse_profile(text), capabilities, _machine(), _kernel())
    if policy is None:
        return None
    return compile_policy(policy, capabilities, _machine(), kernel=_kernel()), policy.log


@cache
def fixed_filter(policy: Policy, architecture: str | None = None) -> bytes:
    """The filter of a policy that is the same for all containers, to be installed beside others; cached.

    Args:
        policy: such as ``FAKE_IDS_POLICY``; none of its rules asks for a capability or a kernel version.
        architecture: as ``uname -m`` says it; this machine's by default.

    Raises:
        HostUnsupported: no tables for this architecture.
    """
    return compile_policy(policy, frozenset(), architecture or _machine())


class OwnerCall(NamedTuple):
    """A call that ``RECORDED_IDS_POLICY`` tells of.

    Attributes:
        name: without the ``32`` of tables that have an older call with 16 bits beside it.
        short: its ids have 16 bits.
    """

    name: str
    short: bool


@cache
def recorded_calls(architecture: str | None = None) -> Mapping[tuple[int, int], OwnerCall]:
    """The calls that ``RECORDED_IDS_POLICY`` tells of, by AUDIT_ARCH_* value and number.

    Args:
        architecture: as ``uname -m`` says it; this machine's by default.

    Raises:
        HostUnsupported: no tables for this architecture.
    """
    names = {name for rule in RECORDED_IDS_POLICY.rules if rule.action == NOTIFY for name in rule.names}
    found = {}
    for abi in _abis(architecture or _machine()):
        numbers = syscall_numbers(abi.table)
        for name in names & numbers.keys():
            call = OwnerCall(name.removesuffix("32"), short=f"{name}32" in numbers)
            found[abi.audit, abi.first + numbers[name]] = call
    return MappingProxyType(found)


class FilterProgram(ctypes.Structure):
    """``struct sock_fprog`` of <linux/filter.h>."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install_filter(program: bytes, *, log: bool = False) -> None:
    """Install a filter on the calling thread and all that it starts; it cannot be taken off again.

    Several filters may be installed: the strictest verdict counts, and the newest filter's among equally strict ones.
    The caller has one thread, and no_new_privs is set or it has CAP_SYS_ADMIN in its user namespace. What the filter
    refuses is refused for the caller from the next call on, so this comes last before exec.

    Args:
        program: from :func:`default_filter`, :func:`fixed_filter` or :func:`compile_policy`.
        log: note in the kernel's log what is refused.

    Raises:
        SyscallFailed: EACCES without no_new_privs and CAP_SYS_ADMIN; EINVAL for a program the kernel does not take.
    """
    fprog = FilterProgram(len(program) // 8, program)
    hint = "set no_new_privs first, or install it with CAP_SYS_ADMIN"
    # as runc does: without the flag, kernels before 5.16 slow the whole program down (speculative store bypass)
    for flags in (SPECULATION_ALLOWED, 0):
        try:
            syscall("seccomp", SET_MODE_FILTER, flags | _LOG * log, ctypes.byref(fprog), hint=hint)
        except SyscallFailed as problem:
            if problem.number != errno.EINVAL or not flags:
                raise
        else:
            return
