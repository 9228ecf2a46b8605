"""Values of the options about limits: sizes, processors, devices with a rate.

The rules are those of docker/cli (``opts``) and docker/go-units.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from contextkernel.commands.grammar import Parsed, usage_problem

if TYPE_CHECKING:
    from contextkernel.model.resources import DeviceRate

_SIZE = re.compile(r"(?P<number>[0-9. ]*[0-9.])\s?(?P<suffix>[a-zA-Z]{0,3})")
_POWERS = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_MAX_UINT16 = (1 << 16) - 1
T = TypeVar("T")


def size_of(text: str) -> int:
    """``512m``, ``1.5g``, ``64kb``, ``1GiB``, ``20`` as bytes; powers of 1024 (go-units ``RAMInBytes``).

    Raises:
        ValueError: not a size; the message is docker's.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid size: '{text}'")
    suffix = found["suffix"].lower()
    power = _POWERS.get(suffix[:1], 0)
    if suffix and suffix != "b" and (not power or suffix[1:] not in ("", "b", "ib")):
        raise ValueError(f"invalid suffix: '{suffix}'")
    try:
        return int(float(found["number"]) * (1 << power))
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None


def swap_of(text: str) -> int:
    """Like :func:`size_of`; ``-1`` is no limit.

    Raises:
        ValueError: not that.
    """
    return -1 if text == "-1" else size_of(text)


def nano_cpus_of(text: str) -> int:
    """``1.5`` or ``3/2`` processors times 10^9 (docker/cli ``opts.ParseCPUs``).

    Raises:
        ValueError: not a number, or more digits than there are nanoseconds.
    """
    from fractions import Fraction

    try:
        exact = Fraction(text) * 10**9
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if exact.denominator != 1:
        raise ValueError("value is too precise")
    return int(exact)


def uint16_of(text: str) -> int:
    """A number from 0 to 65535.

    Raises:
        ValueError: not that.
    """
    try:
        number = int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax') from None
    if not 0 <= number <= _MAX_UINT16:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return number


def value(parsed: Parsed, name: str, convert: Callable[[str], T]) -> T | None:
    """The last value of an option, converted; ``None`` when it is not there.

    Raises:
        UsageProblem: with docker's words.
    """
    text = parsed.maybe(name)
    return None if text is None else _converted(parsed, name, text, convert)


def devices(parsed: Parsed, name: str, *, sizes: bool = False, weights: bool = False) -> tuple[DeviceRate, ...]:
    """``PATH:NUMBER`` values of an option.

    Args:
        parsed: the command line.
        name: of the option.
        sizes: the number may be a size, ``1mb``.
        weights: the number is a weight: 0, or 10 to 1000.

    Raises:
        UsageProblem: with docker's words.
    """

    def convert(text: str) -> DeviceRate:
        return _device(text, sizes=sizes, weights=weights)

    return tuple(_converted(parsed, name, text, convert) for text in parsed.texts(name))


def _device(text: str, *, sizes: bool, weights: bool) -> DeviceRate:
    from contextkernel.model.resources import DeviceRate

    path, colon, number = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    if weights:
        if not number.isdecimal() or not (int(number) == 0 or 10 <= int(number) <= 1000):
            raise ValueError(f"invalid weight for device: {text}")
        return DeviceRate(path, int(number))
    try:
        rate = size_of(number) if sizes else int(number)
    except ValueError:
        rate = -1
    if rate < 0:
        unit = "[<unit>]" if sizes else ""
        more = " Number must be a positive integer" + (". Unit is optional and can be kb, mb, or gb" if sizes else "")
        raise ValueError(f"invalid rate for device: {text}. The correct format is <device-path>:<number>{unit}.{more}")
    return DeviceRate(path, rate)


def ulimits(parsed: Parsed, known: Iterable[str]) -> list[dict[str, object]]:
    """``--ulimit NAME=SOFT[:HARD]``; -1 is no limit. The last one of a name counts.

    Args:
        parsed: the command line.
        known: names there are.

    Returns:
        In docker-py's form, sorted by name as docker has them.

    Raises:
        UsageProblem: with docker's words.
    """
    found = {}
    for text in parsed.texts("ulimit"):
        one = _converted(parsed, "ulimit", text, lambda text: _ulimit(text, known))
        found[str(one["Name"])] = one
    return [found[name] for name in sorted(found)]


def _ulimit(text: str, known: Iterable[str]) -> dict[str, object]:
    name, equals, numbers = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in known:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = numbers.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {numbers}, can only have up to two, `soft[:hard]`")
    try:
        soft, hard = int(parts[0]), int(parts[-1])
    except ValueError:
        wrong = next(part for part in parts if not part.removeprefix("-").isdecimal())
        raise ValueError(f'strconv.ParseInt: parsing "{wrong}": invalid syntax') from None
    if hard != -1 and (soft == -1 or soft > hard):
        shown = "soft: -1 (unlimited), hard: " + str(hard) if soft == -1 else f"{soft} > {hard}"
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {shown}")
    return {"Name": name, "Soft": soft, "Hard": hard}


def _converted(parsed: Parsed, name: str, text: str, convert: Callable[[str], T]) -> T:
    try:
        return convert(text)
    except ValueError as problem:
        option = parsed.command.option(name)
        shown = option.shown if option else f"--{name}"
        raise usage_problem(f'invalid argument "{text}" for "{shown}" flag: {problem}') from None
