"""From what the probe found to a report: facts with causes, the tier, its meaning, what would allow more. Pure."""

from __future__ import annotations

import errno
import re

import msgspec

from contextkernel.host import conclusions
from contextkernel.host.catalogue import ABOUT, CONCLUSIONS, GROUP_OF, NAMES, NEEDS, NEEDS_USER_NAMESPACE, SPARED
from contextkernel.host.causes import cause
from contextkernel.host.conclusions import Conclusion, decide_tier
from contextkernel.host.findings import Findings, Outcome
from contextkernel.host.meaning import meaning
from contextkernel.host.remedies import choose, remedies_for
from contextkernel.model.results import Fact, HostReport, Remedy

#: paths of the probe's own files say nothing to a reader
_OWN_PATH = re.compile(r"^\S*/(?:contextkernel-)?probe-[^:]*: | \S*/(?:contextkernel-)?probe-[^:]*(?=:)")

__all__ = ["NAMES", "decide_tier", "explain"]


def explain(findings: Findings, milliseconds: float = 0.0) -> HostReport:
    """The report: all facts in a fixed order, the tier that they come to, and what would make it better.

    Args:
        findings: of one probe.
        milliseconds: what the probe took, its start included.
    """
    tier = decide_tier(findings)
    facts: dict[str, Fact] = {}
    of_fact: dict[str, tuple[Remedy, ...]] = {}
    for name in NAMES:
        if name in CONCLUSIONS:
            continue
        reason = _untried(name, findings)
        if reason and name in SPARED:
            continue
        if reason:
            facts[name] = Fact(name=name, verdict="refused", reason=reason, group=GROUP_OF[name], about=ABOUT[name])
            continue
        outcome = _outcome(name, findings)
        of_fact[name] = remedies_for(outcome, findings)
        facts[name] = _fact(outcome, findings, of_fact[name])
    for name in CONCLUSIONS:
        concluded = conclusions.MAKERS[name](tier, facts, findings)
        of_fact[name] = tuple(one for like in (concluded.like, *concluded.also) for one in of_fact.get(like, ()))
        facts[name] = _concluded(name, concluded, facts, of_fact[name])
    ordered = tuple(facts[name] for name in NAMES if name in facts)
    bare = HostReport(tier=tier, facts=ordered)
    build, run = meaning(bare)
    return HostReport(
        tier=tier,
        facts=ordered,
        remedies=choose(tier, of_fact),
        build=build,
        run=run,
        milliseconds=round(milliseconds, 1),
    )


def _untried(name: str, findings: Findings) -> str:
    """Why a thing could not even be tried; empty if it was."""
    namespace = findings.outcomes.get("user_namespace")
    without = not findings.entered and namespace is not None and namespace.verdict == "refused"
    if without and name in NEEDS_USER_NAMESPACE:
        return "needs a user namespace"
    if name in findings.outcomes:
        return ""
    needs = NEEDS.get(name, "")
    missing = needs in findings.outcomes and findings.outcomes[needs].verdict == "refused"
    return f"needs a {needs}".replace("_", " ") if missing else "not tried: the probe did not come to its end"


def _outcome(name: str, findings: Findings) -> Outcome:
    """What was tried; a program that was run for something else counts by what became of that."""
    outcome = findings.outcomes[name]
    refused = findings.outcomes.get("id_range")
    mapped = not findings.entered or refused is None or refused.verdict != "refused"
    if name not in ("newuidmap", "newgidmap") or mapped or not findings.surroundings.subordinate:
        return outcome
    if outcome.verdict != "works":
        return outcome
    return msgspec.structs.replace(outcome, verdict="limited", detail=f"{outcome.detail} gives no range")


def _fact(outcome: Outcome, findings: Findings, remedies: tuple[Remedy, ...]) -> Fact:
    why, who = cause(outcome, findings)
    return Fact(
        name=outcome.name,
        verdict=outcome.verdict,
        reason="; ".join(part for part in (_OWN_PATH.sub("", outcome.problem) or outcome.detail, why) if part),
        remedy=remedies[0].text if remedies else "",
        milliseconds=outcome.milliseconds,
        errno=errno.errorcode.get(outcome.number, str(outcome.number)) if outcome.number else "",
        cause=why,
        who=who,
        group=GROUP_OF[outcome.name],
        about=ABOUT[outcome.name],
    )


def _concluded(name: str, found: Conclusion, facts: dict[str, Fact], remedies: tuple[Remedy, ...]) -> Fact:
    like = facts.get(found.like)
    worse = found.verdict != "works"
    return Fact(
        name=name,
        verdict=found.verdict,
        reason=found.reason,
        remedy=remedies[0].text if remedies and worse else "",
        cause=like.cause if like and worse else "",
        who=(remedies[0].who if remedies else like.who) if like and worse else "",
        group=GROUP_OF[name],
        about=ABOUT[name],
    )
