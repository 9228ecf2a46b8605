"""Keyword arguments of ``run`` and ``create`` about privileges and isolation, and what they come to.

The rules, and the words of the refusals, are docker's (moby 28.5: daemon/daemon_unix.go, daemon/pkg/oci; docker/cli:
cli/command/container/opts.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from contextkernel.engine.asked.security_options import parse_security_options
from contextkernel.errors import HostUnsupported, InvalidInput
from contextkernel.linux.caps import CAPABILITIES
from contextkernel.model.given import several
from contextkernel.model.security import Device, Security

_ALL = "ALL"
_DEVICE_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})\Z")
_DEVICE_PARTS = 3
#: docker/cli, opts/opts.go: what belongs to a namespace that a container has of its own
_IPC_SYSCTLS = frozenset(
    {
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    }
)
_RUNTIMES = ("runc", "crun", "youki")


class SecurityKeywords(TypedDict, total=False):
    """Names follow docker-py; ``annotations``, ``gpus`` and ``cgroupns`` are the command line's.

    ``security_opt`` takes what ``--security-opt`` takes: a seccomp profile by its path, or as JSON text.
    """

    privileged: bool
    cap_add: str | Sequence[str]
    cap_drop: str | Sequence[str]
    security_opt: str | Sequence[str]
    devices: str | Sequence[str]
    device_cgroup_rules: str | Sequence[str]
    gpus: str
    group_add: str | Sequence[str | int]
    userns_mode: str
    pid_mode: str
    ipc_mode: str
    uts_mode: str
    cgroupns: str
    cgroup_parent: str
    isolation: str
    sysctls: Mapping[str, str | int]
    runtime: str
    annotations: Mapping[str, str]


def security_from(keywords: SecurityKeywords) -> Security:
    """What the keywords ask for.

    Raises:
        InvalidInput: an unknown capability, option, mode or setting.
        HostUnsupported: a device of the Container Device Interface, a parent control group.
    """
    _check_isolation(keywords.get("isolation", ""))
    _check_parent(keywords.get("cgroup_parent", ""))
    options = parse_security_options(several(keywords.get("security_opt", ())))
    return Security(
        privileged=keywords.get("privileged", False),
        cap_add=_capabilities(several(keywords.get("cap_add", ())), "CapAdd"),
        cap_drop=_capabilities(several(keywords.get("cap_drop", ())), "CapDrop"),
        options=options.shown,
        no_new_privileges=options.no_new_privileges,
        seccomp=options.seccomp,
        apparmor=options.apparmor,
        landlock=options.landlock,
        masks=options.masks,
        devices=tuple(parse_device(text) for text in several(keywords.get("devices", ()))),
        device_rules=tuple(check_device_rule(text) for text in several(keywords.get("device_cgroup_rules", ()))),
        gpus=_gpus(keywords.get("gpus", "")),
        groups=tuple(str(group) for group in several(keywords.get("group_add", ()))),
        userns=_mode(keywords.get("userns_mode", ""), "--userns: invalid USER mode", ("host",)),
        pid=_mode(keywords.get("pid_mode", ""), "--pid: invalid PID mode", ("host",), container=True),
        ipc=_ipc(keywords.get("ipc_mode", "")),
        uts=_mode(keywords.get("uts_mode", ""), "--uts: invalid UTS mode", ("host",)),
        cgroupns=_mode(keywords.get("cgroupns", ""), "--cgroupns: invalid CGROUP mode", ("host", "private")),
        sysctls={name: check_sysctl(name, str(value)) for name, value in keywords.get("sysctls", {}).items()},
        runtime=_runtime(keywords.get("runtime", "")),
        annotations=_annotations(keywords.get("annotations", {})),
    )


def _capabilities(names: Iterable[str], kind: str) -> tuple[str, ...]:
    """Docker's names of capabilities, sorted, each once."""
    found = set()
    for name in names:
        word = name.upper()
        if word != _ALL and not word.startswith("CAP_"):
            word = f"CAP_{word}"
        if word != _ALL and word not in CAPABILITIES:
            raise InvalidInput(
                f'invalid {kind}: unknown capability: "{word}"',
                hint="capabilities(7) lists them, e.g. NET_ADMIN; or ALL",
            )
        found.add(word)
    return tuple(sorted(found))


