"""What the probe says, before anybody has drawn conclusions from it."""

from __future__ import annotations

import msgspec

from contextkernel.model.ids import IdMap
from contextkernel.model.results import HostReport


class Outcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One thing that was tried.

    Attributes:
        name: of the fact.
        verdict: ``works``, ``limited`` or ``refused``.
        problem: what failed, e.g. ``unshare: operation not permitted (errno 1)``.
        number: errno, 0 if there was none.
        detail: what was found; for a reader.
        milliseconds: time it took.
        unwanted: it was not tried, because the user asks to do without it.
    """

    name: str
    verdict: str
    problem: str = ""
    number: int = 0
    detail: str = ""
    milliseconds: float = 0.0
    unwanted: bool = False


class Entered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The id map under which namespaces could be entered; empty: as root, without a user namespace."""

    idmap: IdMap


class Surroundings(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Circumstances that explain a refusal.

    Attributes:
        uid, gid: effective ids of the caller.
        user: login name, or the uid in digits.
        root: the store's directory.
        kernel, machine: as ``uname`` says them.
        admin: whether CAP_SYS_ADMIN is effective.
        chown: whether owners can be set: CAP_CHOWN is effective, and there is more than one id.
        no_new_privs: set-user-ID programs such as newuidmap have no effect.
        filtered: a seccomp filter is installed already.
        container: inside a container, as far as one can tell.
        kubernetes: inside a pod.
        subordinate: the files promise the user a range of ids.
        settings: those of :data:`SETTINGS` and :data:`NOTED_SETTINGS` that exist here.
        apparmor: the AppArmor profile that confines the caller; empty if none.
        tools: programs found in PATH, by name.
    """

    uid: int
    gid: int
    user: str
    root: str
    kernel: str
    machine: str
    admin: bool = False
    chown: bool = False
    no_new_privs: bool = False
    filtered: bool = False
    container: bool = False
    kubernetes: bool = False
    subordinate: bool = False
    settings: dict[str, str] = {}
    apparmor: str = ""
    tools: dict[str, str] = {}


Line = Outcome | Entered | Surroundings
"""What the probe writes: one JSON document a line."""

#: kernel settings that forbid user namespaces, and the value that allows them
SETTINGS = {
    "kernel.unprivileged_userns_clone": "1",
    "kernel.apparmor_restrict_unprivileged_userns": "0",
    "user.max_user_namespaces": "15000",
}
NAMESPACE_SETTINGS = {
    f"{kind}_namespace": f"user.max_{short}_namespaces"
    for kind, short in (("mount", "mnt"), ("pid", "pid"), ("network", "net"), ("uts", "uts"), ("ipc", "ipc"))
} | {"cgroup_namespace": "user.max_cgroup_namespaces"}
"""The setting that says how many namespaces there may be, by the fact."""
NOTED_SETTINGS = ("kernel.yama.ptrace_scope", *NAMESPACE_SETTINGS.values())
TOOLS = ("newuidmap", "newgidmap", "pasta", "slirp4netns", "proot", "mmdebstrap")


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """All that one probe found.

    Attributes:
        surroundings: circumstances.
        outcomes: by name, in the order they were tried.
        entered: whether namespaces could be entered.
        idmap: the map they were entered with; empty as root or if they could not.
        complete: the probe came to its end.
    """

    surroundings: Surroundings
    outcomes: dict[str, Outcome]
    entered: bool
    idmap: IdMap
    complete: bool


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """A report, and the id map that goes with it."""

    report: HostReport
    idmap: IdMap
