"""What a report means for builds and for containers, in sentences; what of it is said where it matters. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from contextkernel.host.remedies import hint
from contextkernel.model.results import HostReport

_PROOT = "through proot: several times slower, and without isolation"
_UNCONFINED = ": its programs may do all that you may"
_CONFINED = "; Landlock keeps its programs to their files"
_STAYS_ROOT = "a program that gives up root goes on as root"
_ONE_ID_RECORDED = f"one id: owners that programs set are recorded, and right in the image; {_STAYS_ROOT}"
_ONE_ID = f"one id: what programs set as owner stays root's; {_STAYS_ROOT}"
_COPYING = "no overlay: every stage and container starts with a copy of its files"


def _refused(report: HostReport, name: str) -> bool:
    fact = report.fact(name)
    return fact is not None and fact.verdict == "refused"


def _reason(report: HostReport, name: str) -> str:
    fact = report.fact(name)
    return fact.reason if fact is not None else ""


def _proot(report: HostReport) -> str:
    return _PROOT + (_UNCONFINED if _refused(report, "landlock") else _CONFINED)


def meaning(report: HostReport) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the facts mean for builds, and for containers.

    Args:
        report: with the tier and all facts, conclusions included.

    Returns:
        Two or three sentences each; one more where the store has no place.
    """
    build, run = _with_store(report)
    disk = report.fact("disk")
    if disk is None or disk.verdict != "refused" or not disk.cause:
        return build, run
    nothing = f"nothing works yet: {disk.cause} ({disk.errno}); CONTEXTKERNEL_ROOT names another place. Then:"
    return (nothing, *build), (nothing, *run)


def _with_store(report: HostReport) -> tuple[tuple[str, ...], tuple[str, ...]]:
    backing = _backing(report)
    match report.tier:
        case "analysis":
            everything = "FROM, COPY, ADD, ENV, WORKDIR and several stages work, with the right owners"
            return (
                (everything, "RUN works from the cache only: a step that has to run is refused, and says why", backing),
                (
                    "run, exec and start are refused; create, cp, export, inspect, history, layers, files work",
                    backing,
                ),
            )
        case "ptrace":
            network = "the network, the processes and /proc are this machine's; limits of memory do not work"
            return (
                (f"RUN goes {_proot(report)}", network, backing),
                (f"programs go {_proot(report)}", f"{network}; ports (-p) are relayed", backing),
            )
        case _:
            return _with_namespaces(report, backing)


def _noted_by_nobody(report: HostReport) -> bool:
    """Whether owners that programs set are lost: whoever notes them answers their calls, in the container's root."""
    return _refused(report, "seccomp_notify") or _refused(report, "chroot")


def _with_namespaces(report: HostReport, backing: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ids = {"rootful": "ids are the host's", "rootless": "ids are those of a range; root inside is you outside"}.get(
        report.tier, _ONE_ID if _noted_by_nobody(report) else _ONE_ID_RECORDED
    )
    proc = ""
    if _refused(report, "pid_namespace") or _refused(report, "fresh_proc"):
        proc = "; /proc and the processes in it are the outer ones"
    if _refused(report, "seccomp"):
        proc += "; system calls are not filtered"
    outbound = _reason(report, "outbound")
    limits = _reason(report, "limits")
    return (
        (f"RUN is isolated{proc}", ids, f"{backing}; RUN has the host's network"),
        (f"programs are isolated{proc}; {ids}", f"{backing}; network: {outbound}", f"limits: {limits}"),
    )


def _backing(report: HostReport) -> str:
    reason = _reason(report, "backing")
    return reason.partition(": ")[2] or "layers lie over each other"


#: what a container needs: where these are refused, it is why nothing runs
_NEEDED = ("user_namespace", "mount_namespace", "pivot_root", "seccomp", "ptrace", "proot")


def refusal(report: HostReport) -> tuple[str, str]:
    """Why no program can be run on a host of the tier ``analysis``, and what would allow it; for an error.

    Args:
        report: of the host.

    Returns:
        A clause, and a hint.
    """
    reasons = []
    for name in _NEEDED:
        fact = report.fact(name)
        if name == "pivot_root" and not all(_refused(report, other) for other in ("move_root", "chroot")):
            continue  # something stands in for it
        if fact is None or fact.verdict != "refused" or fact.reason.startswith("needs a "):
            continue
        if name == "proot" and _refused(report, "ptrace") and not fact.remedy:
            continue  # it is there; nothing lets it trace
        why = f"{fact.errno}: {fact.cause}" if fact.errno and fact.cause else fact.reason
        reasons.append(f"{name} ({why})" if why else name)
    missing = f": {'; '.join(reasons)}" if reasons else ""
    helping = tuple(remedy for remedy in report.remedies if remedy.fact in _NEEDED)
    return f"this host runs no programs{missing}", hint(helping) or "contextkernel doctor says more"


def _lowered(report: HostReport) -> Iterator[str]:
    """Isolation that is weaker than a container's usually is."""
    landlock = report.fact("landlock")
    kept = landlock is not None and landlock.verdict == "works"
    if _refused(report, "pid_namespace") or (kept and _refused(report, "fresh_proc")):
        does = "sees" if _refused(report, "fresh_proc") else "shares"
        yield f"no pid namespace: RUN {does} the processes of this machine{'' if kept else ', and can signal yours'}"
    elif _refused(report, "fresh_proc"):
        yield "no /proc of its own: RUN sees the processes of this machine"
    if _refused(report, "network_namespace"):
        yield "no network namespace: RUN --network=none has unix sockets only, and no loopback"
    if _refused(report, "pivot_root") and _refused(report, "move_root"):
        yield "no pivot_root: the root of a RUN is changed by chroot alone"
    if _refused(report, "seccomp"):
        yield "no seccomp: the system calls of a RUN are not filtered"


def notices(report: HostReport) -> tuple[str, ...]:
    """What has to be said once where something is run: at the start of a build that has RUN to do, of a container.

    Nothing on a host whose containers are as docker's; what ``doctor`` says in full is not repeated.

    Args:
        report: of the host.

    Returns:
        Lines without a full stop, the most important first.
    """
    if report.tier == "analysis":
        return ("this host runs no programs: RUN works from the cache only",)
    if report.tier == "ptrace":
        return (f"RUN goes {_proot(report)}",)
    lines = []
    if report.tier == "rootless-single":
        lines.append(_ONE_ID if _noted_by_nobody(report) else _ONE_ID_RECORDED)
    lines += _lowered(report)
    if _refused(report, "overlay"):
        lines.append(_COPYING)
    return tuple(lines)
