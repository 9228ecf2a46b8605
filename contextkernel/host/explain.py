"""Conclusions from what the probe found: facts with reasons and remedies, the tier. Pure."""

from __future__ import annotations

import errno
import shlex

from contextkernel.host.findings import SETTINGS, Findings, Outcome, Surroundings
from contextkernel.model.results import Fact, HostReport

#: every fact, in the order of the report
NAMES = (
    "user_namespace",
    "id_range",
    "mount_namespace",
    "pid_namespace",
    "network_namespace",
    "uts_namespace",
    "ipc_namespace",
    "cgroup_namespace",
    "fresh_proc",
    "fresh_sys",
    "overlay",
    "pivot_root",
    "seccomp",
    "ptrace",
    "cgroup_v1",
    "cgroup_v2",
    "limits",
    "packet_filter",
    "tun_device",
    "pasta",
    "slirp4netns",
    "outbound",
    "newuidmap",
    "newgidmap",
    "proot",
    "mmdebstrap",
)
_NEEDS_USER_NAMESPACE = (*NAMES[NAMES.index("id_range") : NAMES.index("seccomp")], "tun_device", "packet_filter")
#: without one of these no container starts
_ESSENTIAL = ("mount_namespace", "pivot_root", "seccomp")
_NEEDS = {
    "packet_filter": "network_namespace",
    "tun_device": "network_namespace",
    "fresh_sys": "network_namespace",
    "fresh_proc": "pid_namespace",
}
_PACKAGES = {
    "pasta": "passt",
    "slirp4netns": "slirp4netns",
    "newuidmap": "uidmap",
    "newgidmap": "uidmap",
    "proot": "proot",
    "mmdebstrap": "mmdebstrap",
}

_SECCOMP_ADVICE = (
    "docker run --security-opt seccomp=unconfined ...",
    "securityContext: {seccompProfile: {type: Unconfined}}",
)
_PROC_ADVICE = (
    "docker run --security-opt systempaths=unconfined ...",
    "spec: {hostUsers: false, containers: [{securityContext: {procMount: Unmasked}}]}",
)
_NNP_ADVICE = (
    "docker run ...  (without --security-opt no-new-privileges)",
    "securityContext: {allowPrivilegeEscalation: true}",
)
_GROUP_ADVICE = (
    "docker run --privileged ...",
    "the pod's own limits: spec: {containers: [{resources: {limits: {memory: 2Gi, cpu: 2}}}]}",
)
#: with control groups of version 2; those of version 1 are root's
_DELEGATION = "systemd-run --user --scope -p Delegate=yes jupyter lab"
_TUN_ADVICE = ("docker run --device /dev/net/tun ...", "mount /dev/net/tun into the pod, with mode 0666")


def explain(findings: Findings) -> HostReport:
    """The report: all facts in a fixed order, the tier that they come to, and what would make it better.

    Args:
        findings: of one probe.
    """
    tier = decide_tier(findings)
    facts = tuple(_fact(name, findings) for name in NAMES)
    return HostReport(tier=tier, facts=facts, remedies=_remedies(tier, facts))


def decide_tier(findings: Findings) -> str:
    """``rootful``, ``rootless``, ``rootless-single``, ``ptrace`` or ``analysis`` (DESIGN: hosts)."""

    def works(name: str) -> bool:
        outcome = findings.outcomes.get(name)
        return outcome is not None and outcome.verdict != "refused"

    if findings.entered and all(works(name) for name in _ESSENTIAL):
        if findings.idmap.identity:
            return "rootful"
        return "rootless-single" if findings.idmap.single else "rootless"
    return "ptrace" if works("ptrace") and works("proot") else "analysis"


