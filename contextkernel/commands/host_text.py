"""The report of ``doctor`` as text: tier, what it means, every fact, and what would allow more. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from contextkernel.commands.humanize import display_width

if TYPE_CHECKING:
    from contextkernel.model.results import Fact, HostReport, Remedy

TIERS = {
    "rootful": "containers as root, with the host's ids",
    "rootless": "containers without root, with a range of ids",
    "rootless-single": "containers without root, with one id",
    "ptrace": "programs through proot, without isolation",
    "analysis": "everything but running programs",
}
"""Each tier in a few words."""
VERDICTS = {"works": "works", "limited": "limit", "refused": "refused"}
WHO = {"you": "you", "operator": "the operator", "administrator": "the administrator"}
AUDIENCES = {
    "you": "you, or whoever writes the image",
    "operator": "the operator: who starts this container, or runs the hub",
    "administrator": "the administrator of the machine and its kernel",
}
PLACES = {
    "shell": "terminal",
    "dockerfile": "Dockerfile",
    "apt.txt": "binder/apt.txt",
    "docker": "docker",
    "kubernetes": "Kubernetes",
    "kubespawner": "KubeSpawner",
    "node": "on the machine",
}
_WIDTH = 120


def host_text(report: HostReport) -> str:
    """The whole report, in lines for a terminal of 120 columns; only what is to be copied is never broken.

    Args:
        report: of the host.
    """
    out = [f"tier: {report.tier} ({TIERS.get(report.tier, '')})"]
    for title, sentences in (("builds", report.build), ("containers", report.run)):
        if sentences:
            out += ["", f"{title}:", *(line for sentence in sentences for line in _item(sentence))]
    out += ["", *_table(report.facts)]
    if report.milliseconds:
        out += ["", f"found out in {report.milliseconds:.0f} ms"]
    if report.remedies:
        out += ["", "to allow more:"]
        for who, title in AUDIENCES.items():
            out += _remedies(title, [remedy for remedy in report.remedies if remedy.who == who])
    return "\n".join(out) + "\n"


def why(fact: Fact) -> str:
    """What a fact's row says: the error's symbol and the cause where there is one, else what was found."""
    if fact.verdict == "refused" and fact.errno and fact.cause:
        return f"{fact.errno}: {fact.cause}"
    return fact.reason


def grouped(remedies: list[Remedy]) -> list[tuple[str, list[Remedy]]]:
    """Remedies by what they give, in their order."""
    found: dict[str, list[Remedy]] = {}
    for remedy in remedies:
        found.setdefault(remedy.gives or remedy.fact.replace("_", " "), []).append(remedy)
    return list(found.items())


def _item(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, _WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)


def _table(facts: tuple[Fact, ...]) -> list[str]:
    heads = ("FACT", "VERDICT", "WHO", "TIME", "WHY")
    rows = [
        (
            fact.name,
            VERDICTS.get(fact.verdict, fact.verdict),
            fact.who,
            f"{fact.milliseconds:.1f} ms" if fact.milliseconds >= 0.05 else "",
            why(fact),
        )
        for fact in facts
    ]
    widths = [max(display_width(row[place]) for row in (heads, *rows)) for place in range(4)]
    lines = []
    for row in (heads, *rows):
        cells = [
            cell.rjust(width) if place == 3 and row is not heads else cell + " " * (width - display_width(cell))
            for place, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lead = "   ".join(cells)
        wrapped = textwrap.wrap(row[4], max(40, _WIDTH - len(lead) - 3), break_on_hyphens=False) or [""]
        lines.append(f"{lead}   {wrapped[0]}".rstrip())
        lines += [f"{' ' * len(lead)}   {more}" for more in wrapped[1:]]
    return lines


def _remedies(title: str, remedies: list[Remedy]) -> list[str]:
    if not remedies:
        return []
    lines = [f"  {title}"]
    for gives, group in grouped(remedies):
        lines.append(f"    for {gives}:")
        width = max(len(PLACES.get(one.where, one.where)) for one in group)
        lines += [f"      {PLACES.get(one.where, one.where).ljust(width)}   {one.text}" for one in group]
    return lines
