"""What is asked for of privileges and isolation, as set-up operations."""

from __future__ import annotations

import msgspec
import pytest

from contextkernel.errors import InvalidInput, LaunchFailed
from contextkernel.linux.caps import CAPABILITIES as ALL
from contextkernel.model.container import LaunchRequest
from contextkernel.model.security import Device, Join, Security
from contextkernel.runtime import operations as op
from contextkernel.runtime.facts import HostFacts
from contextkernel.runtime.plan import plan_operations
from contextkernel.runtime.plan_security import (
    CAPABILITIES,
    Namespaces,
    container_capabilities,
    plan_namespaces,
    scopes,
)

ROOTFUL = HostFacts(scopes=True)
ROOTLESS = HostFacts(user_namespace=True, scopes=True)
NO_PID = msgspec.structs.replace(ROOTLESS, proc="bind", sysfs="bind")


def request(network: str = "none", **wanted: object) -> LaunchRequest:
    return LaunchRequest(
        id="abc",
        argv=("prog",),
        env=(),
        hostname="box",
        network=network,  # type: ignore[arg-type]
        lowers=("/s/1",),
        upper="/s/upper",
        work="/s/work",
        security=Security(**wanted),  # type: ignore[arg-type]
    )


def steps(kind: type, facts: HostFacts = ROOTFUL, network: str = "none", **wanted: object) -> list[object]:
    return [step for step in plan_operations(request(network, **wanted), facts) if isinstance(step, kind)]


@pytest.mark.parametrize(
    ("wanted", "result"),
    [
        ({}, CAPABILITIES),
        ({"cap_add": ("CAP_NET_ADMIN",)}, (*CAPABILITIES, "CAP_NET_ADMIN")),
        ({"cap_add": ("CAP_CHOWN",)}, CAPABILITIES),
        ({"cap_drop": ("CAP_CHOWN",)}, CAPABILITIES[1:]),
        ({"cap_add": ("CAP_CHOWN",), "cap_drop": ("CAP_CHOWN",)}, (*CAPABILITIES[1:], "CAP_CHOWN")),
        ({"cap_drop": ("ALL",)}, ()),
        ({"cap_add": ("CAP_CHOWN",), "cap_drop": ("ALL",)}, ("CAP_CHOWN",)),
        ({"cap_add": ("CAP_CHOWN",), "cap_drop": ("ALL", "CAP_CHOWN")}, ("CAP_CHOWN",)),
        ({"cap_add": ("ALL",)}, ALL),
        ({"cap_add": ("ALL",), "cap_drop": ("CAP_CHOWN",)}, ALL[1:]),
        ({"cap_add": ("ALL",), "cap_drop": ("ALL",)}, ALL),
        ({"privileged": True, "cap_drop": ("ALL",)}, ALL),
    ],
)
def test_capabilities_by_dockers_rules(wanted: dict[str, object], result: tuple[str, ...]) -> None:
    assert container_capabilities(request(**wanted), ROOTFUL) == result


def test_capabilities_asked_for_by_name_are_required() -> None:
    wanted = {"cap_add": ("ALL", "CAP_SYS_TIME")}
    assert steps(op.LimitCapabilities, **wanted) == [op.LimitCapabilities(ALL, ("CAP_SYS_TIME",))]


def test_filters() -> None:
    assert steps(op.InstallSeccomp) == [op.InstallSeccomp(CAPABILITIES)]
    assert steps(op.InstallSeccomp, seccomp="builtin") == [op.InstallSeccomp(CAPABILITIES)]
    assert steps(op.InstallSeccomp, seccomp="{}") == [op.InstallSeccomp(CAPABILITIES, "{}")]
    assert steps(op.InstallSeccomp, seccomp="unconfined") == []
    assert steps(op.InstallSeccomp, privileged=True) == []
    assert steps(op.InstallSeccomp, privileged=True, seccomp="{}") == [op.InstallSeccomp(ALL, "{}")]


def test_no_new_privileges_comes_before_the_filter_and_after_the_user() -> None:
    order = [type(step).__name__ for step in plan_operations(request(no_new_privileges=True), ROOTFUL)]
    assert order[order.index("Chdir") :] == [
        *("Chdir", "LimitCapabilities", "SetUser", "NoNewPrivileges", "InstallSeccomp", "DropCapabilities", "Exec")
    ]
    assert steps(op.NoNewPrivileges) == []


def test_privileged_has_no_masks_no_nodev_and_all_devices() -> None:
    assert steps(op.MaskPath, privileged=True) == steps(op.ReadonlyPath, privileged=True) == []
    assert steps(op.HostDevices, privileged=True) == [op.HostDevices()]
    assert steps(op.MountSysfs, privileged=True) == [op.MountSysfs(read_only=False)]
    (overlay,) = steps(op.MountOverlay, privileged=True)
    assert isinstance(overlay, op.MountOverlay)
    assert not overlay.nodev
    assert steps(op.HostDevices) == []


def test_system_paths_unconfined() -> None:
    assert steps(op.MaskPath, masks=False) == steps(op.ReadonlyPath, masks=False) == []
    # what stands in for a cgroup view is not docker's mask, and stays
    assert steps(op.MaskPath, ROOTLESS, "host", masks=False) == [op.MaskPath("/sys/fs/cgroup")]