def _outbound(findings: Findings) -> Fact:
    """How containers with a network of their own reach the outside; a conclusion from other facts."""

    def works(name: str) -> bool:
        fact = _fact(name, findings)
        return fact.verdict != "refused"

    if not findings.entered or not works("network_namespace"):
        return Fact(name="outbound", verdict="refused", reason="containers have the host's network")
    if findings.idmap.identity:
        if works("packet_filter"):
            return Fact(name="outbound", verdict="works", reason="routed, under the host's address")
        return Fact(
            name="outbound", verdict="refused", reason="needs a packet filter; --network host has the host's network"
        )
    program = next((name for name in ("pasta", "slirp4netns") if works(name)), None)
    if works("tun_device") and program is not None:
        return Fact(name="outbound", verdict="works", reason=f"by {program}")
    remedy = _fact("pasta" if works("tun_device") else "tun_device", findings).remedy
    if works("packet_filter"):
        reason = "TCP and names by relay; no UDP, no ICMP"
        return Fact(name="outbound", verdict="limited", reason=reason, remedy=remedy)
    reason = "names only, and between containers; --network host has the host's network"
    return Fact(name="outbound", verdict="refused", reason=reason, remedy=remedy)


def _limits(findings: Findings) -> Fact:
    """What keeps the limits of containers; a conclusion from other facts."""
    found = {version: findings.outcomes.get(f"cgroup_v{version}") for version in (1, 2)}
    for version, outcome in found.items():
        if outcome is not None and outcome.verdict != "refused":
            parts = (f"control groups of version {version}", outcome.detail or outcome.problem)
            return Fact(name="limits", verdict=outcome.verdict, reason=": ".join(part for part in parts if part))
    remedy = ""
    if any(outcome is not None and outcome.number == errno.EROFS for outcome in found.values()):
        remedy = _advise(findings.surroundings, _GROUP_ADVICE)
    elif not findings.idmap.identity:
        remedy = _DELEGATION
    reason = "no control group can be made: each process is limited by itself"
    return Fact(name="limits", verdict="limited", reason=reason, remedy=remedy)


def _fact(name: str, findings: Findings) -> Fact:
    if name == "outbound":
        return _outbound(findings)
    if name == "limits":
        return _limits(findings)
    outcome = findings.outcomes.get(name)
    namespace = findings.outcomes.get("user_namespace")
    if name in _NEEDS_USER_NAMESPACE and not findings.entered and namespace and namespace.verdict == "refused":
        return Fact(name=name, verdict="refused", reason="needs a user namespace")
    if outcome is None:
        needs = _NEEDS.get(name)
        missing = needs in findings.outcomes and findings.outcomes[needs].verdict == "refused" if needs else False
        reason = f"needs a {needs}".replace("_", " ") if missing else "not tried: the probe did not come to its end"
        return Fact(name=name, verdict="refused", reason=reason)
    remedy = "" if outcome.verdict == "works" else _remedy(outcome, findings)
    return Fact(
        name=name,
        verdict=outcome.verdict,
        reason="; ".join(part for part in (outcome.problem or outcome.detail, _cause(outcome, findings)) if part),
        remedy=remedy,
        milliseconds=outcome.milliseconds,
    )


def _blocking_settings(around: Surroundings) -> list[str]:
    """Kernel settings that forbid user namespaces to ordinary users here."""
    blocking = []
    for name, good in SETTINGS.items():
        value = around.settings.get(name)
        if value is None:
            continue
        if (name == "user.max_user_namespaces" and value == "0") or (good in "01" and value != good):
            blocking.append(name)
    return blocking


