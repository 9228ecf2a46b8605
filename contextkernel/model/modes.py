"""File modes as ``--chmod`` has them: octal, or symbolic as in chmod(1).

Source of the rules: BSD's ``setmode(3)``, in the form that BuildKit takes them from (tonistiigi/dchapes-mode), with no
umask: letters that name nobody mean everybody, ``X`` looks at the mode before any change, ``s`` of others alone and an
empty list of permissions change nothing.
"""

from __future__ import annotations

import re

import msgspec

from contextkernel.errors import InvalidInput

_SPECIAL = {"u": 0o4000, "g": 0o2000, "o": 0}
_SHIFT = {"u": 6, "g": 3, "o": 0}
_ALL = 0o6777  # everything but the sticky bit, which nobody in particular owns
_STICKY = 0o1000
_EXECUTE = 0o111
_MAX = 0o7777
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rstwXxugo]*)+)\Z")
_ACTION = re.compile(r"([-+=])([rstwXxugo]*)")
_LETTERS = {"r": 0o444, "w": 0o222, "x": 0o111, "X": 0o111}
_HINT = "octal digits up to 7777 (755), or symbolic as in chmod(1): u+x,go-w"


class _Set(msgspec.Struct, frozen=True):
    """Set bits; with ``maybe`` only for directories and for what was executable by anybody."""

    bits: int
    maybe: bool = False


class _Clear(msgspec.Struct, frozen=True):
    """Clear bits."""

    bits: int


class _Take(msgspec.Struct, frozen=True):
    """Let ``targets`` (``ugo``) have, lose or get exactly what ``source`` may."""

    source: str
    targets: str
    sign: str


_Operation = _Set | _Clear | _Take


class ModeChange(msgspec.Struct, frozen=True):
    """A parsed ``--chmod``.

    Attributes:
        text: one spelling for each octal mode (``0755``), else as written.
        absolute: the mode to set, ``None`` for a symbolic one.
    """

    text: str
    absolute: int | None = None
    operations: tuple[_Operation, ...] = ()

    def apply(self, mode: int, *, directory: bool) -> int:
        """The permission bits, setuid and the like included, that become of ``mode``."""
        if self.absolute is not None:
            return self.absolute
        new = mode
        for operation in self.operations:
            match operation:
                case _Set(bits=bits, maybe=maybe):
                    if not maybe or directory or mode & _EXECUTE:
                        new |= bits
                case _Clear(bits=bits):
                    new &= ~bits
                case _Take(source=source, targets=targets, sign=sign):
                    value = new >> _SHIFT[source] & 7
                    for target in targets:
                        if sign != "+":
                            new &= ~((7 if sign == "=" else value) << _SHIFT[target])
                        if sign != "-":
                            new |= value << _SHIFT[target]
        return new


def parse_mode(text: str) -> ModeChange:
    """A ``--chmod`` that is not empty.

    Args:
        text: octal digits, or clauses such as ``u=rwX,go-w``.

    Raises:
        InvalidInput: it is neither, or above 7777.
    """
    if text[:1].isdigit():
        if not re.fullmatch("[0-7]+", text):
            raise InvalidInput(f"mode {text!r} has other digits than 0 to 7", hint=_HINT)
        mode = int(text, 8)
        if mode > _MAX:
            raise InvalidInput(f"mode {text!r} is above 7777", hint=_HINT)
        return ModeChange(f"{mode:04o}", mode)
    operations: list[_Operation] = []
    for part in text.split(","):
        clause = _CLAUSE.match(part)
        if clause is None:
            raise InvalidInput(f"mode {text!r}: {part!r} is not a change of a mode", hint=_HINT)
        who = "ugo" if "a" in clause[1] else clause[1]
        operations += _actions(who, clause[2])
    return ModeChange(text, None, tuple(operations))


def _actions(who: str, text: str) -> list[_Operation]:
    """The operations of one clause: who it is about (empty: everybody), and ``=rw+X`` and the like."""
    found: list[_Operation] = []
    theirs = sum({_SPECIAL[one] | 7 << _SHIFT[one] for one in who})
    for sign, letters in _ACTION.findall(text):
        theirs &= ~_STICKY
        done = False  # an "=" clears once, with the first permissions or with the first class that is taken over
        bits = maybe = 0
        for letter in letters:
            if letter in "ugo":
                if bits:
                    found += _plain(sign, theirs, bits)
                done = done or sign == "="
                if maybe:
                    found.append(_Set(_limited(theirs, maybe), maybe=True))
                bits = maybe = 0
                targets = "".join(one for one in "ugo" if not theirs or theirs >> _SHIFT[one] & 4)
                found.append(_Take(letter, targets, sign))
            elif letter == "X" and sign != "-":
                maybe = _EXECUTE
            elif letter in "st":
                if theirs and not theirs & ~0o7:
                    continue  # others have neither
                if letter == "t":
                    theirs |= _STICKY  # a clause that names nobody is about this bit alone from here on
                bits |= 0o6000 if letter == "s" else _STICKY
            else:
                bits |= _LETTERS[letter]
        if bits or (sign == "=" and not done):
            found += _plain(sign, theirs, bits)
        if maybe:
            found.append(_Set(_limited(theirs, maybe), maybe=True))
    return found


def _plain(sign: str, theirs: int, bits: int) -> list[_Operation]:
    match sign:
        case "+":
            return [_Set(_limited(theirs, bits))]
        case "-":
            return [_Clear(_limited(theirs, bits))]
        case _:
            return [_Clear(theirs or _ALL), _Set(_limited(theirs, bits))]


def _limited(theirs: int, bits: int) -> int:
    return bits & theirs if theirs else bits
