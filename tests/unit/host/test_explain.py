from __future__ import annotations

import errno
from typing import Any

import pytest

from contextkernel.host.catalogue import CONCLUSIONS, NAMES
from contextkernel.host.explain import explain
from contextkernel.host.findings import Findings, Outcome, Surroundings
from contextkernel.host.meaning import notices, refusal
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.results import Fact, HostReport

SINGLE = IdMap((IdRange(0, 1000, 1),), (IdRange(0, 1000, 1),))
RANGE = IdMap((IdRange(0, 1000, 1), IdRange(1, 100000, 65536)), (IdRange(0, 1000, 1), IdRange(1, 100000, 65536)))
UIDMAP = {"newuidmap": "/usr/bin/newuidmap", "newgidmap": "/usr/bin/newgidmap"}


def report(
    refused: dict[str, int] | None = None, idmap: IdMap | None = SINGLE, missing: tuple[str, ...] = (), **around: Any
) -> HostReport:
    """A host where everything works but ``refused`` (name -> errno); ``idmap`` ``None``: no namespaces."""
    tried = (name for name in NAMES if name not in (*missing, *CONCLUSIONS))
    outcomes = {name: Outcome(name=name, verdict="works") for name in tried}
    for name, number in (refused or {}).items():
        outcomes[name] = Outcome(name=name, verdict="refused", problem=f"no {name}", number=number)
    if around.pop("elsewhere", False):
        outcomes["overlay_elsewhere"] = Outcome(name="overlay_elsewhere", verdict="works", detail="/var/tmp")
    defaults: dict[str, Any] = {"uid": 1000, "gid": 1000, "user": "anna", "root": "/r", "kernel": "6.1", "machine": "m"}
    return explain(
        Findings(
            surroundings=Surroundings(**{**defaults, "subordinate": True, "tools": UIDMAP, **around}),
            outcomes=outcomes,
            entered=idmap is not None,
            idmap=idmap or IdMap(),
            complete=True,
        )
    )


def fact(found: HostReport, name: str) -> Fact:
    return next(fact for fact in found.facts if fact.name == name)


def texts(found: HostReport) -> list[str]:
    return [remedy.text for remedy in found.remedies]


KINDS = tuple(f"{kind}_namespace" for kind in ("pid", "network", "uts", "ipc", "cgroup"))
NO_NAMESPACES = {"user_namespace": errno.EPERM, "id_range": errno.EPERM}


@pytest.mark.parametrize(
    ("found", "tier"),
    [
        (report(idmap=IdMap()), "rootful"),
        (report(idmap=RANGE), "rootless"),
        (report(idmap=SINGLE), "rootless-single"),
        (report(NO_NAMESPACES, idmap=None), "ptrace"),
        (report({**NO_NAMESPACES, "proot": 0}, idmap=None), "analysis"),
        (report({**NO_NAMESPACES, "ptrace": 1}, idmap=None), "analysis"),
        (report({"seccomp": errno.EINVAL, "proot": 0}), "analysis"),
        (report({"seccomp": errno.EINVAL}, idmap=RANGE), "rootless"),
        (report({"seccomp": errno.EINVAL}, idmap=IdMap()), "rootful"),
        (report({"pivot_root": errno.EPERM}), "rootless-single"),
        (report({"pivot_root": errno.EPERM, "move_root": errno.EPERM}), "rootless-single"),
        (report({"pivot_root": errno.EPERM, "move_root": errno.EPERM, "chroot": errno.EPERM}), "ptrace"),
        (report({"tmpfs": errno.EPERM, "devpts": errno.EPERM, "mqueue": errno.ENODEV}, idmap=RANGE), "rootless"),
        (report(dict.fromkeys(KINDS, errno.ENOSPC)), "rootless-single"),
        (report({"mount_namespace": errno.EACCES}), "ptrace"),
        (report({"overlay": errno.EINVAL}), "rootless-single"),
        (report({"fresh_proc": errno.EPERM}, idmap=RANGE), "rootless"),
    ],
)
def test_tiers(found: HostReport, tier: str) -> None:
    assert found.tier == tier


