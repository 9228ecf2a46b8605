"""Why something is refused or limited, in plain words, and who could change that. Pure."""

from __future__ import annotations

import errno
from typing import Literal

from contextkernel.host.catalogue import PACKAGES
from contextkernel.host.findings import NAMESPACE_SETTINGS, SETTINGS, Findings, Outcome, Surroundings

Who = Literal["", "you", "operator", "administrator"]

_MOUNTS = ("pivot_root", "move_root", "tmpfs", "devpts", "mqueue")
_RESTRICTED = "kernel.apparmor_restrict_unprivileged_userns"


def blocking_settings(around: Surroundings) -> list[str]:
    """Kernel settings that forbid user namespaces to ordinary users here."""
    blocking = []
    for name, good in SETTINGS.items():
        value = around.settings.get(name)
        if value is None:
            continue
        if (name == "user.max_user_namespaces" and value == "0") or (good in "01" and value != good):
            blocking.append(name)
    return blocking


def outer(around: Surroundings) -> Who:
    """Who decides on what surrounds this process: the operator of the container, or of the machine."""
    return "operator" if around.container else "administrator"


def installer(around: Surroundings) -> Who:
    """Who can install a program: in a container's image whoever writes it."""
    return "you" if around.container else "administrator"


def cause(outcome: Outcome, findings: Findings) -> tuple[str, Who]:
    """Why something that was tried does not work, or not fully, and who could change it.

    Returns:
        Empty words where the circumstances do not tell, or nothing is wrong.
    """
    around, number = findings.surroundings, outcome.number
    if outcome.verdict == "works":
        return "", ""
    if outcome.unwanted:
        return "", "you"
    match outcome.name:
        case "user_namespace" if outcome.verdict == "refused":
            return _user_namespace(number, around)
        case "id_range":
            return _id_range(outcome, around)
        case name if name in NAMESPACE_SETTINGS and number == errno.ENOSPC:
            setting = NAMESPACE_SETTINGS[name]
            if around.settings.get(setting) == "0":
                return f"{setting} is 0", "administrator"
            return f"there are as many as {setting} allows, here or further out", "administrator"
        case "mount_namespace":
            return _mount_namespace(number, around)
        case name if (name in NAMESPACE_SETTINGS or name in _MOUNTS) and number in (errno.EPERM, errno.EACCES):
            return _mount_namespace(number, around)
        case "tmpfs" | "devpts" | "mqueue" if number == errno.ENODEV:
            return f"the kernel ({around.kernel}) has no {outcome.name}", "administrator"
        case "pivot_root" if number == errno.EINVAL:
            return "the root file system is an initramfs, or a directory that is no mount", outer(around)
        case "fresh_proc" if number == errno.EPERM:
            return "parts of the outer /proc are masked, so the kernel shows no unmasked one", outer(around)
        case "fresh_sys" if number == errno.EPERM:
            return "parts of the outer /sys are masked", outer(around)
        case "overlay" | "whiteout_marks" | "user_xattrs" | "reflink" | "fuse_overlayfs":
            return _no_store(around) if _has_no_store(findings) else _files(outcome, findings)
        case "seccomp" | "seccomp_notify" | "landlock" | "ptrace":
            return _confinement(outcome, around)
        case "tun_device" if number == errno.EACCES:
            return "its mode is not 0666", outer(around)
        case "tun_device" if number == errno.ENOENT:
            return ("the container was not given it" if around.container else ""), outer(around)
        case "chroot" if number == errno.EPERM:
            return "it takes a user namespace, or CAP_SYS_CHROOT", outer(around)
        case "proot" if "proot" in around.tools and _is_refused("ptrace", findings):
            return "it cannot trace anything", ""
        case "proot" if number == errno.EACCES and not _has_no_store(findings):
            return f"the file system of {around.root} is mounted noexec", outer(around)
        case "newuidmap" | "newgidmap" if outcome.verdict == "limited":
            return _id_range(findings.outcomes["id_range"], around)
        case "cgroup_v1" | "cgroup_v2":
            return _control_groups(number, around)
        case "disk" if outcome.verdict == "limited":
            return "little room is left", "you"
        case "disk":
            return _no_store(around)
        case "memory":
            return "little memory is left", outer(around)
        case name if name in PACKAGES and name not in around.tools:
            return "", installer(around)
    return "", ""


def _is_refused(name: str, findings: Findings) -> bool:
    outcome = findings.outcomes.get(name)
    return outcome is not None and outcome.verdict == "refused"


