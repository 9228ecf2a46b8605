"""A classic BPF machine and an independent reading of policies: what the compiler is measured against."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from contextkernel.linux.seccomp_policy import ERRNO, Condition, Operator, Policy
from contextkernel.linux.syscall_table import syscall_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

KILL = 0x8000_0000
ALLOW = 0x7FFF_0000
AUDIT = {"x86_64": 0xC000003E, "x32": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
SUB = {"x86_64": ("x86_64", "x32", "i386"), "aarch64": ("aarch64", "arm")}
BIT = {"x32": 1 << 30}
PRIVATE = 0xF0000
WORD = (1 << 32) - 1


def run(program: bytes, number: int, audit: int, arguments: Sequence[int] = (0,) * 6) -> int:
    """Interpret ``program`` for one call, as net/core/filter.c and kernel/seccomp.c define it."""
    data = struct.pack("<iIQ6Q", number if number < 1 << 31 else number - (1 << 32), audit, 0, *arguments)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        operation, jt, jf, k = code[at]
        at += 1
        match operation:
            case 0x20:
                assert k % 4 == 0
                assert k + 4 <= len(data)
                accumulator = struct.unpack_from("<I", data, k)[0]
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += jt if accumulator == k else jf
            case 0x25:
                at += jt if accumulator > k else jf
            case 0x35:
                at += jt if accumulator >= k else jf
            case 0x06:
                return k
            case other:
                raise AssertionError(f"instruction {other:#x} is not one seccomp's bitmap cache understands")


def _holds(condition: Condition, arguments: Sequence[int]) -> bool:
    value = arguments[condition.index] & ((1 << condition.bits) - 1)
    return {
        Operator.NOT_EQUAL: value != condition.value,
        Operator.LESS: value < condition.value,
        Operator.LESS_OR_EQUAL: value <= condition.value,
        Operator.EQUAL: value == condition.value,
        Operator.GREATER_OR_EQUAL: value >= condition.value,
        Operator.GREATER: value > condition.value,
        Operator.MASKED_EQUAL: value & condition.value == condition.masked,
    }[condition.operator]


class Reading:
    """What a policy says, looked up rule by rule; knows nothing of programs."""

    def __init__(self, policy: Policy, capabilities: frozenset[str], architecture: str) -> None:
        docker = {"x86_64": "amd64", "aarch64": "arm64"}[architecture]
        self.default = policy.default
        self.rules = [rule for rule in policy.rules if rule.applies(capabilities, docker, (6, 1))]
        mentioned = {name for rule in self.rules for name in rule.names}
        self.names = {abi: {n: name for name, n in syscall_numbers(abi).items()} for abi in SUB[architecture]}
        self.highest = {
            abi: max((n for n, name in names.items() if name in mentioned and n < PRIVATE), default=-1)
            for abi, names in self.names.items()
        }

    def verdict(self, abi: str, number: int, arguments: Sequence[int]) -> int:
        name = self.names[abi].get(number)
        for rule in self.rules:
            if name in rule.names and all(_holds(condition, arguments) for condition in rule.conditions):
                return rule.action
        if number > self.highest[abi] and self.default & 0xFFFF0000 == ERRNO:
            return ERRNO | 38
        return self.default