def test_every_fact_is_there_once_and_in_order() -> None:
    found = report()
    assert tuple(fact.name for fact in found.facts) == NAMES
    assert all(fact.verdict == "works" and not fact.remedy for fact in found.facts)
    assert found.remedies == ()
    assert found.works("overlay")


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"kernel.unprivileged_userns_clone": "0"}, "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            {"kernel.apparmor_restrict_unprivileged_userns": "1"},
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"user.max_user_namespaces": "0"}, "sudo sysctl -w user.max_user_namespaces=15000"),
        ({"user.max_user_namespaces": "31000", "kernel.unprivileged_userns_clone": "1"}, ""),
    ],
)
def test_settings_that_forbid_namespaces_are_named(settings: dict[str, str], remedy: str) -> None:
    found = report(NO_NAMESPACES, idmap=None, settings=settings)
    assert fact(found, "user_namespace").remedy == remedy
    assert texts(found) == ([remedy] if remedy else [])
    if remedy:
        assert " is " in fact(found, "user_namespace").reason


def test_what_needs_a_user_namespace_says_so() -> None:
    found = report(NO_NAMESPACES, idmap=None, filtered=True, missing=("overlay", "tun_device", "fresh_proc"))
    for name in ("id_range", "overlay", "tun_device", "fresh_proc", "mount_namespace"):
        assert fact(found, name).reason == "needs a user namespace"
    assert "seccomp" in fact(found, "user_namespace").reason
    assert fact(found, "user_namespace").remedy == "docker run --security-opt seccomp=unconfined ..."
    pod = report(NO_NAMESPACES, idmap=None, filtered=True, container=True, kubernetes=True)
    assert "seccompProfile" in fact(pod, "user_namespace").remedy


@pytest.mark.parametrize(
    ("around", "remedy"),
    [
        ({"tools": {}}, "sudo apt-get install uidmap"),
        ({"subordinate": False}, "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 anna"),
        ({"no_new_privs": True}, ""),
        ({"no_new_privs": True, "container": True}, "docker run ...  (without --security-opt no-new-privileges)"),
        (
            {"container": True},
            (
                "RUN apt-get update && apt-get install -y --no-install-recommends uidmap libcap2-bin && "
                "chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap && setcap cap_setuid+ep /usr/bin/newuidmap && "
                "setcap cap_setgid+ep /usr/bin/newgidmap"
            ),
        ),
        ({}, "sudo chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap"),
    ],
)
def test_the_way_to_a_range_of_ids(around: dict[str, Any], remedy: str) -> None:
    found = report({"id_range": 0}, **around)
    assert fact(found, "id_range").remedy == remedy
    assert (remedy in texts(found)) == bool(remedy)


def test_a_user_name_is_quoted_in_commands() -> None:
    found = report({"id_range": 0}, user="a; rm -rf /", subordinate=False)
    assert fact(found, "id_range").remedy.endswith("'a; rm -rf /'")


def test_overlay_moves_to_where_it_works() -> None:
    found = report({"overlay": errno.EINVAL}, elsewhere=True)
    assert fact(found, "overlay").remedy == "export CONTEXTKERNEL_ROOT=/var/tmp/contextkernel-anna"
    assert texts(found)[0] == fact(found, "overlay").remedy
    assert fact(report({"overlay": errno.EINVAL}), "overlay").remedy == ""


def test_masked_proc() -> None:
    found = report({"fresh_proc": errno.EPERM}, container=True)
    assert "masked" in fact(found, "fresh_proc").reason
    assert "systempaths=unconfined" in fact(found, "fresh_proc").remedy


