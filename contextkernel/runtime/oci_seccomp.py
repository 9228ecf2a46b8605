"""A container's system call policy in the words of the OCI runtime specification (config-linux.md, "Seccomp"). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.linux.seccomp_policy import (
    ALLOW,
    DEFAULT_POLICY,
    ERRNO,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    TRACE,
    TRAP,
)
from contextkernel.linux.seccomp_profile import parse_profile, resolve
from contextkernel.runtime.oci import Seccomp, SeccompArgument, SeccompRule

if TYPE_CHECKING:
    from contextkernel.linux.seccomp_policy import Policy, Rule

_ACTIONS = {
    KILL_PROCESS: "SCMP_ACT_KILL_PROCESS",
    KILL_THREAD: "SCMP_ACT_KILL",
    TRAP: "SCMP_ACT_TRAP",
    ERRNO: "SCMP_ACT_ERRNO",
    TRACE: "SCMP_ACT_TRACE",
    LOG: "SCMP_ACT_LOG",
    ALLOW: "SCMP_ACT_ALLOW",
}
_TABLES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
_NAMES = {
    "x86_64": "SCMP_ARCH_X86_64",
    "i386": "SCMP_ARCH_X86",
    "x32": "SCMP_ARCH_X32",
    "aarch64": "SCMP_ARCH_AARCH64",
    "arm": "SCMP_ARCH_ARM",
}
_DOCKER_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}


def oci_seccomp(profile: str, capabilities: frozenset[str], machine: str, kernel: tuple[int, int]) -> Seccomp | None:
    """The policy of a container.

    Args:
        profile: in docker's JSON format; empty for the default policy.
        capabilities: the bounding set.
        machine: as ``uname -m`` says it.
        kernel: version of the running kernel.

    Returns:
        ``None`` for a profile that asks for no filter.

    Raises:
        InvalidInput: the profile is not right.
    """
    policy = resolve(parse_profile(profile), capabilities, machine, kernel) if profile else DEFAULT_POLICY
    if policy is None:
        return None
    rules = [rule for rule in policy.rules if rule.applies(capabilities, _DOCKER_NAMES.get(machine, machine), kernel)]
    action, number = _action(policy.default)
    return Seccomp(
        default_action=action,
        default_errno_ret=number,
        architectures=_architectures(policy, machine),
        flags=("SECCOMP_FILTER_FLAG_LOG",) if policy.log else (),
        syscalls=tuple(_rule(rule) for rule in rules),
    )


def _architectures(policy: Policy, machine: str) -> tuple[str, ...]:
    if policy.abis is None:
        return _TABLES.get(machine, ())
    return tuple(_NAMES[abi] for abi in policy.abis)


def _action(verdict: int) -> tuple[str, int | None]:
    kind = verdict & 0xFFFF_0000
    return _ACTIONS[kind], verdict & 0xFFFF if kind in (ERRNO, TRACE) else None


def _rule(rule: Rule) -> SeccompRule:
    action, number = _action(rule.action)
    return SeccompRule(
        names=rule.names,
        action=action,
        errno_ret=number,
        args=tuple(
            SeccompArgument(
                index=condition.index, value=condition.value, value_two=condition.masked, op=str(condition.operator)
            )
            for condition in rule.conditions
        ),
    )