def parse_device(text: str) -> Device:
    """``HOST[:CONTAINER][:PERMISSIONS]``.

    Raises:
        InvalidInput: anything else.
    """
    parts = text.split(":")
    if len(parts) > _DEVICE_PARTS or not parts[0]:
        raise InvalidInput(f"bad format for path: {text}", hint=_DEVICE_HINT)
    if parts[0].count("/") == 1 and "=" in parts[0]:  # vendor.com/class=name
        raise HostUnsupported(
            f"device {text!r} is one of the Container Device Interface, which this engine does not have",
            hint="give the device's path: --device /dev/NAME",
        )
    source, target, permissions = parts[0], "", "rwm"
    if len(parts) == _DEVICE_PARTS:
        target, permissions = parts[1:]
        if not _permissions(permissions):
            raise InvalidInput(f"bad mode specified: {permissions}", hint=_DEVICE_HINT)
    elif len(parts) == _DEVICE_PARTS - 1 and _permissions(parts[1]):
        permissions = parts[1]
    elif len(parts) == _DEVICE_PARTS - 1:
        target = parts[1]
        if not target.startswith("/"):
            raise InvalidInput(f"{target} is not an absolute path", hint=_DEVICE_HINT)
    target = target or source
    if not target.startswith("/"):
        raise InvalidInput(f"{target} is not an absolute path", hint=_DEVICE_HINT)
    return Device(source, target, permissions)


_DEVICE_HINT = "--device /dev/HOST[:/dev/CONTAINER][:rwm]"


def _permissions(text: str) -> bool:
    return bool(text) and len(set(text)) == len(text) and set(text) <= set("rwm")


def check_device_rule(text: str) -> str:
    """A rule of the device controller as it is.

    Raises:
        InvalidInput: it is none.
    """
    if not _DEVICE_RULE.match(text):
        raise InvalidInput(f"invalid device cgroup format '{text}'", hint="e.g. 'c 42:* rmw'")
    return text


def check_sysctl(name: str, value: str) -> str:
    """The value, if the setting belongs to a namespace that a container can have of its own.

    Raises:
        InvalidInput: it is the whole host's.
    """
    if name not in _IPC_SYSCTLS and not name.startswith(("net.", "fs.mqueue.")):
        raise InvalidInput(
            f"sysctl '{name}' is not allowed",
            hint="net.*, fs.mqueue.*, kernel.msg*, kernel.shm* and kernel.sem can be set; the rest is the host's",
        )
    return value


def _mode(text: str, problem: str, words: tuple[str, ...], *, container: bool = False) -> str:
    if not text or text in words or (container and text.startswith("container:") and text != "container:"):
        return text
    choice = ", ".join((*words, *(["container:NAME"] if container else [])))
    raise InvalidInput(problem, hint=f"{text!r} is none of: {choice}")


def _ipc(text: str) -> str:
    if text == "container:":
        raise InvalidInput('failed to join IPC namespace: invalid name or ID supplied: ""', hint="--ipc container:NAME")
    words = ("none", "private", "shareable", "host")
    return _mode(text, f"invalid IPC mode: {text}", words, container=True)


def _runtime(text: str) -> str:
    if text in ("", "contextkernel"):
        return ""
    name = text.rpartition("/")[2]
    if name not in _RUNTIMES:
        raise InvalidInput(
            f"unknown or invalid runtime name: {text}",
            hint=f"one of {', '.join(_RUNTIMES)}, where it is installed; without --runtime it is this engine's own",
        )
    return text


def _annotations(given: Mapping[str, str]) -> dict[str, str]:
    if "" in given:
        raise InvalidInput("invalid Annotations: the empty string is not permitted as an annotation key")
    return dict(given)


def _gpus(text: str) -> str:
    for word in filter(None, text.split(",")):
        key, equals, _ = word.strip('"').partition("=")
        if equals and key not in ("driver", "count", "device", "capabilities", "options"):
            raise InvalidInput(f"unexpected key '{key}' in '{word}'", hint="--gpus all, or --gpus count=1")
    return text


def _check_isolation(text: str) -> None:
    if text not in ("", "default"):
        raise InvalidInput(f"invalid isolation ({text}): linux only supports 'default'", hint="leave out --isolation")


def _check_parent(text: str) -> None:
    if text:
        raise HostUnsupported(
            f"a parent control group cannot be chosen, not {text!r} either",
            hint="containers' groups are below the engine's own: start that one where they are to be",
        )
