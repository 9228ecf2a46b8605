"""Seccomp profiles in docker's JSON format (docs.docker.com/engine/security/seccomp), and policies made of them. Pure.

The format is the runtime specification's ``linux.seccomp`` with three additions: ``archMap``, and in each rule
``includes`` and ``excludes`` (capabilities of the bounding set, architectures, least kernel version). Meaning as with
docker, runc and libseccomp: a rule without conditions comes before those with; among these the first one that holds
decides; a rule that says what the default says is passed over; two conditions on one argument are alternatives;
unknown call names are passed over; the machine's own architecture always belongs to it, and calls through any that the
profile does not name end the program.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from contextkernel.errors import InvalidInput, Span
from contextkernel.linux.seccomp_policy import (
    ALLOW,
    ERRNO,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    TRACE,
    TRAP,
    Condition,
    Operator,
    Policy,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EPERM = 1
_MAX_ERRNO = 4095
_MAX_ARGUMENT = 5
_NOTIFY = "SCMP_ACT_NOTIFY"
_ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
#: runtime-spec, config-linux.md "Seccomp"; the value is our table's name, empty for machines that we have no tables of
_ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "i386",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm",
    **dict.fromkeys(
        (
            "SCMP_ARCH_NATIVE",
            "SCMP_ARCH_MIPS",
            "SCMP_ARCH_MIPS64",
            "SCMP_ARCH_MIPS64N32",
            "SCMP_ARCH_MIPSEL",
            "SCMP_ARCH_MIPSEL64",
            "SCMP_ARCH_MIPSEL64N32",
            "SCMP_ARCH_PPC",
            "SCMP_ARCH_PPC64",
            "SCMP_ARCH_PPC64LE",
            "SCMP_ARCH_S390",
            "SCMP_ARCH_S390X",
            "SCMP_ARCH_PARISC",
            "SCMP_ARCH_PARISC64",
            "SCMP_ARCH_RISCV64",
            "SCMP_ARCH_LOONGARCH64",
            "SCMP_ARCH_M68K",
            "SCMP_ARCH_SH",
            "SCMP_ARCH_SHEB",
        ),
        "",
    ),
}
_NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
#: what docker calls the machines that we have tables of
DOCKER_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_FLAGS = (
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
)


class _Argument(msgspec.Struct, frozen=True, rename="camel"):
    index: int
    value: int
    op: str
    value_two: int = 0


class _Filter(msgspec.Struct, frozen=True, rename="camel"):
    caps: tuple[str, ...] | None = None
    arches: tuple[str, ...] | None = None
    min_kernel: str | None = None

    def kernel(self) -> tuple[int, int] | None:
        if not self.min_kernel:
            return None
        major, _, minor = self.min_kernel.partition(".")
        return int(major), int(minor)


class _Call(msgspec.Struct, frozen=True, rename="camel"):
    action: str = ""
    names: tuple[str, ...] | None = None
    name: str = ""
    errno_ret: int | None = None
    args: tuple[_Argument, ...] | None = None
    includes: _Filter | None = None
    excludes: _Filter | None = None

    def calls(self) -> tuple[str, ...]:
        return (self.name,) if self.name else self.names or ()

    def applies(self, capabilities: frozenset[str], architecture: str, kernel: tuple[int, int]) -> bool:
        without, needed = self.excludes or _Filter(), self.includes or _Filter()
        if architecture in (without.arches or ()) or capabilities & set(without.caps or ()):
            return False
        least = without.kernel()
        if least is not None and kernel >= least:
            return False
        if needed.arches and architecture not in needed.arches:
            return False
        if not set(needed.caps or ()) <= capabilities:
            return False
        least = needed.kernel()
        return least is None or kernel >= least


class _ArchitectureMap(msgspec.Struct, frozen=True, rename="camel"):
    architecture: str = ""
    sub_architectures: tuple[str, ...] | None = None


class Profile(msgspec.Struct, frozen=True, rename="camel"):
    """A profile whose words were all checked; :func:`resolve` makes a policy of it."""

    default_action: str = ""
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] | None = None
    arch_map: tuple[_ArchitectureMap, ...] | None = None
    flags: tuple[str, ...] | None = None
    syscalls: tuple[_Call, ...] | None = None

    @property
    def empty(self) -> bool:
        """It says nothing: no filter is installed, as with docker."""
        return not self.default_action and not self.syscalls


def parse_profile(text: str, file: str = "") -> Profile:
    """Read and check a profile.

    Args:
        text: the JSON.
        file: where it came from, for messages.

    Raises:
        InvalidInput: no JSON (with the place in the file), another shape, or a word that means nothing here (with the
            path to it, such as ``syscalls[3].args[0].op``).
    """
    where = file or "seccomp profile"
    try:
        json.loads(text)
    except json.JSONDecodeError as problem:
        place = Span(
            file=where, line=problem.lineno, column=problem.colno, end_line=problem.lineno, end_column=problem.colno
        )
        raise InvalidInput(
            f"the seccomp profile is no JSON: {problem.msg.lower()}", span=place, source=text, hint=_HINT
        ) from None
    except RecursionError:
        raise InvalidInput(f"{where}: nested too deeply", hint=_HINT) from None
    try:
        profile = msgspec.json.decode(text, type=Profile)
    except msgspec.ValidationError as problem:
        what, _, path = str(problem).partition(" - at `$")
        raise _wrong(where, path.rstrip("`").lstrip("."), what[0].lower() + what[1:]) from None
    _check(profile, where)
    return profile


_HINT = "docker's format: defaultAction, archMap, and syscalls with names, action and args"


def _wrong(where: str, path: str, text: str) -> InvalidInput:
    at = f" at {path}" if path else ""
    return InvalidInput(f"invalid seccomp profile {where}{at}: {text}", hint=_HINT)


def _check(profile: Profile, where: str) -> None:
    if profile.empty:
        return
    if profile.architectures and profile.arch_map:
        raise _wrong(where, "archMap", "both 'architectures' and 'archMap' are specified, use either of them")
    _check_action(profile.default_action, profile.default_errno_ret, where, "defaultAction")
    for number, name in enumerate(profile.architectures or ()):
        _check_word(name, _ARCHITECTURES, "architecture", where, f"architectures[{number}]")
    for number, entry in enumerate(profile.arch_map or ()):
        for name in (entry.architecture, *(entry.sub_architectures or ())):
            _check_word(name, _ARCHITECTURES, "architecture", where, f"archMap[{number}]")
    for number, name in enumerate(profile.flags or ()):
        _check_word(name, _FLAGS, "flag", where, f"flags[{number}]")
    for number, call in enumerate(profile.syscalls or ()):
        _check_call(call, where, f"syscalls[{number}]")


def _check_word(word: str, known: Any, kind: str, where: str, path: str) -> None:
    if word not in known:
        raise _wrong(where, path, f"{word!r} is not a valid {kind} (known are {', '.join(known)})")


def _check_action(action: str, number: int | None, where: str, path: str) -> None:
    if action == _NOTIFY:
        raise _wrong(where, path, f"{_NOTIFY} needs a program that listens, which no container has")
    _check_word(action, _ACTIONS, "action", where, path)
    if number is not None and not 0 <= number <= _MAX_ERRNO:
        raise _wrong(where, path, f"errno {number} is not between 0 and {_MAX_ERRNO}")


def _check_call(call: _Call, where: str, path: str) -> None:
    if call.name and call.names:
        raise _wrong(where, path, "both 'name' and 'names' are specified, use either of them")
    _check_action(call.action, call.errno_ret, where, f"{path}.action")
    for number, argument in enumerate(call.args or ()):
        place = f"{path}.args[{number}]"
        _check_word(argument.op, tuple(Operator), "operator", where, f"{place}.op")
        if not 0 <= argument.index <= _MAX_ARGUMENT:
            raise _wrong(
                where, f"{place}.index", f"system calls have arguments 0 to {_MAX_ARGUMENT}, not {argument.index}"
            )
        for value in (argument.value, argument.value_two):
            if not 0 <= value < 1 << 64:
                raise _wrong(where, f"{place}.value", f"{value} is no unsigned number of 64 bits")
    for name in ("includes", "excludes"):
        condition: _Filter | None = getattr(call, name)
        if condition is not None and condition.min_kernel:
            major, dot, minor = condition.min_kernel.partition(".")
            good = all(
                part.isascii() and part.isdigit() and len(part) <= 3 and int(part) < 256 for part in (major, minor)
            )
            if not dot or not good or not (int(major) or int(minor)):
                raise _wrong(
                    where, f"{path}.{name}.minKernel", f"{condition.min_kernel!r} is not KERNEL.MAJOR such as 4.8"
                )


def resolve(
    profile: Profile, capabilities: frozenset[str], architecture: str, kernel: tuple[int, int]
) -> Policy | None:
    """The policy that a profile means for one container on one machine.

    Args:
        profile: checked.
        capabilities: the container's bounding set.
        architecture: as ``uname -m`` says it.
        kernel: version of the running kernel, major and minor.

    Returns:
        Rules in the order in which they decide; ``None`` if the profile asks for no filter.
    """
    if profile.empty:
        return None
    default = _verdict(profile.default_action, profile.default_errno_ret)
    plain: list[Rule] = []
    conditional: list[Rule] = []
    for call in profile.syscalls or ():
        if not call.applies(capabilities, DOCKER_NAMES.get(architecture, architecture), kernel):
            continue
        action = _verdict(call.action, call.errno_ret)
        if action == default or not call.calls():
            continue
        if not call.args:
            plain.append(Rule(names=call.calls(), action=action))
            continue
        conditional += [Rule(names=call.calls(), action=action, conditions=group) for group in _groups(call.args)]
    return Policy(
        rules=(*plain, *conditional),
        default=default,
        abis=tuple(_abis(profile, architecture)),
        log="SECCOMP_FILTER_FLAG_LOG" in (profile.flags or ()),
    )


def _verdict(action: str, number: int | None) -> int:
    verdict = _ACTIONS[action]
    return verdict | (_EPERM if number is None else number) if verdict in (ERRNO, TRACE) else verdict


def _groups(arguments: Sequence[_Argument]) -> Iterator[tuple[Condition, ...]]:
    conditions = tuple(
        Condition(item.index, Operator(item.op), item.value, masked=item.value_two) for item in arguments
    )
    if len({item.index for item in arguments}) == len(arguments):
        yield conditions
    else:
        yield from ((condition,) for condition in conditions)


def _abis(profile: Profile, architecture: str) -> Iterator[str]:
    native = _NATIVE.get(architecture, "")
    named = list(profile.architectures or ())
    for entry in profile.arch_map or ():
        if entry.architecture == native:
            named += [entry.architecture, *(entry.sub_architectures or ())]
            break
    yield from dict.fromkeys(table for name in (native, *named) if (table := _ARCHITECTURES.get(name, "")))
