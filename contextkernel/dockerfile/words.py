"""How an instruction's line is cut: name, flags, words, JSON arrays, ``key=value`` pairs.

Source of the rules: BuildKit's ``parser/split_command.go`` and ``parser/line_parsers.go``. Nothing is expanded and
quotes stay in the words, except in flags.
"""

from __future__ import annotations

from contextkernel.dockerfile.text import BLANKS, SPACE


class NotStrings(ValueError):
    """A JSON array with elements that are not strings."""


def split_command(line: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """Cut a logical line into the instruction's name, its flags and the rest."""
    parts = BLANKS.split(line.strip(SPACE), maxsplit=1)
    if len(parts) == 1:
        return parts[0], (), ""
    flags, rest = split_flags(parts[1], escape)
    return parts[0], flags, rest.strip(SPACE)


def split_flags(line: str, escape: str) -> tuple[tuple[str, ...], str]:
    """Take the words that start with ``--`` off the front; a bare ``--`` ends them.

    Quotes and escapes inside flags are resolved here.
    """
    flags: list[str] = []
    position, length = 0, len(line)
    while True:
        while position < length and line[position] in SPACE:
            position += 1
        if not line.startswith("--", position):
            return tuple(flags), line[position:]
        word: list[str] = []
        quote = ""
        while position < length:
            char = line[position]
            if not quote and char in SPACE:
                break
            position += 1
            if char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            elif char == escape:
                word.append(line[position : position + 1])
                position += 1
            else:
                word.append(char)
        flag = "".join(word)
        if flag == "--":
            return tuple(flags), line[position:]
        flags.append(flag)


def split_words(rest: str, escape: str) -> tuple[str, ...]:
    """Words at unquoted, unescaped white space; quotes and escapes stay in them."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    position, length = 0, len(rest)
    while position < length:
        char = rest[position]
        position += 1
        if not quote and char in SPACE:
            if word:
                words.append("".join(word))
                word.clear()
            continue
        if char == escape and quote != "'":
            if position == length:
                # an escape with nothing to escape is dropped
                continue
            char += rest[position]
            position += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        word.append(char)
    if word:
        words.append("".join(word))
    return tuple(words)


def split_blanks(rest: str) -> tuple[str, ...]:
    """Words at white space, whatever the quotes."""
    return tuple(BLANKS.split(rest)) if rest else ()


def json_array(rest: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; ``None`` if the text is anything else.

    Raises:
        NotStrings: if it is an array with other elements.
    """
    if not rest.lstrip(SPACE).startswith("["):
        return None
    import json

    try:
        value = json.loads(rest.lstrip(SPACE), parse_constant=_refuse, parse_float=_number, parse_int=_number)
    except RecursionError:
        raise NotStrings(rest) from None
    except ValueError:
        return None
    if not all(isinstance(element, str) for element in value):
        raise NotStrings(rest)
    # a lone surrogate (\ud800) is no character; Go puts the replacement character there, and so does BuildKit
    return tuple(element.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for element in value)


def _refuse(word: str) -> float:
    raise ValueError(word)


def _number(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number
