"""Docker's recorded results, what is known to differ, and the verdict on a result of ours."""

from __future__ import annotations

import json
import os
import tomllib
from functools import cache
from typing import Any

from .cases import HERE, Case, Line

TIERS = ("root", "user")


def tier() -> str:
    """Of this process: ``root``, or ``user`` for an ordinary one with an id range."""
    return "root" if os.geteuid() == 0 else "user"


@cache
def recorded(group: str) -> dict[str, list[dict[str, Any]]]:
    """Docker's results of a group.

    Args:
        group: its name.

    Returns:
        Case name to results, as :func:`dockercli.playing.play` gives them.
    """
    path = HERE / "recorded" / f"{group}.json"
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


@cache
def different() -> dict[tuple[str, int], dict[str, Any]]:
    """What differs from docker and is meant to: by case and line; see ``different.toml``."""
    tables = tomllib.loads((HERE / "different.toml").read_text(encoding="utf-8")).get("different", [])
    return {
        (table["case"], number): {**table, **table.get("lines", {})[str(number)]}
        for table in tables
        for number in map(int, table["lines"])
    }


@cache
def not_yet() -> dict[str, frozenset[str]]:
    """Cases that do not agree yet, by tier."""
    lists = tomllib.loads((HERE / "not_yet.toml").read_text(encoding="utf-8"))
    return {name: frozenset(lists.get(name, ())) for name in TIERS}


def expected(case: Case, line: Line, docker: dict[str, Any], where: str) -> tuple[dict[str, Any], str]:
    """What a line is to do here.

    Args:
        case: its case.
        line: the line.
        docker: docker's result of it.
        where: the tier.

    Returns:
        The result with words for standard error (``says``), and why it is not docker's (empty if it is).
    """
    wanted = {"code": docker["code"], "out": docker["out"], "says": list(line.says)}
    entry = different().get((case.full_name, line.number))
    if entry is None or where not in entry.get("tiers", TIERS):
        return wanted, ""
    return {key: entry.get(key, value) for key, value in wanted.items()}, entry["why"]


def verdict(case: Case, found: list[dict[str, Any]], docker: list[dict[str, Any]], where: str) -> list[str]:
    """How a result differs from what it is to be.

    Args:
        case: the case.
        found: our result.
        docker: docker's.
        where: the tier.

    Returns:
        Some lines of text for each command line that differs; none if all agree.
    """
    problems: list[str] = []
    for line, mine, theirs in zip(case.lines, found, docker, strict=True):
        wanted, why = expected(case, line, theirs, where)
        wrong = _differs(mine, wanted)
        if why and not _differs(mine, {"code": theirs["code"], "out": theirs["out"], "says": list(line.says)}):
            wrong = ["this is as docker's now: take it out of different.toml"]
        if wrong:
            problems += [f"line {line.number}: {line.text}", *(f"    {text}" for text in wrong)]
            if mine["err"]:
                problems += [f"    ours said: {mine['err'].strip()!r}"]
            if theirs["err"]:
                problems += [f"    docker said: {theirs['err'].strip()!r}"]
    return problems


def _differs(mine: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    wrong: list[str] = []
    if mine["code"] != wanted["code"]:
        wrong.append(f"exit code: ours {mine['code']}, wanted {wanted['code']}")
    if mine["out"] != wanted["out"]:
        wrong += ["output: ours", *_shown(mine["out"]), "wanted", *_shown(wanted["out"])]
    said = mine["err"].lower()
    wrong += [f"standard error lacks {words!r}" for words in wanted["says"] if words.lower() not in said]
    return wrong


def _shown(text: str) -> list[str]:
    return [f"  | {line}" for line in text.split("\n")]
