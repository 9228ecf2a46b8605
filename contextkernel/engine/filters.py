"""Docker's rules for values of filters that several verbs have."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from contextkernel.errors import InvalidInput

#: docker's keys of ``prune --filter``, of containers and of everything
PRUNE_FILTERS = ("until", "label", "label!")
_TRUE, _FALSE = frozenset(("1", "t", "true")), frozenset(("0", "f", "false"))


def check_keys(filters: Mapping[str, Sequence[str]], known: Collection[str]) -> None:
    """Refuse filters that a verb does not have.

    Raises:
        InvalidInput: one that is not among ``known``, which the hint lists.
    """
    for key in filters:
        if key not in known:
            raise unknown(key, known)


def unknown(key: str, known: Collection[str]) -> InvalidInput:
    """The error about a filter that a verb does not have."""
    return InvalidInput(f"invalid filter {key!r}", hint=f"one of {', '.join(known)}")


def flags(key: str, values: Sequence[str]) -> list[bool]:
    """The values of a filter that is true or false.

    Raises:
        InvalidInput: one that is neither.
    """
    for value in values:
        if value.lower() not in _TRUE | _FALSE:
            raise InvalidInput(f"invalid filter '{key}=[{value}]'", hint="true or false")
    return [value.lower() in _TRUE for value in values]


def one_moment(filters: Mapping[str, Sequence[str]]) -> int | None:
    """Nanoseconds since the epoch of the filter ``until``, if there is one.

    Raises:
        InvalidInput: several, or no moment.
    """
    from contextkernel.engine.moments import nanoseconds

    moments = filters.get("until", ())
    if len(moments) > 1:
        raise InvalidInput("more than one until filter specified", hint="one moment is enough")
    return nanoseconds(moments[0]) if moments else None


def all_labels(labels: Mapping[str, str], filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether labels pass docker's ``label=`` and ``label!=`` of prune: each of the former, none of the latter."""

    def has(word: str) -> bool:
        key, equals, value = word.partition("=")
        return key in labels and (not equals or labels[key] == value)

    return all(map(has, filters.get("label", ()))) and not any(map(has, filters.get("label!", ())))


def named(name: str, wanted: str) -> bool:
    """Docker matches a name by regular expression, and by equality where the value is none."""
    try:
        return re.search(wanted, name) is not None
    except re.error:
        return name == wanted
