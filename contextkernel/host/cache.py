"""Findings kept in the store's root, under a key of everything cheap that they depend on."""

from __future__ import annotations

import hashlib
import os
import stat

import msgspec

import contextkernel
from contextkernel.host.catalogue import NAMES
from contextkernel.host.findings import NOTED_SETTINGS, SETTINGS, Inspection
from contextkernel.host.trying import without
from contextkernel.model.codec import from_json, to_json

FILE = "host.json"
#: a root may be shared by containers, machines (NFS) and users; the oldest findings make room
_KEPT = 8


class _Kept(msgspec.Struct, frozen=True):
    key: str
    found: Inspection


def place(root: str | os.PathLike[str] | None) -> str:
    """The store's root as an absolute path; default: $CONTEXTKERNEL_ROOT, else the platform's data directory."""
    chosen = os.environ.get("CONTEXTKERNEL_ROOT") if root is None else os.fspath(root)
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))
    if os.geteuid() == 0:
        return "/var/lib/contextkernel"
    from platformdirs import user_data_dir

    return os.path.abspath(user_data_dir("contextkernel"))


def key(root: str) -> str:
    """A digest that changes when a finding may have changed.

    It covers the boot, this package's version, the process's ids, capabilities, seccomp mode and namespaces, the file
    system of the root, and what an administrator changes after reading a remedy: programs in PATH, subordinate ids,
    kernel settings, device nodes, security profiles. How much memory and disk is free changes all the time and is not
    in it: whoever wants to know has it found out again.
    """
    parts = [contextkernel.__version__, " ".join(NAMES), str(os.geteuid()), str(os.getegid()), root]
    parts += [_read("/proc/sys/kernel/random/boot_id"), *_status(), *without(), _read("/proc/self/attr/current")]
    parts += [_read("/proc/sys/" + name.replace(".", "/")) for name in (*SETTINGS, *NOTED_SETTINGS)]
    parts += [_link(f"/proc/self/ns/{kind}") for kind in ("user", "mnt")]
    directories = os.get_exec_path()
    parts += [_stamp(path) for path in ("/etc/subuid", "/etc/subgid", "/dev/net/tun", "/dev/fuse", *directories)]
    try:
        parts.append(f"{os.stat(root).st_dev} {os.statvfs(root).f_flag}")
    except OSError as problem:
        parts.append(f"errno {problem.errno}")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096).decode("utf-8", "replace")
    except OSError as problem:
        return f"errno {problem.errno}"


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError as problem:
        return f"errno {problem.errno}"


def _status() -> list[str]:
    wanted = ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp:", "Seccomp_filters")
    return [line for line in _read("/proc/self/status").splitlines() if line.startswith(wanted)]


def _stamp(path: str) -> str:
    """Changes when the file is replaced, or a directory gets or loses an entry."""
    try:
        facts = os.stat(path)
    except OSError as problem:
        return f"errno {problem.errno}"
    # a device's times change when it is used
    changed = 0 if stat.S_ISCHR(facts.st_mode) else facts.st_mtime_ns
    return f"{facts.st_ino} {facts.st_mode} {facts.st_uid} {changed}"


def _load(root: str) -> list[_Kept]:
    try:
        with open(os.path.join(root, FILE), "rb") as file:
            return from_json(file.read(), list[_Kept])
    except (OSError, msgspec.DecodeError):
        return []  # missing, or written by another version: found out again


def read(root: str, wanted: str) -> Inspection | None:
    """The findings kept under the key ``wanted``, if any."""
    return next((kept.found for kept in _load(root) if kept.key == wanted), None)


def write(root: str, under: str, found: Inspection) -> None:
    """Keep findings for the next process. Best effort: a root that cannot be written has to be probed every time."""
    kept = [_Kept(under, found), *(other for other in _load(root) if other.key != under)][:_KEPT]
    temporary = os.path.join(root, FILE + ".new")
    try:
        # one name for all: a killed writer leaves at most this file, and two writers at once at worst a file that
        # read() passes over
        with open(temporary, "wb", opener=lambda path, flags: os.open(path, flags | os.O_CLOEXEC, 0o600)) as file:
            os.fchmod(file.fileno(), 0o600)  # one that a killed writer has left
            file.write(to_json(kept))
        os.replace(temporary, os.path.join(root, FILE))
    except OSError:
        return
