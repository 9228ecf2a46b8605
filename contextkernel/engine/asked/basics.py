"""Keyword arguments of ``run`` and ``create`` that every container has, and what they come to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from contextkernel.model.given import several, words_of


class BasicKeywords(TypedDict, total=False):
    """Names follow docker-py.

    * ``remove``: remove the container after its exit.
    * ``entrypoint``: instead of the image's; a string is split as a shell does it; ``("",)`` takes the image's away.
    * ``tty``: give it a terminal.
    * ``stop_timeout``: seconds from the stop signal to SIGKILL.
    """

    name: str | None
    remove: bool
    environment: Mapping[str, str] | str | Sequence[str]
    working_dir: str | None
    user: str
    hostname: str | None
    read_only: bool
    init: bool
    entrypoint: str | Sequence[str] | None
    labels: Mapping[str, str] | str | Sequence[str] | None
    stop_signal: str | None
    stop_timeout: int
    tty: bool


def refuse_unknown(keywords: Iterable[str], known: Collection[str]) -> None:
    """Python checks what ``**keywords`` there are for no function: a slip of the pen would change nothing, unseen.

    Raises:
        TypeError: as Python raises it, with the nearest name that there is.
    """
    from difflib import get_close_matches

    for name in keywords:
        if name not in known:
            near = "".join(f"; did you mean {one!r}?" for one in get_close_matches(name, known, n=1))
            raise TypeError(f"unexpected keyword argument {name!r}{near}")


def basics(keywords: BasicKeywords) -> dict[str, Any]:
    """The keywords as fields of ``runtime.container_creation.RunOptions``."""
    from contextkernel.engine.asked.network import network_of
    from contextkernel.runtime.spec import environment_items

    entrypoint = keywords.get("entrypoint")
    return {
        "name": keywords.get("name"),
        "auto_remove": keywords.get("remove", False),
        "environment": environment_items(keywords.get("environment", ())),
        "working_dir": keywords.get("working_dir"),
        "user": keywords.get("user", ""),
        "hostname": keywords.get("hostname"),
        "network": network_of(keywords),
        "read_only": keywords.get("read_only", False),
        "init": keywords.get("init", False),
        "entrypoint": None if entrypoint is None else words_of(entrypoint),
        "labels": _labels(keywords.get("labels") or ()),
        "stop_signal": keywords.get("stop_signal"),
        "stop_timeout": keywords.get("stop_timeout", 10),
        "tty": keywords.get("tty", False),
    }


def _labels(given: Mapping[str, str] | str | Sequence[str]) -> dict[str, str]:
    """By name, or a list of ``NAME`` and ``NAME=VALUE``, as docker-py takes them."""
    if isinstance(given, Mapping):
        return dict(given)
    return {name: value for name, _, value in (word.partition("=") for word in several(given))}
