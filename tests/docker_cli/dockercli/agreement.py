"""The table of agreement, for the page on compatibility."""

from __future__ import annotations

from .cases import Case, command_lines
from .verdicts import TIERS, different, not_yet

_HEADINGS = {"root": "agree as root", "user": "agree as an ordinary user"}


def table(chosen: list[Case]) -> str:
    """Counts by group.

    Args:
        chosen: the cases.

    Returns:
        A table in Markdown.
    """
    rows = ["| group | scripts | command lines | " + " | ".join(_HEADINGS[name] for name in TIERS) + " |"]
    rows.append("|" + "---|" * (3 + len(TIERS)))
    groups: dict[str, list[Case]] = {}
    for case in chosen:
        groups.setdefault(case.group, []).append(case)
    for group, members in groups.items():
        rows.append(_row(group, members))
    rows.append(_row("all", chosen))
    return "\n".join(rows)


def agreeing(case: Case, where: str) -> int:
    """How many command lines of a case do what docker's do, in a tier.

    Args:
        case: the case; one that is not done yet counts nothing.
        where: the tier.
    """
    if case.full_name in not_yet()[where]:
        return 0
    entries = [entry for (name, _), entry in different().items() if name == case.full_name]
    return command_lines(case) - sum(where in entry.get("tiers", TIERS) for entry in entries)


def _row(name: str, members: list[Case]) -> str:
    counts = [len(members), sum(map(command_lines, members))]
    counts += [sum(agreeing(case, where) for case in members) for where in TIERS]
    return f"| {name} | " + " | ".join(map(str, counts)) + " |"