def test_devices_come_with_their_places_and_rules_need_a_fence() -> None:
    added = (Device("/dev/fuse", "/dev/fuse"), Device("/dev/zero", "/opt/z", "r"))
    assert steps(op.AddDevice, devices=added) == [
        op.AddDevice("/dev/fuse", "/dev/fuse"),
        op.AddDevice("/dev/zero", "/opt/z"),
    ]
    fenced = msgspec.structs.replace(ROOTFUL, device_cgroup=True)
    for facts, wanted, nodev in (
        (ROOTFUL, {"device_rules": ("c 42:* rwm",)}, True),
        (fenced, {"device_rules": ("c 42:* rwm",)}, False),
        (fenced, {}, True),
    ):
        (overlay,) = steps(op.MountOverlay, facts, **wanted)
        assert isinstance(overlay, op.MountOverlay)
        assert overlay.nodev is nodev


def test_namespaces() -> None:
    assert plan_namespaces(request("host"), ROOTFUL) == Namespaces()
    assert plan_namespaces(request("host", pid="host", uts="host", ipc="host", cgroupns="host"), ROOTFUL) == Namespaces(
        pid=False, uts=False, ipc=False, cgroup=False
    )
    other = f"container:{'a' * 64}"
    assert plan_namespaces(request("host", pid=other, ipc=other), ROOTFUL) == Namespaces(pid=False, ipc=False)
    assert plan_namespaces(request("host", ipc="none", cgroupns="private"), ROOTFUL) == Namespaces()


def test_the_hosts_pid_namespace_shows_the_hosts_proc() -> None:
    assert steps(op.MountProc, pid="host")
    assert steps(op.BindProc, ROOTLESS, pid="host")  # the kernel lets nobody else mount it
    assert steps(op.MountProc, ROOTLESS, pid=f"container:{'a' * 64}")


def test_shared_memory_goes_with_the_ipc_namespace() -> None:
    def shared(ipc: str, *, joined: bool = False) -> list[object]:
        asked = msgspec.structs.replace(request(ipc=ipc), joins=(Join("ipc", 42),) if joined else ())
        return [step for step in plan_operations(asked, ROOTFUL) if getattr(step, "target", "") == "/dev/shm"]

    usual = op.MountTmpfs("/dev/shm", ("nosuid", "nodev", "noexec"), "mode=1777,size=65536k", "shm")
    assert shared("") == shared("private") == shared("shareable") == [usual]
    assert shared("none") == []
    assert shared("host") == [op.BindMount("/dev/shm", "/dev/shm", read_only=False, nodev=True)]
    assert shared("container:x", joined=True) == [op.ShareMount(42, "/dev/shm")]


def test_an_ipc_namespace_is_joined_before_what_belongs_to_it_is_mounted() -> None:
    asked = msgspec.structs.replace(request(ipc="container:x"), joins=(Join("pid", 7), Join("ipc", 42)))
    order = plan_operations(asked, ROOTFUL)
    assert order.index(op.JoinIpc(42)) < order.index(op.MountMqueue())
    assert [step for step in order if isinstance(step, op.JoinIpc)] == [op.JoinIpc(42)]


def test_the_hosts_name_is_not_changed() -> None:
    assert steps(op.SetHostname, uts="host") == []
    assert steps(op.SetHostname) == [op.SetHostname("box")]


def test_settings_are_written_where_they_are_the_containers_own() -> None:
    asked = steps(op.SetSysctl, sysctls={"net.ipv4.ip_forward": "1", "kernel.shmmax": "5"})
    assert asked[-2:] == [
        op.SetSysctl("net/ipv4/ip_forward", "1", required=True),
        op.SetSysctl("kernel/shmmax", "5", required=True),
    ]
    with pytest.raises(InvalidInput, match="not allowed in host network namespace"):
        steps(op.SetSysctl, network="host", sysctls={"net.ipv4.ip_forward": "1"})
    with pytest.raises(InvalidInput, match="not allowed in the hosts ipc namespace"):
        steps(op.SetSysctl, ipc="host", sysctls={"kernel.shmmax": "5"})


def test_groups_are_handed_on() -> None:
    (user,) = steps(op.SetUser, groups=("5", "wheel"))
    assert isinstance(user, op.SetUser)
    assert user.more_groups == ("5", "wheel")


@pytest.mark.parametrize(
    ("facts", "network", "wanted", "result"),
    [
        (ROOTFUL, "none", {}, (False, False)),
        (ROOTFUL, "host", {}, (False, True)),
        (ROOTLESS, "host", {}, (False, True)),
        (NO_PID, "host", {}, (True, True)),
        (NO_PID, "none", {}, (True, False)),
        (NO_PID, "none", {"pid": "host"}, (False, False)),  # asked for
        (NO_PID, "host", {"landlock": False}, (False, False)),
        (NO_PID, "host", {"privileged": True}, (False, False)),
        (msgspec.structs.replace(NO_PID, scopes=False), "host", {}, (False, False)),
    ],
)
def test_what_has_no_namespace_gets_a_scope(
    facts: HostFacts, network: str, wanted: dict[str, object], result: tuple[bool, bool]
) -> None:
    assert scopes(request(network, **wanted), facts) == result
    assert steps(op.LimitScope, facts, network, **wanted) == ([op.LimitScope(*result)] if any(result) else [])


def test_a_link_to_the_kernels_memory_only_where_there_is_one() -> None:
    core = op.MakeLink("/dev/core", "/proc/kcore")
    assert core in steps(op.MakeLink)
    assert core not in steps(op.MakeLink, msgspec.structs.replace(ROOTFUL, kcore=False))


def test_gpus_are_refused_with_what_to_do_instead() -> None:
    with pytest.raises(LaunchFailed, match="could not select device driver") as caught:
        steps(op.AddDevice, gpus="all")
    assert "--device /dev/nvidia0" in (caught.value.hint or "")
