"""Keywords about privileges and isolation, by docker's rules and in docker's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contextkernel.engine.asked.security import SecurityKeywords, security_from
from contextkernel.errors import ContextKernelError, HostUnsupported, InvalidInput
from contextkernel.model.security import Device, Security


def test_nothing_asked_for_is_dockers_default() -> None:
    assert security_from({}) == Security()


def test_capabilities_are_normalised_and_sorted() -> None:
    asked = security_from({"cap_add": ["net_admin", "CAP_CHOWN", "chown"], "cap_drop": ["all"]})
    assert asked.cap_add == ("CAP_CHOWN", "CAP_NET_ADMIN")
    assert asked.cap_drop == ("ALL",)


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("/dev/fuse", Device("/dev/fuse", "/dev/fuse", "rwm")),
        ("/dev/fuse:r", Device("/dev/fuse", "/dev/fuse", "r")),
        ("/dev/fuse:/dev/x", Device("/dev/fuse", "/dev/x", "rwm")),
        ("/dev/fuse:/dev/x:rw", Device("/dev/fuse", "/dev/x", "rw")),
    ],
)
def test_devices(text: str, device: Device) -> None:
    assert security_from({"devices": [text]}).devices == (device,)


def test_security_options() -> None:
    asked = security_from(
        {"security_opt": ["no-new-privileges:true", "apparmor=x", "label=disable", "seccomp:unconfined"]}
    )
    assert asked.no_new_privileges
    assert asked.apparmor == "x"
    assert asked.seccomp == "unconfined"
    assert asked.options == ("no-new-privileges:true", "apparmor=x", "label=disable", "seccomp:unconfined")
    assert not security_from({"security_opt": ["no-new-privileges", "no-new-privileges=false"]}).no_new_privileges
    asked = security_from({"security_opt": ["systempaths=unconfined", "landlock=unconfined"]})
    assert (asked.masks, asked.landlock, asked.options) == (False, False, ("landlock=unconfined",))


def test_a_seccomp_profile_by_path_or_as_text(tmp_path: Path) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
    file = tmp_path / "p.json"
    file.write_text(json.dumps(profile, indent=2))
    text = json.dumps(profile, separators=(",", ":"))
    for given in (str(file), text):
        asked = security_from({"security_opt": [f"seccomp={given}"]})
        assert asked.seccomp == text
        assert asked.options == (f"seccomp={text}",)


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({"cap_add": ["foo"]}, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        ({"cap_drop": ["cap_foo"]}, 'invalid CapDrop: unknown capability: "CAP_FOO"'),
        ({"security_opt": ["foo"]}, 'invalid --security-opt: "foo"'),
        ({"security_opt": ["seccomp="]}, 'invalid --security-opt: "seccomp="'),
        ({"security_opt": ["no-new-privileges="]}, 'invalid --security-opt: "no-new-privileges="'),
        ({"security_opt": ["foo=bar"]}, 'invalid --security-opt 2: "foo=bar"'),
        ({"security_opt": ["systempaths=x"]}, 'invalid --security-opt 2: "systempaths=x"'),
        ({"security_opt": ["no-new-privileges:maybe"]}, 'invalid --security-opt 2: "no-new-privileges:maybe"'),
        (
            {"security_opt": ["seccomp=/no/such"]},
            "opening seccomp profile (/no/such) failed: open /no/such: no such file or directory",
        ),
        ({"security_opt": ["seccomp=/"]}, "opening seccomp profile (/) failed: open /: is a directory"),
        ({"devices": ["/dev/a:/dev/b:rw:z"]}, "bad format for path: /dev/a:/dev/b:rw:z"),
        ({"devices": [":/dev/b"]}, "bad format for path: :/dev/b"),
        ({"devices": ["/dev/a:/dev/b:x"]}, "bad mode specified: x"),
        ({"devices": ["/dev/a:/dev/b:rr"]}, "bad mode specified: rr"),
        ({"devices": ["dev/a"]}, "dev/a is not an absolute path"),
        ({"devices": ["/dev/a:"]}, " is not an absolute path"),
        ({"devices": ["/dev/a:b:r"]}, "b is not an absolute path"),
        ({"device_cgroup_rules": ["c 1 r"]}, "invalid device cgroup format 'c 1 r'"),
        ({"userns_mode": "x"}, "--userns: invalid USER mode"),
        ({"pid_mode": "x"}, "--pid: invalid PID mode"),
        ({"pid_mode": "container:"}, "--pid: invalid PID mode"),
        ({"uts_mode": "container:x"}, "--uts: invalid UTS mode"),
        ({"cgroupns": "x"}, "--cgroupns: invalid CGROUP mode"),
        ({"ipc_mode": "x"}, "invalid IPC mode: x"),
        ({"ipc_mode": "container:"}, 'failed to join IPC namespace: invalid name or ID supplied: ""'),
        ({"sysctls": {"kernel.hostname": "x"}}, "sysctl 'kernel.hostname' is not allowed"),
        ({"gpus": "foo=bar"}, "unexpected key 'foo' in 'foo=bar'"),
        ({"isolation": "foo"}, "invalid isolation (foo): linux only supports 'default'"),
        ({"runtime": "nosuch"}, "unknown or invalid runtime name: nosuch"),
        ({"annotations": {"": "x"}}, "invalid Annotations: the empty string is not permitted as an annotation key"),
    ],
)
def test_refused(keywords: SecurityKeywords, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        security_from(keywords)
    assert caught.value.problem == problem


@pytest.mark.parametrize(
    ("keywords", "hint"),
    [({"devices": ["vendor.com/class=name"]}, "--device /dev/"), ({"cgroup_parent": "/foo"}, "below the engine's own")],
)
def test_what_this_engine_does_not_have(keywords: Any, hint: str) -> None:
    with pytest.raises(HostUnsupported) as caught:
        security_from(keywords)
    assert isinstance(caught.value, ContextKernelError)
    assert hint in (caught.value.hint or "")


def test_gpus_are_asked_for_when_it_is_started() -> None:
    assert security_from({"gpus": "all"}).gpus == "all"


@pytest.mark.parametrize("name", ["net.core.somaxconn", "fs.mqueue.msg_max", "kernel.shmmax", "kernel.sem"])
def test_settings_of_a_namespace(name: str) -> None:
    assert security_from({"sysctls": {name: 5}}).sysctls == {name: "5"}


def test_attack_a_profile_without_end(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    with file.open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(InvalidInput, match="larger than 16 MiB"):
        security_from({"security_opt": [f"seccomp={file}"]})