def test_missing_programs_name_their_package() -> None:
    found = report({"pasta": 0, "mmdebstrap": 0})
    assert fact(found, "pasta").remedy == "sudo apt-get install passt"
    assert fact(found, "mmdebstrap").remedy == "sudo apt-get install mmdebstrap"


def test_what_was_not_tried_says_why() -> None:
    found = report({"network_namespace": errno.ENOSPC}, missing=("tun_device", "ptrace"))
    assert fact(found, "tun_device").reason == "needs a network namespace"
    assert "did not come to its end" in fact(found, "ptrace").reason


@pytest.mark.parametrize(
    ("found", "verdict", "reason", "remedy"),
    [
        (report(idmap=IdMap()), "works", "routed", ""),
        (report({"packet_filter": errno.EPERM}, idmap=IdMap()), "refused", "needs a packet filter", ""),
        (report(idmap=RANGE), "works", "by pasta", ""),
        (report({"pasta": 0}, idmap=RANGE), "works", "by slirp4netns", ""),
        (
            report({"pasta": 0, "slirp4netns": 0}, idmap=SINGLE),
            "limited",
            "TCP and names by relay; no UDP, no ICMP",
            "sudo apt-get install passt",
        ),
        (
            report({"tun_device": errno.EACCES}, idmap=RANGE),
            "limited",
            "TCP and names by relay",
            "sudo chmod 0666 /dev/net/tun",
        ),
        (
            report({"tun_device": errno.EACCES, "packet_filter": errno.EPROTONOSUPPORT}, idmap=RANGE),
            "refused",
            "names only, and between containers; --network host",
            "sudo chmod 0666 /dev/net/tun",
        ),
        (report({"network_namespace": errno.EPERM}, idmap=RANGE), "refused", "the host's network", ""),
        (report(NO_NAMESPACES, idmap=None), "refused", "the host's network", ""),
    ],
)
def test_how_containers_get_outside(found: HostReport, verdict: str, reason: str, remedy: str) -> None:
    outbound = fact(found, "outbound")
    assert (outbound.verdict, outbound.remedy) == (verdict, remedy)
    assert reason in outbound.reason


@pytest.mark.parametrize(
    ("found", "verdict", "reason", "remedy"),
    [
        (report(), "works", "control groups of version 1", ""),
        (report({"cgroup_v1": errno.EACCES}), "works", "control groups of version 2", ""),
        (
            report({"cgroup_v1": errno.EACCES, "cgroup_v2": errno.EACCES}),
            "limited",
            "each process is limited by itself",
            "systemd-run --user --scope -p Delegate=yes jupyter lab",
        ),
        (
            report({"cgroup_v1": errno.EROFS, "cgroup_v2": 0}, idmap=IdMap(), uid=0),
            "limited",
            "each process is limited by itself",
            "docker run -m 2g --cpus 2 ...  # the container's own limits",
        ),
    ],
)
def test_what_keeps_limits(found: HostReport, verdict: str, reason: str, remedy: str) -> None:
    limits = fact(found, "limits")
    assert (limits.verdict, limits.remedy) == (verdict, remedy)
    assert reason in limits.reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_namespace_that_a_setting_forbids(kind: str) -> None:
    setting = f"user.max_{ {'network': 'net'}.get(kind.partition('_')[0], kind.partition('_')[0]) }_namespaces"
    found = report({kind: errno.ENOSPC}, settings={setting: "0"})
    assert fact(found, kind).reason.endswith(f"{setting} is 0")
    assert fact(found, kind).remedy == f"sudo sysctl -w {setting}=15000"
    assert fact(found, kind).who == "administrator"
    assert "there are as many as" in fact(report({kind: errno.ENOSPC}, settings={setting: "9"}), kind).reason
    isolation = fact(found, "isolation")
    assert isolation.verdict == "limited"
    assert f"not: {kind.partition('_')[0]}" in isolation.reason


