"""Flags of instructions: ``--name``, ``--name=value`` (BuildKit, ``instructions/bflag.go``)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from contextkernel.dockerfile.suggest import did_you_mean

Kind: TypeAlias = Literal["switch", "value", "values"]


class FlagProblem(ValueError):
    """A flag that is not acceptable; ``flag`` has its dashes, ``again`` is true for the second of its name."""

    def __init__(self, problem: str, flag: str, hint: str | None = None, *, again: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.flag = flag
        self.hint = hint
        self.again = again


class Flags(msgspec.Struct, frozen=True):
    """The flags of one instruction, read.

    Attributes:
        switches: those that are true or false and were given.
        values: text flags that were given.
        lists: repeatable flags, in order.
    """

    switches: dict[str, bool] = {}
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {}

    def text(self, name: str) -> str | None:
        """A text flag; ``None`` if it was not given or is empty."""
        return self.values.get(name) or None

    def many(self, name: str) -> tuple[str, ...]:
        """A repeatable flag."""
        return tuple(self.lists.get(name, ()))


def read_flags(words: tuple[str, ...], kinds: dict[str, Kind]) -> Flags:
    """Read flags against the table of those an instruction has.

    Args:
        words: with their dashes, quotes resolved.
        kinds: name to kind.

    Raises:
        FlagProblem: for an unknown flag, one given twice, a missing or superfluous value.
    """
    flags = Flags()
    for word in words:
        shown, equals, value = word.partition("=")
        name = shown[2:]
        kind = kinds.get(name)
        if kind is None:
            hint = did_you_mean(name, kinds, prefix="--") if kinds else "this instruction takes no flags"
            raise FlagProblem(f"unknown flag {shown!r}", shown, hint)
        if name in flags.switches or name in flags.values:
            raise FlagProblem(f"flag {shown!r} is given twice", shown, "keep one of them", again=True)
        if (equals and not value and kind == "switch") or (not equals and kind != "switch"):
            raise FlagProblem(f"flag {shown!r} has no value", shown, f"write {shown}=VALUE")
        match kind:
            case "switch":
                if value.lower() not in ("", "true", "false"):
                    raise FlagProblem(f"flag {shown!r} is true or false, not {value!r}", shown, f"write {shown}")
                flags.switches[name] = value.lower() != "false"
            case "value":
                flags.values[name] = value
            case "values":
                flags.lists.setdefault(name, []).append(value)
    return flags
