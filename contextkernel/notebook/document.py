"""Documents of ``inspect``: lists of dicts that show as docker's JSON, folded in a notebook."""

from __future__ import annotations

import json
from typing import Any

from contextkernel.commands.template_values import to_json
from contextkernel.notebook.style import escape, wrap

_OPEN_LEVELS = 3
"""Levels that are unfolded from the start: the list, the document, and what stands directly in it (``Config``)."""


class Documents(list[dict[str, Any]]):
    """What ``inspect`` found, in the order of the names: a list of dicts, as docker-py and ``json`` give it."""

    def __repr__(self) -> str:
        return to_text(self)

    def _repr_html_(self) -> str:
        return to_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("..." if cycle else to_text(self))


def to_text(value: object) -> str:
    """JSON as the command line prints it: docker's four blanks."""
    return to_json(value, indent=4)


def to_html(value: object) -> str:
    """A tree of ``details``: folds and unfolds without a script, and reads as an outline where style is stripped."""
    return wrap(_node(value, "", 0))


def _node(value: object, label: str, level: int) -> str:
    items: list[tuple[str, object]]
    match value:
        case dict() if value:
            items = [(str(key), item) for key, item in value.items()]
            count = _count(len(items), "key")
        case list() if value:
            items = [(str(place), item) for place, item in enumerate(value)]
            count = _count(len(items), "item")
        case _:
            kind = ' class="ck-str"' if isinstance(value, str) else ""
            return (
                f'<div class="ck-leaf">{_label(label)}<code{kind}>'
                f"{escape(json.dumps(value, ensure_ascii=False))}</code></div>"
            )
    opened = " open" if (level < _OPEN_LEVELS or _small(items)) and not _says_nothing(value) else ""
    inner = "".join(_node(item, key, level + 1) for key, item in items)
    return (
        f'<details class="ck-doc"{opened}><summary>{_label(label)}<span class="ck-muted">{count}</span></summary>'
        f"{inner}</details>"
    )


def _label(label: str) -> str:
    return f'<code class="ck-key">{escape(label)}</code>: ' if label else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _says_nothing(value: object) -> bool:
    """Whether there is nothing below but empty values (docker's ``ContainerConfig`` of a built image)."""
    if isinstance(value, dict | list):
        return all(_says_nothing(item) for item in (value.values() if isinstance(value, dict) else value))
    return not value


def _small(items: list[tuple[str, object]]) -> bool:
    """Short lists of plain values (Cmd, Env, Layers) are read at a glance."""
    return len(items) <= 8 and not any(isinstance(item, dict | list) and item for _, item in items)
