"""Profiles in docker's format: what they mean, and how bad ones are refused. The meaning was asked of docker 28.5."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.linux.seccomp import compile_policy
from contextkernel.linux.seccomp_profile import parse_profile, resolve
from contextkernel.linux.syscall_table import syscall_numbers

_SPEC = importlib.util.spec_from_file_location("machine", Path(__file__).with_name("machine.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
machine = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(machine)

ALLOW, AUDIT, ERRNO, KILL = machine.ALLOW, machine.AUDIT, machine.ERRNO, machine.KILL
X32 = 1 << 30


def verdict(
    profile: dict[str, Any],
    name: str = "mkdir",
    arguments: tuple[int, ...] = (0, 0o777, 0, 0, 0, 0),
    *,
    abi: str = "x86_64",
    architecture: str = "x86_64",
    capabilities: frozenset[str] = frozenset(),
    kernel: tuple[int, int] = (6, 1),
) -> int:
    policy = resolve(parse_profile(json.dumps(profile)), capabilities, architecture, kernel)
    assert policy is not None
    program = compile_policy(policy, capabilities, architecture, kernel=kernel)
    number = syscall_numbers(abi)[name] + (X32 if abi == "x32" else 0)
    verdict_number: int = machine.run(program, number, AUDIT[abi], arguments)
    return verdict_number


def rule(action: str = "SCMP_ACT_ERRNO", *, names: tuple[str, ...] = ("mkdir",), **more: Any) -> dict[str, Any]:
    return {"names": names, "action": action, **more}


def allowing(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}


def mode(value: int, op: str = "SCMP_CMP_EQ") -> dict[str, Any]:
    return {"index": 1, "value": value, "op": op}


def test_a_rule_without_conditions_decides_before_one_with_whatever_the_order() -> None:
    plain, special = rule(errnoRet=28), rule(errnoRet=5, args=[mode(0o777)])
    assert verdict(allowing(special, plain)) == verdict(allowing(plain, special)) == ERRNO | 28


def test_the_first_rule_of_two_that_hold_decides() -> None:
    profile = allowing(rule(errnoRet=5, args=[mode(0o777)]), rule(errnoRet=28, args=[mode(0o620, "SCMP_CMP_GT")]))
    assert verdict(profile) == ERRNO | 5
    assert verdict(profile, arguments=(0, 0o700, 0, 0, 0, 0)) == ERRNO | 28
    assert verdict(profile, arguments=(0, 0o600, 0, 0, 0, 0)) == ALLOW


def test_two_conditions_on_one_argument_are_alternatives_on_different_ones_both_hold() -> None:
    either = allowing(rule(args=[mode(0o777), mode(0o700)]))
    both = allowing(rule(args=[mode(0o777), {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]))
    assert verdict(either) == verdict(either, arguments=(0, 0o700, 0, 0, 0, 0)) == ERRNO | 1
    assert verdict(both) == ALLOW
    assert verdict(both, arguments=(1, 0o777, 0, 0, 0, 0)) == ERRNO | 1


def test_a_rule_that_says_what_the_default_says_is_passed_over() -> None:
    assert verdict(allowing(rule("SCMP_ACT_ALLOW"), rule(args=[mode(0o777)]))) == ERRNO | 1


@pytest.mark.parametrize(
    ("op", "value", "two", "hits", "misses"),
    [
        ("SCMP_CMP_NE", 5, 0, 6, 5),
        ("SCMP_CMP_LT", 5, 0, 4, 5),
        ("SCMP_CMP_LE", 5, 0, 5, 6),
        ("SCMP_CMP_EQ", 1 << 40, 0, 1 << 40, 1 << 41),
        ("SCMP_CMP_GE", 5, 0, 5, 4),
        ("SCMP_CMP_GT", 5, 0, 1 << 50, 5),
        ("SCMP_CMP_MASKED_EQ", 0xF0, 0x10, 0x1F, 0x2F),
    ],
)
def test_operators(op: str, value: int, two: int, hits: int, misses: int) -> None:
    profile = allowing(rule(args=[{"index": 2, "value": value, "valueTwo": two, "op": op}]))
    assert verdict(profile, arguments=(0, 0, hits, 0, 0, 0)) == ERRNO | 1
    assert verdict(profile, arguments=(0, 0, misses, 0, 0, 0)) == ALLOW


@pytest.mark.parametrize(
    ("action", "number", "wanted"),
    [
        ("SCMP_ACT_ERRNO", None, ERRNO | 1),
        ("SCMP_ACT_ERRNO", 0, ERRNO),
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, KILL),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_TRACE", 7, 0x7FF0_0007),
        ("SCMP_ACT_LOG", None, 0x7FFC_0000),
    ],
)
def test_actions(action: str, number: int | None, wanted: int) -> None:
    assert verdict(allowing(rule(action, errnoRet=number))) == wanted


def test_the_default_verdict_and_newer_calls() -> None:
    refusing = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13, "syscalls": [rule("SCMP_ACT_ALLOW")]}
    assert verdict(refusing) == ALLOW
    assert verdict(refusing, "getpid") == ERRNO | 13
    # newer than any that it names: ENOSYS, as runc has it, so that C libraries fall back
    assert verdict(refusing, "openat2") == ERRNO | 38
    killing = {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [rule("SCMP_ACT_ALLOW")]}
    assert verdict(killing, "getpid") == KILL
    assert verdict(killing, "openat2") == ERRNO | 38
    assert verdict(allowing(rule()), "openat2") == ALLOW


def test_includes_and_excludes() -> None:
    admin = frozenset({"CAP_SYS_ADMIN"})
    needs = allowing(rule(includes={"caps": ["CAP_SYS_ADMIN"]}))
    assert verdict(needs) == ALLOW
    assert verdict(needs, capabilities=admin) == ERRNO | 1
    without = allowing(rule(excludes={"caps": ["CAP_SYS_ADMIN"]}))
    assert verdict(without) == ERRNO | 1
    assert verdict(without, capabilities=admin) == ALLOW
    assert verdict(allowing(rule(includes={"arches": ["arm64"]}))) == ALLOW
    assert verdict(allowing(rule(includes={"arches": ["amd64"]}))) == ERRNO | 1
    assert verdict(allowing(rule(excludes={"arches": ["amd64"]}))) == ALLOW
    newer = allowing(rule(includes={"minKernel": "4.8"}))
    assert verdict(newer, kernel=(4, 7)) == ALLOW
    assert verdict(newer, kernel=(5, 0)) == ERRNO | 1
    assert verdict(allowing(rule(excludes={"minKernel": "4.8"})), kernel=(5, 0)) == ALLOW


def test_the_older_spelling_with_one_name() -> None:
    assert verdict(allowing({"name": "mkdir", "action": "SCMP_ACT_ERRNO"})) == ERRNO | 1


def test_attack_other_architectures_do_not_go_round_a_list_of_refusals() -> None:
    profile = allowing(rule())
    assert verdict(profile, abi="i386") == KILL
    assert verdict(profile, abi="x32") == KILL
    assert verdict(profile, "getpid", abi="x32") == KILL
    named = allowing(rule(), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    assert verdict(named, abi="i386") == verdict(named, abi="x32") == ERRNO | 1
    assert verdict(named, "getpid", abi="i386") == ALLOW
    mapped = allowing(
        rule(), archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}]
    )
    assert verdict(mapped, abi="i386") == verdict(mapped, abi="x32") == ERRNO | 1
    other = allowing(rule(), archMap=[{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}])
    assert verdict(other, abi="i386") == KILL
    assert verdict(other, "mkdirat", abi="arm", architecture="aarch64") == ALLOW


def test_calls_that_no_table_has_are_passed_over() -> None:
    assert verdict(allowing(rule(names=("nosuchcall", "mkdir")))) == ERRNO | 1


@pytest.mark.parametrize("text", ["{}", '{"syscalls": []}', '{"syscalls": null}'])
def test_an_empty_profile_is_no_filter(text: str) -> None:
    assert resolve(parse_profile(text), frozenset(), "x86_64", (6, 1)) is None


def test_logging_is_asked_for_by_a_flag() -> None:
    profile = allowing(rule(), flags=["SECCOMP_FILTER_FLAG_LOG"])
    policy = resolve(parse_profile(json.dumps(profile)), frozenset(), "x86_64", (6, 1))
    assert policy is not None
    assert policy.log


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ([], "invalid seccomp profile p.json: expected `object`, got `array`"),
        ({"syscalls": "x"}, "invalid seccomp profile p.json at syscalls: expected `array | null`, got `str`"),
        ({"defaultAction": "FOO"}, "invalid seccomp profile p.json at defaultAction: 'FOO' is not a valid action"),
        ({"syscalls": [rule()]}, "invalid seccomp profile p.json at defaultAction: '' is not a valid action"),
        (allowing(rule("NO")), "at syscalls[0].action: 'NO' is not a valid action"),
        (allowing(rule("SCMP_ACT_NOTIFY")), "at syscalls[0].action: SCMP_ACT_NOTIFY needs a program that listens"),
        (allowing(rule(name="x")), "at syscalls[0]: both 'name' and 'names' are specified"),
        (allowing(rule(), rule(args=[{"index": 7, "value": 0, "op": "SCMP_CMP_EQ"}])), "at syscalls[1].args[0].index"),
        (allowing(rule(args=[{"index": 1, "value": 0, "op": "EQ"}])), "syscalls[0].args[0].op: 'EQ' is not a valid op"),
        (allowing(rule(args=[{"index": 1, "value": -1, "op": "SCMP_CMP_EQ"}])), "args[0].value: -1 is no unsigned"),
        (allowing(rule(args=[{"index": 1}])), "at syscalls[0].args[0]: object missing required field `value`"),
        (allowing(rule(errnoRet=5000)), "at syscalls[0].action: errno 5000 is not between 0 and 4095"),
        (allowing(rule(includes={"minKernel": "x"})), "at syscalls[0].includes.minKernel: 'x' is not KERNEL.MAJOR"),
        (allowing(rule(excludes={"minKernel": "0.0"})), "at syscalls[0].excludes.minKernel: '0.0' is not"),
        (allowing(rule(includes={"minKernel": "4.8.1"})), "at syscalls[0].includes.minKernel: '4.8.1' is not"),
        (allowing(architectures=["SCMP_ARCH_FOO"]), "at architectures[0]: 'SCMP_ARCH_FOO' is not a valid architecture"),
        (allowing(flags=["FOO"]), "at flags[0]: 'FOO' is not a valid flag"),
        (
            allowing(architectures=["SCMP_ARCH_X86"], archMap=[{"architecture": "SCMP_ARCH_X86"}]),
            "at archMap: both 'architectures' and 'archMap' are specified",
        ),
    ],
)
def test_bad_profiles_are_refused_with_the_place(profile: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_profile(json.dumps(profile), "p.json")
    assert message in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "place"), [("", "p.json:1:1"), ("{", "p.json:1:2"), ('{\n  "a": 1,,\n}', "p.json:2:10")]
)
def test_what_is_no_json_is_refused_with_line_and_column(text: str, place: str) -> None:
    with pytest.raises(InvalidInput, match="the seccomp profile is no JSON") as caught:
        parse_profile(text, "p.json")
    assert str(caught.value.span) == place


def test_attack_deep_nesting() -> None:
    with pytest.raises(InvalidInput):
        parse_profile("[" * 100_000, "p.json")