@pytest.mark.parametrize("name", ["pivot_root", "move_root", "tmpfs", "devpts", "mqueue", *KINDS])
def test_what_a_filter_of_a_container_forbids(name: str) -> None:
    found = report({name: errno.EPERM}, filtered=True, container=True)
    assert fact(found, name).cause == "a seccomp filter of the container forbids it"
    assert fact(found, name).remedy == "docker run --security-opt seccomp=unconfined ..."
    assert fact(report({name: errno.EPERM}, container=True, apparmor="x"), name).cause.startswith(
        "the AppArmor profile x"
    )


def test_a_root_file_system_that_cannot_be_swapped() -> None:
    found = report({"pivot_root": errno.EINVAL}, idmap=RANGE)
    assert "initramfs" in fact(found, "pivot_root").cause
    assert fact(found, "isolation").reason.endswith("; no pivot_root")


def test_isolation_says_what_is_lacking() -> None:
    masked = report({"fresh_proc": errno.EPERM}, idmap=RANGE)
    assert fact(masked, "isolation").reason.endswith("not: pid; the outer /proc, read-only")
    lacking = report({"seccomp": errno.EINVAL, "devpts": errno.EPERM}, idmap=RANGE)
    assert fact(lacking, "isolation").reason.endswith("no system call filter; no terminals")
    assert notices(lacking)[-1] == "no seccomp: the system calls of a RUN are not filtered"
    shared = report({"pid_namespace": errno.ENOSPC, "landlock": errno.ENOSYS}, idmap=RANGE)
    assert notices(shared) == ("no pid namespace: RUN shares the processes of this machine, and can signal yours",)
    seen = report({"pid_namespace": errno.ENOSPC, "fresh_proc": errno.EPERM}, idmap=RANGE)
    assert notices(seen) == ("no pid namespace: RUN sees the processes of this machine",)
    (alone,) = notices(report({"network_namespace": errno.ENOSPC}, idmap=RANGE))
    assert alone == "no network namespace: RUN --network=none has unix sockets only, and no loopback"
    rooted = report({"pivot_root": errno.EPERM, "move_root": errno.EPERM}, idmap=RANGE)
    assert notices(rooted) == ("no pivot_root: the root of a RUN is changed by chroot alone",)


def test_what_was_not_tried_because_nothing_depends_on_it_is_left_out() -> None:
    found = report(missing=("move_root", "mqueue"))
    assert not {"move_root", "mqueue"} & {fact.name for fact in found.facts}


def places(found: HostReport) -> set[tuple[str, str]]:
    return {(remedy.who, remedy.where) for remedy in found.remedies}


def test_in_a_pod_nobody_is_told_of_docker() -> None:
    found = report(NO_NAMESPACES, idmap=None, filtered=True, container=True, kubernetes=True)
    assert places(found) == {("operator", "kubernetes"), ("operator", "kubespawner")}
    assert texts(found)[1] == ('c.KubeSpawner.container_security_context = {"seccompProfile": {"type": "Unconfined"}}')


def test_a_profile_of_apparmor_that_forbids_mounts() -> None:
    found = report({"mount_namespace": errno.EACCES}, container=True, apparmor="docker-default (enforce)")
    assert found.tier == "ptrace"
    mounts = fact(found, "mount_namespace")
    assert "the AppArmor profile docker-default (enforce) forbids mounts" in mounts.reason
    assert mounts.who == "operator"
    assert mounts.remedy.endswith("--security-opt apparmor=unconfined ...")
    assert any("appArmorProfile: {type: Unconfined}" in text for text in texts(found))
    assert (fact(found, "apparmor").verdict, fact(found, "isolation").verdict) == ("limited", "refused")


def test_ubuntu_s_rule_for_user_namespaces_is_the_node_s_to_change() -> None:
    setting = {"kernel.apparmor_restrict_unprivileged_userns": "1"}
    found = report({"mount_namespace": errno.EACCES}, container=True, settings=setting)
    assert "AppArmor takes all capabilities" in fact(found, "mount_namespace").cause
    assert fact(found, "mount_namespace").who == "administrator"
    assert places(found) == {("administrator", "node")}
    assert texts(found) == ["sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"]
    assert "have no capabilities" in fact(found, "apparmor").reason


