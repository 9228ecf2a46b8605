"""Options of ``run`` and ``create`` about privileges and isolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import Option, usage_problem
from contextkernel.commands.values import parse_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.security import SecurityKeywords


def _list(name: str, text: str) -> Option:
    return Option(name=name, kind="list", metavar="list", help=text)


def _string(name: str, text: str) -> Option:
    return Option(name=name, kind="string", metavar="string", help=text)


OPTIONS: tuple[Option, ...] = (
    Option(name="annotation", kind="list", metavar="map", help="Note for an OCI runtime: KEY=VALUE"),
    _list("cap-add", "Add a capability: NET_ADMIN, or ALL"),
    _list("cap-drop", "Take a capability away, or ALL"),
    Option(
        name="cgroup-parent", kind="string", metavar="string", help="Parent control group (not possible)", hidden=True
    ),
    _string("cgroupns", "Control group namespace: host or private"),
    _list("device", "Device of the host: HOST[:CONTAINER][:rwm]"),
    _list("device-cgroup-rule", "Allow a kind of device: 'TYPE MAJOR:MINOR rwm'"),
    Option(name="gpus", kind="string", metavar="gpu-request", help="GPUs (not possible: give --device)"),
    _list("group-add", "Supplementary group, name or number"),
    _string("ipc", "IPC namespace: none, private, shareable, host or container:NAME"),
    _string("pid", "PID namespace: host or container:NAME"),
    Option(name="isolation", kind="string", metavar="string", help="Isolation: default", hidden=True),
    Option(name="plan", help="Start nothing: show what would be done"),
    Option(
        name="plan-format",
        kind="string",
        metavar="string",
        default="table",
        choices=("table", "json"),
        help="How --plan shows it: table or json",
    ),
    Option(name="privileged", help="Give it all privileges that this engine has"),
    _string("runtime", "Run it with an installed OCI runtime: runc or crun"),
    _list("security-opt", "no-new-privileges, seccomp=unconfined|PROFILE.json, systempaths=unconfined"),
    Option(name="sysctl", kind="list", metavar="map", help="Kernel setting of its namespaces: NAME=VALUE"),
    _string("userns", "User namespace: host"),
    _string("uts", "UTS namespace: host"),
)


def keywords(parsed: Parsed) -> SecurityKeywords:
    """The options as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    return {
        "annotations": parse_pairs(parsed.texts("annotation")),
        "cap_add": parsed.texts("cap-add"),
        "cap_drop": parsed.texts("cap-drop"),
        "cgroup_parent": parsed.text("cgroup-parent"),
        "cgroupns": parsed.text("cgroupns"),
        "device_cgroup_rules": parsed.texts("device-cgroup-rule"),
        "devices": parsed.texts("device"),
        "gpus": parsed.text("gpus"),
        "group_add": parsed.texts("group-add"),
        "ipc_mode": parsed.text("ipc"),
        "isolation": parsed.text("isolation"),
        "pid_mode": parsed.text("pid"),
        "privileged": parsed.flag("privileged"),
        "runtime": parsed.text("runtime"),
        "security_opt": parsed.texts("security-opt"),
        "sysctls": _sysctls(parsed.texts("sysctl")),
        "userns_mode": parsed.text("userns"),
        "uts_mode": parsed.text("uts"),
    }


def _sysctls(words: Iterable[str]) -> dict[str, str]:
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise usage_problem(f"sysctl '{word}' is not allowed", more="use --sysctl NAME=VALUE")
        settings[name] = value
    return settings
