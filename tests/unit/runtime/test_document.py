"""The OCI document of a container is a valid one, whatever was asked for and whatever the host allows."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from contextkernel.linux.caps import CAPABILITIES as ALL
from contextkernel.model.container import Bind, LaunchRequest, Terminal, Tmpfs
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.resources import DeviceRate, Resources
from contextkernel.model.security import Device, Join, Security
from contextkernel.model.step_mounts import Limit
from contextkernel.runtime.document import make_plan
from contextkernel.runtime.facts import HostFacts
from contextkernel.runtime.oci import DeviceNode
from contextkernel.runtime.plan_security import CAPABILITIES, MASKED_PATHS
from contextkernel.runtime.users import Identity

_SPEC = importlib.util.spec_from_file_location("oci_schema", Path(__file__).with_name("oci_schema.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
oci_schema = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(oci_schema)

RANGE = IdMap((IdRange(0, 1000, 1), IdRange(1, 100000, 65536)), (IdRange(0, 1000, 1), IdRange(1, 100000, 65536)))
SINGLE = IdMap((IdRange(0, 1000, 1),), (IdRange(0, 1000, 1),))
ROOTFUL = HostFacts(cgroup="unified", scopes=True)
ROOTLESS = msgspec.structs.replace(ROOTFUL, user_namespace=True)
POOR = HostFacts(user_namespace=True, tty_group=False, setgroups=False, proc="bind", sysfs="bind")
TUN = DeviceNode(path="/dev/net/tun", type="c", major=10, minor=200, file_mode=0o600, uid=0, gid=0)
PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 13,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "syscalls": [
        {
            "names": ["read"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 8, "valueTwo": 8, "op": "SCMP_CMP_MASKED_EQ"}],
        }
    ],
}


def request(**changes: Any) -> LaunchRequest:
    security = Security(**changes.pop("security", {}))
    values: dict[str, Any] = {
        "id": "abc",
        "argv": ("prog", "arg"),
        "env": ("PATH=/bin",),
        "hostname": "box",
        "network": "none",
        "lowers": ("/s/1",),
        "upper": "/s/c/upper",
        "work": "/s/c/work",
        "security": security,
    }
    return LaunchRequest(**{**values, **changes})


def document(asked: LaunchRequest, facts: HostFacts = ROOTFUL, idmap: IdMap = IdMap(), **known: Any) -> dict[str, Any]:  # noqa: B008
    found = json.loads(msgspec.json.encode(make_plan(asked, facts, idmap, **known).document))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"network": "host", "user": "1000:5", "read_only": True, "working_dir": "/w", "init": True},
        {"user": "bob", "terminal": Terminal(rows=24, columns=80), "limits": (Limit("nofile", 10, -1),)},
        {"binds": (Bind("/h", "/b", read_only=True),), "tmpfs": (Tmpfs("/t", "size=1m,exec"),)},
        {"security": {"privileged": True}},
        {"security": {"cap_add": ("CAP_NET_ADMIN",), "cap_drop": ("ALL",), "no_new_privileges": True}},
        {"security": {"seccomp": json.dumps(PROFILE), "apparmor": "x", "annotations": {"a.b": "c"}}},
        {"security": {"seccomp": "unconfined", "masks": False, "sysctls": {"net.core.somaxconn": "7"}}},
        {"security": {"devices": (Device("/dev/net/tun", "/dev/net/tun", "rw"),), "device_rules": ("c 42:* rm",)}},
        {"security": {"pid": "host", "ipc": "host", "uts": "host", "cgroupns": "host"}},
        {"security": {"pid": "container:x", "ipc": "container:x"}, "joins": (Join("pid", 7), Join("ipc", 7))},
    ],
)
@pytest.mark.parametrize(
    ("facts", "idmap"), [(ROOTFUL, IdMap()), (ROOTLESS, RANGE), (POOR, SINGLE)], ids=["rootful", "rootless", "single"]
)
def test_it_is_valid(changes: dict[str, Any], facts: HostFacts, idmap: IdMap) -> None:
    asked = request(fake_ids=idmap is SINGLE, **changes)
    nodes = (TUN,) if asked.security.devices else ()
    found = document(asked, facts, idmap, nodes=nodes)
    jsonschema.Draft202012Validator(oci_schema.CONFIG).validate(found)
    published = os.environ.get("CONTEXTKERNEL_OCI_SCHEMA")
    if published:
        _validate_by(Path(published), found)


def _validate_by(folder: Path, found: dict[str, Any]) -> None:
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT4

    registry: Any = Registry().with_resources(
        (path.name, Resource.from_contents(json.loads(path.read_text()), default_specification=DRAFT4))
        for path in folder.glob("*.json")
    )
    schema = json.loads((folder / "config-schema.json").read_text())
    schema.pop("id", None)
    jsonschema.Draft4Validator(schema, registry=registry).validate(found)


def test_the_check_can_fail() -> None:
    broken = {**document(request()), "surprise": 1}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(oci_schema.CONFIG).validate(broken)


def test_what_was_asked_for_is_in_it() -> None:
    wanted = {
        "cap_add": ("CAP_NET_ADMIN",),
        "no_new_privileges": True,
        "devices": (Device("/dev/net", "/dev/net", "rw"),),
        "device_rules": ("c 42:* rm",),
        "annotations": {"a": "b"},
    }
    identity = Identity(1000, 1001, (50, 1001), "/home/bob")
    found = document(request(user="bob", security=wanted), nodes=(TUN,), identity=identity)
    process, linux = found["process"], found["linux"]
    assert process["user"] == {"uid": 1000, "gid": 1001, "umask": 18, "additionalGids": [1001, 50]}
    assert process["capabilities"] == {
        "bounding": [*CAPABILITIES, "CAP_NET_ADMIN"],
        "effective": [],
        "permitted": [],
    }
    assert process["noNewPrivileges"] is True
    assert linux["devices"][0]["path"] == "/dev/net/tun"
    assert linux["resources"]["devices"] == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rw"},
        {"allow": True, "type": "c", "major": 42, "access": "rm"},
    ]
    assert found["annotations"]["a"] == "b"
    assert linux["maskedPaths"] == list(MASKED_PATHS)


def test_limits() -> None:
    asked = Resources(
        memory=1 << 26,
        memory_swap=-1,
        memory_swappiness=0,
        nano_cpus=1_500_000_000,
        cpuset_cpus="0-1",
        pids_limit=9,
        blkio_weight=300,
        device_read_bps=(DeviceRate("/dev/null", 4096),),
        oom_score_adj=100,
    )
    found = document(msgspec.structs.replace(request(), resources=asked))
    jsonschema.Draft202012Validator(oci_schema.CONFIG).validate(found)
    limits = found["linux"]["resources"]
    del limits["devices"]
    assert limits == {
        "memory": {"limit": 1 << 26, "swap": -1, "swappiness": 0},
        "cpu": {"quota": 150_000, "period": 100_000, "cpus": "0-1"},
        "pids": {"limit": 9},
        "blockIO": {"weight": 300, "throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 4096}]},
    }
    assert found["process"]["oomScoreAdj"] == 100


def test_privileged() -> None:
    found = document(request(security={"privileged": True}))
    linux = found["linux"]
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert {"seccomp", "maskedPaths", "readonlyPaths"}.isdisjoint(linux)
    assert found["process"]["capabilities"]["effective"] == list(ALL)
    (sysfs,) = (mount for mount in found["mounts"] if mount["destination"] == "/sys")
    assert "ro" not in sysfs["options"]


def test_the_default_policy_is_written_out() -> None:
    seccomp = document(request())["linux"]["seccomp"]
    assert (seccomp["defaultAction"], seccomp["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for rule in seccomp["syscalls"]:
        for name in rule["names"]:
            by_name.setdefault(name, []).append(rule)
    assert by_name["read"][0]["action"] == "SCMP_ACT_ALLOW"
    assert by_name["clone3"] == [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]
    assert "mount" not in by_name
    admin = document(request(security={"cap_add": ("CAP_SYS_ADMIN",)}))["linux"]["seccomp"]
    assert any("mount" in rule["names"] for rule in admin["syscalls"])


def test_namespaces_that_are_joined_have_a_path() -> None:
    asked = request(security={"pid": "container:x"}, joins=(Join("pid", 7),))
    assert {"type": "pid", "path": "/proc/7/ns/pid"} in document(asked)["linux"]["namespaces"]