def test_a_device_is_of_no_use_without_a_user_namespace() -> None:
    refused = {**NO_NAMESPACES, "fuse_overlayfs": errno.ENOENT, "tun_device": errno.ENOENT}
    found = report(refused, idmap=None, filtered=True, container=True)
    assert not any("--device" in text for text in texts(found))
    able = report({"tun_device": errno.ENOENT}, container=True)
    assert fact(able, "tun_device").remedy == "docker run --device /dev/net/tun ..."


def test_nothing_is_advised_that_changes_nothing() -> None:
    """Layers are copied, also where fuse-overlayfs could be had."""
    for number in (errno.ENOENT, errno.EACCES, errno.EPERM, 0):
        found = report({"overlay": errno.EINVAL, "fuse_overlayfs": number}, container=True)
        assert fact(found, "fuse_overlayfs").remedy == ""
        assert not any("fuse" in text for text in texts(found))
        assert fact(found, "backing").reason.startswith("copy: ")


def test_a_store_that_is_mounted_noexec_is_why_proot_is_of_no_use() -> None:
    tools = {**UIDMAP, "proot": "/usr/bin/proot"}
    found = report({**NO_NAMESPACES, "proot": errno.EACCES}, idmap=None, container=True, filtered=True, tools=tools)
    assert found.tier == "analysis"
    assert fact(found, "proot").cause == "the file system of /r is mounted noexec"
    assert [remedy.where for remedy in found.remedies if remedy.fact == "proot"] == [
        "docker",
        "kubernetes",
        "kubespawner",
    ]


def test_a_refusal_does_not_advise_to_make_room() -> None:
    found = report({**NO_NAMESPACES, "proot": 0, "disk": errno.ENOSPC}, idmap=None, container=True, filtered=True)
    assert any(remedy.fact == "disk" for remedy in found.remedies)
    assert refusal(found)[1].startswith("docker run --security-opt seccomp=unconfined")
    assert "CONTEXTKERNEL_ROOT" not in refusal(found)[1]


def test_where_the_store_cannot_be_another_place_is_named() -> None:
    found = report({"disk": errno.EACCES, "overlay": errno.EACCES})
    assert fact(found, "disk").reason == "no disk; the store cannot be in /r"
    assert texts(found)[-1] == "export CONTEXTKERNEL_ROOT=/var/tmp/contextkernel-anna"
    assert found.build[0] == found.run[0]
    assert found.build[0].startswith("nothing works yet: the store cannot be in /r (EACCES)")
    assert texts(report({"disk": errno.EACCES, "overlay": errno.EACCES}, elsewhere=True)) == [
        "export CONTEXTKERNEL_ROOT=/var/tmp/contextkernel-anna"
    ]


def test_where_the_store_cannot_be_nothing_else_is_said_of_what_needs_it() -> None:
    """Neither the kernel nor the device was asked: nothing could be made in the store's root."""
    needing = ("overlay", "fuse_overlayfs", "whiteout_marks", "user_xattrs", "reflink")
    for number in (errno.EACCES, errno.EPERM, errno.ENOENT):
        found = report(dict.fromkeys((*needing, "disk"), number))
        causes = {(fact(found, name).cause, fact(found, name).who) for name in (*needing, "disk")}
        assert causes == {("the store cannot be in /r", "you")}
    alone = report({"fuse_overlayfs": errno.EACCES})
    assert fact(alone, "fuse_overlayfs").cause == "the mode of /dev/fuse is not 0666"
    tools = {**UIDMAP, "proot": "/usr/bin/proot"}
    assert "noexec" not in fact(report({"proot": errno.EACCES, "disk": errno.EACCES}, tools=tools), "proot").cause