def _has_no_store(findings: Findings) -> bool:
    """Whether nothing can be made in the store's root: what is to be tried there was not tried then."""
    disk = findings.outcomes.get("disk")
    return disk is not None and disk.verdict == "refused" and not disk.unwanted


def _no_store(around: Surroundings) -> tuple[str, Who]:
    return f"the store cannot be in {around.root}", "you"


def _user_namespace(number: int, around: Surroundings) -> tuple[str, Who]:
    blocking = blocking_settings(around)
    if number and blocking:
        return ", ".join(f"{name} is {around.settings[name]}" for name in blocking), "administrator"
    if number == errno.ENOSPC:
        return "there are as many user namespaces as user.max_user_namespaces allows", "administrator"
    if number and around.filtered:
        return "a seccomp filter of the container forbids it", outer(around)
    if number and around.apparmor:
        return f"the AppArmor profile {around.apparmor} may forbid it", outer(around)
    return "", outer(around) if number else ""


def _id_range(outcome: Outcome, around: Surroundings) -> tuple[str, Who]:
    if around.uid == 0:
        return "", outer(around)
    if not {"newuidmap", "newgidmap"} <= around.tools.keys():
        return "", installer(around)
    if not around.subordinate or outcome.verdict == "limited":
        return "", installer(around)
    if around.no_new_privs:
        return "no_new_privs is set, which takes its power from newuidmap", outer(around)
    if around.container and outcome.verdict == "refused":
        return "set-user-ID is not enough for newuidmap in a container without CAP_SYS_ADMIN", installer(around)
    return "", installer(around)


def _mount_namespace(number: int, around: Surroundings) -> tuple[str, Who]:
    if number and _RESTRICTED in blocking_settings(around):
        return "AppArmor takes all capabilities from user namespaces here", "administrator"
    if number and around.apparmor:
        return f"the AppArmor profile {around.apparmor} forbids mounts", outer(around)
    if number and around.filtered:
        return "a seccomp filter of the container forbids it", outer(around)
    return "", outer(around)


def _files(outcome: Outcome, findings: Findings) -> tuple[str, Who]:
    around, number = findings.surroundings, outcome.number
    # somewhere else it works, and whoever starts the program may choose the place
    who: Who = "you" if "overlay_elsewhere" in findings.outcomes else outer(around)
    match outcome.name:
        case "overlay" if number == errno.EINVAL:
            return f"the file system of {around.root} does not take an overlay's upper directory", who
        case "overlay" if number in (errno.EPERM, errno.ENODEV):
            return f"the kernel ({around.kernel}) needs 5.11 or newer and its overlay module", "administrator"
        case "whiteout_marks" if number == errno.EPERM or outcome.verdict == "limited":
            return f"the file system of {around.root} is an overlay itself", who
        case "user_xattrs" if number == errno.ENOTSUP:
            return f"the file system of {around.root} has none", who
        case "reflink" if number in (errno.ENOTSUP, errno.ENOTTY, errno.EINVAL):
            return "the file system cannot; btrfs and xfs can", ""
        case "fuse_overlayfs" if number == errno.EACCES:
            return "the mode of /dev/fuse is not 0666", outer(around)
        case "fuse_overlayfs" if number == errno.ENOENT:
            return ("the container was not given /dev/fuse" if around.container else ""), outer(around)
        case "fuse_overlayfs" if number == errno.EPERM:
            return "the container's device control group forbids it", outer(around)
        case "fuse_overlayfs" if "fuse-overlayfs" not in around.tools:
            return "", installer(around)
    return "", ""


def _confinement(outcome: Outcome, around: Surroundings) -> tuple[str, Who]:
    match outcome.name, outcome.number:
        case "ptrace", errno.EPERM if around.settings.get("kernel.yama.ptrace_scope") == "3":
            return "kernel.yama.ptrace_scope is 3", "administrator"
        case "ptrace" | "seccomp" | "seccomp_notify", number if number in (errno.EPERM, errno.ENOSYS):
            return ("a seccomp filter of the container forbids it" if around.filtered else ""), outer(around)
        case "seccomp_notify", errno.EBUSY:
            return "somebody supervises this process already", outer(around)
        case "landlock" | "seccomp" | "seccomp_notify", _:
            return "", "administrator"
    return "", ""


def _control_groups(number: int, around: Surroundings) -> tuple[str, Who]:
    if number == errno.EROFS:
        return "the container's control groups are mounted read-only", outer(around)
    if number == errno.EACCES:
        return "control groups belong to root", outer(around)
    return "", ""