def _cause(outcome: Outcome, findings: Findings) -> str:
    """Why it was refused, as far as the circumstances tell."""
    around = findings.surroundings
    if outcome.name == "id_range" and outcome.verdict == "refused" and around.no_new_privs:
        return "no_new_privs is set, which takes its power from newuidmap"
    if outcome.verdict != "refused" or outcome.number == 0:
        return ""
    match outcome.name:
        case "user_namespace":
            blocking = _blocking_settings(around)
            if blocking:
                return ", ".join(f"{name} is {around.settings[name]}" for name in blocking)
            return "a seccomp filter of the container forbids it" if around.filtered else ""
        case "mount_namespace" if "kernel.apparmor_restrict_unprivileged_userns" in _blocking_settings(around):
            return "AppArmor takes all capabilities from user namespaces here"
        case "fresh_proc" if outcome.number == errno.EPERM:
            return "parts of the outer /proc are masked, so the kernel shows no unmasked one"
        case "fresh_sys" if outcome.number == errno.EPERM:
            return "parts of the outer /sys are masked"
        case "overlay" if outcome.number == errno.EINVAL:
            return f"the file system of {around.root} does not take an overlay's upper directory"
        case "overlay" if outcome.number in (errno.EPERM, errno.ENODEV):
            return f"the kernel ({around.kernel}) needs 5.11 or newer and its overlay module"
        case "tun_device" if outcome.number == errno.EACCES:
            return "its mode is not 0666"
    return ""


def _advise(around: Surroundings, advice: tuple[str, str]) -> str:
    return advice[1] if around.kubernetes else advice[0]


def _remedy(outcome: Outcome, findings: Findings) -> str:
    """A command or setting that would change the outcome; empty if there is none that helps."""
    around = findings.surroundings
    match outcome.name:
        case "user_namespace" | "mount_namespace":
            blocking = _blocking_settings(around)
            if blocking:
                return "sudo sysctl -w " + " ".join(f"{name}={SETTINGS[name]}" for name in blocking)
            return _advise(around, _SECCOMP_ADVICE) if around.filtered or around.container else ""
        case "id_range":
            return _id_range_remedy(outcome, around)
        case "fresh_proc" | "fresh_sys" if outcome.number == errno.EPERM:
            return _advise(around, _PROC_ADVICE)
        case "overlay":
            elsewhere = findings.outcomes.get("overlay_elsewhere")
            if elsewhere is None:
                return ""  # it works nowhere: not a matter of the place
            return f"export CONTEXTKERNEL_ROOT={shlex.quote(f'{elsewhere.detail}/contextkernel-{around.user}')}"
        case "tun_device" if outcome.number == errno.EACCES:
            return "sudo chmod 0666 /dev/net/tun"
        case "tun_device":
            return _advise(around, _TUN_ADVICE) if around.container else "sudo modprobe tun"
        case name if name in _PACKAGES and name not in around.tools:
            return f"sudo apt-get install {_PACKAGES[name]}"
    return ""


def _id_range_remedy(outcome: Outcome, around: Surroundings) -> str:
    if around.uid == 0:
        return ""
    if not {"newuidmap", "newgidmap"} <= around.tools.keys():
        return "sudo apt-get install uidmap"
    if not around.subordinate or outcome.verdict == "limited":
        return f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {shlex.quote(around.user)}"
    if around.no_new_privs:
        return _advise(around, _NNP_ADVICE) if around.container else ""
    programs = [shlex.quote(around.tools[name]) for name in ("newuidmap", "newgidmap")]
    if around.container:
        # set-user-ID root is not enough where the container lacks CAP_SYS_ADMIN; file capabilities are
        return f"sudo setcap cap_setuid+ep {programs[0]} && sudo setcap cap_setgid+ep {programs[1]}"
    return f"sudo chmod u+s {' '.join(programs)}"


def _remedies(tier: str, facts: tuple[Fact, ...]) -> tuple[str, ...]:
    """Those of the remedies that lead to a better tier or to working builds, the most useful first."""
    by_name = {fact.name: fact for fact in facts}
    wanted: list[str] = []
    match tier:
        case "rootful":
            wanted = ["overlay", "fresh_proc"]
        case "rootless":
            wanted = ["overlay", "id_range", "fresh_proc"]
        case "rootless-single":
            wanted = ["overlay", "newuidmap", "id_range", "fresh_proc"]
        case "ptrace":
            wanted = ["user_namespace", "mount_namespace"]
        case _:
            wanted = ["user_namespace", "mount_namespace", "seccomp", "proot"]
    return tuple(dict.fromkeys(by_name[name].remedy for name in wanted if by_name[name].remedy))
