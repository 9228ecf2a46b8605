"""Docker's filters for ``ps``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.errors import InvalidInput

if TYPE_CHECKING:
    from contextkernel.model.results import ContainerRow


def matches(row: ContainerRow, filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether a row passes docker's ``--filter``: any value per key, all keys.

    Raises:
        InvalidInput: for a key this version does not know.
    """
    for key, values in filters.items():
        test = _FILTERS.get(key)
        if test is None:
            raise InvalidInput(f"invalid filter {key!r}", hint=f"one of {', '.join(sorted(_FILTERS))}")
        if key == "label":
            if not all(test(row, value) for value in values):
                return False
        elif not any(test(row, value) for value in values):
            return False
    return True


def _has_label(row: ContainerRow, value: str) -> bool:
    key, equals, wanted = value.partition("=")
    return key in row.labels and (not equals or row.labels[key] == wanted)


def _is_ancestor(row: ContainerRow, value: str) -> bool:
    return value in (row.image, f"{row.image}:latest") or row.image == f"{value}:latest"


_FILTERS: dict[str, Callable[[ContainerRow, str], bool]] = {
    "id": lambda row, value: row.id.startswith(value),
    "name": lambda row, value: value.removeprefix("/") in row.name,
    "label": _has_label,
    "status": lambda row, value: row.state == value,
    "exited": lambda row, value: row.state in ("exited", "dead") and str(row.exit_code) == value,
    "ancestor": _is_ancestor,
    "network": lambda row, value: row.network == value,
}
