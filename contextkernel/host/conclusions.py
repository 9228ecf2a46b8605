"""What the facts come to: the tier, isolation, what file systems are made of, limits, the way out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from contextkernel.host.findings import Findings
from contextkernel.model.results import Fact, HostReport
from contextkernel.model.room import STORE_LIMIT_VARIABLE, StoreRoom, human_size

SCARCE_DISK = 1000**3
"""Bytes; with less an image may not fit."""
#: one of these, in a mount namespace, gives a container a root of its own
_ROOTS = ("pivot_root", "move_root", "chroot")
#: what is said where a container lacks it
_LACKING = {
    "fresh_proc": "the outer /proc, read-only",
    "pivot_root": "no pivot_root",
    "seccomp": "no system call filter",
    "landlock": "no Landlock",
    "tmpfs": "no tmpfs",
    "devpts": "no terminals",
}
_KINDS = ("pid", "network", "uts", "ipc", "cgroup")


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """One conclusion.

    Attributes:
        verdict, reason: as of a fact.
        like: the fact that decides it; its cause and its remedies are the conclusion's too.
        also: further facts that would have to be changed.
    """

    verdict: str
    reason: str
    like: str = ""
    also: tuple[str, ...] = ()


def decide_tier(findings: Findings) -> str:
    """``rootful``, ``rootless``, ``rootless-single``, ``ptrace`` or ``analysis`` (DESIGN: hosts)."""

    def works(name: str) -> bool:
        outcome = findings.outcomes.get(name)
        return outcome is not None and outcome.verdict != "refused"

    if findings.entered and works("mount_namespace") and any(works(name) for name in _ROOTS):
        if findings.idmap.identity:
            return "rootful"
        if not findings.idmap.single:
            return "rootless"
        if works("seccomp"):  # a filter stands in for the other ids
            return "rootless-single"
    return "ptrace" if works("ptrace") and works("proot") else "analysis"


def _works(facts: Mapping[str, Fact], name: str) -> bool:
    return facts[name].verdict != "refused"


def _isolation(tier: str, facts: Mapping[str, Fact], findings: Findings) -> Conclusion:
    if tier == "analysis":
        missing = "ptrace" if _works(facts, "proot") or not _works(facts, "ptrace") else "proot"
        like = "user_namespace" if not _works(facts, "user_namespace") else missing
        return Conclusion(verdict="refused", reason="nothing can be run here", like=like)
    if tier == "ptrace":
        like = "user_namespace" if not _works(facts, "user_namespace") else "mount_namespace"
        return Conclusion(
            verdict="refused", reason="none: programs run through proot, with all that this user may do", like=like
        )
    ids = {"rootful": "the host's ids", "rootless": "a user namespace with a range of ids"}
    missing_kinds = [kind for kind in _KINDS if not _works(facts, f"{kind}_namespace")]
    like = f"{missing_kinds[0]}_namespace" if missing_kinds else ""
    if "pid" not in missing_kinds and not _works(facts, "fresh_proc") and facts["landlock"].verdict == "works":
        missing_kinds.insert(0, "pid")  # Landlock's scopes do better there than numbers that are not those of /proc
        like = "fresh_proc"
    reason = ids.get(tier, "a user namespace with one id")
    kinds = [kind for kind in ("mount", *_KINDS) if kind not in missing_kinds]
    reason += f"; namespaces: {', '.join(kinds)}"
    if missing_kinds:
        reason += f"; not: {', '.join(missing_kinds)}"
    lacking = [text for name, text in _LACKING.items() if name in facts and not _works(facts, name)]
    like = like or next((name for name in _LACKING if name in facts and not _works(facts, name)), "")
    del findings
    return Conclusion(
        verdict="limited" if missing_kinds or lacking else "works", reason="; ".join((reason, *lacking)), like=like
    )


def _backing(tier: str, facts: Mapping[str, Fact], findings: Findings) -> Conclusion:
    del findings
    spaces = tier not in ("ptrace", "analysis")
    if spaces and _works(facts, "overlay"):
        return Conclusion(verdict="works", reason="overlay: layers lie over each other, nothing is copied")
    saved = ", sharing blocks with them" if _works(facts, "reflink") else ""
    return Conclusion(
        verdict="limited",
        reason=f"copy: each container and each stage starts with a copy of its layers{saved}",
        like="overlay" if spaces else "user_namespace",
    )


def _limits(tier: str, facts: Mapping[str, Fact], findings: Findings) -> Conclusion:
    del tier
    tried = [facts["cgroup_v1"], facts["cgroup_v2"]]
    for version, fact in enumerate(tried, 1):
        if fact.verdict != "refused":
            parts = (f"control groups of version {version}", fact.reason)
            return Conclusion(verdict=fact.verdict, reason=": ".join(part for part in parts if part))
    like = next((fact.name for fact in tried if fact.errno == "EROFS"), "")
    if not like:
        like = next((fact.name for fact in reversed(tried) if fact.remedy), "cgroup_v2")
    del findings
    reason = "no control group can be made: each process is limited by itself"
    return Conclusion(verdict="limited", reason=reason, like=like)


def _outbound(tier: str, facts: Mapping[str, Fact], findings: Findings) -> Conclusion:
    """How containers with a network of their own reach the outside."""
    if tier in ("ptrace", "analysis") or not _works(facts, "network_namespace"):
        like = "network_namespace" if _works(facts, "user_namespace") else "user_namespace"
        return Conclusion(verdict="refused", reason="containers have the host's network", like=like)
    if findings.idmap.identity:
        if _works(facts, "packet_filter"):
            return Conclusion(verdict="works", reason="routed, under the host's address")
        reason = "needs a packet filter; --network host has the host's network"
        return Conclusion(verdict="refused", reason=reason, like="packet_filter")
    program = next((name for name in ("pasta", "slirp4netns") if _works(facts, name)), None)
    if _works(facts, "tun_device") and program is not None:
        return Conclusion(verdict="works", reason=f"by {program}")
    like = "pasta" if _works(facts, "tun_device") else "tun_device"
    also = () if program or like == "pasta" else ("pasta",)
    if _works(facts, "packet_filter"):
        return Conclusion(verdict="limited", reason="TCP and names by relay; no UDP, no ICMP", like=like, also=also)
    reason = "names only, and between containers; --network host has the host's network"
    return Conclusion(verdict="refused", reason=reason, like=like, also=also)


def _apparmor(tier: str, facts: Mapping[str, Fact], findings: Findings) -> Conclusion:
    del tier, facts
    around = findings.surroundings
    restricted = around.settings.get("kernel.apparmor_restrict_unprivileged_userns") == "1" and around.uid != 0
    parts = [f"profile {around.apparmor}"] if around.apparmor else []
    if restricted:
        parts.append("user namespaces of unconfined programs have no capabilities")
    if not parts:
        return Conclusion(verdict="works", reason="nothing is confined by it")
    return Conclusion(verdict="limited", reason="; ".join(parts), like="mount_namespace" if restricted else "")


def with_room(report: HostReport, room: StoreRoom) -> HostReport:
    """The report with what the store takes, and may take, beside what its disk has left.

    Args:
        report: of the host.
        room: of the store.
    """
    taken = f"the store takes {human_size(room.used)}"
    if room.bound:
        taken += f" of {human_size(room.bound)} ({STORE_LIMIT_VARIABLE})"
    facts = list(report.facts)
    for place, fact in enumerate(facts):
        if fact.name == "disk":
            scarce = fact.verdict == "works" and room.left < SCARCE_DISK
            facts[place] = msgspec.structs.replace(
                fact,
                reason=f"{fact.reason}; {taken}",
                verdict="limited" if scarce else fact.verdict,
                cause="little of what it may take is left" if scarce else fact.cause,
                who="you" if scarce else fact.who,
                remedy="contextkernel system prune" if scarce else fact.remedy,
            )
    return msgspec.structs.replace(report, facts=tuple(facts))


MAKERS: dict[str, Callable[[str, Mapping[str, Fact], Findings], Conclusion]] = {
    "isolation": _isolation,
    "backing": _backing,
    "limits": _limits,
    "outbound": _outbound,
    "apparmor": _apparmor,
}
