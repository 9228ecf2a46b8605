"""What is concluded from the findings of real environments, against what was measured there by other means."""

from __future__ import annotations

import pytest

from contextkernel import host
from contextkernel.host.catalogue import NAMES, SPARED
from contextkernel.host.remedies import hint
from contextkernel.model.results import HostReport
from contextkernel.model.room import StoreRoom
from tests.unit.host.recorded_reports import ENVIRONMENTS, recorded

NO_NAMESPACES = "isolation chroot whiteout_marks outbound"
MASKED = "fresh_proc fresh_sys"
ONE_ID = "id_range"
NO_OVERLAY = "overlay"

# tier; what is refused there (of the facts that differ between environments); first remedy of each fact
TABLE = {
    "docker-default": ("ptrace", NO_NAMESPACES, "user_namespace:docker"),
    "docker-default-nnp": ("ptrace", NO_NAMESPACES, "user_namespace:docker"),
    "default-fuse": ("ptrace", NO_NAMESPACES, "user_namespace:docker"),
    "limited-pod": ("ptrace", NO_NAMESPACES, "user_namespace:docker"),
    "strict": ("ptrace", NO_NAMESPACES, "user_namespace:docker"),
    "root-default": ("ptrace", "isolation whiteout_marks outbound", "user_namespace:docker"),
    "no-proot": ("analysis", f"{NO_NAMESPACES} proot", "user_namespace:docker proot:dockerfile"),
    "no-ptrace": ("analysis", f"{NO_NAMESPACES} proot ptrace", "user_namespace:docker ptrace:docker"),
    "seccomp-unconfined": (
        "rootless-single",
        f"{MASKED} {ONE_ID} {NO_OVERLAY}",
        "overlay:docker id_range:dockerfile fresh_proc:docker tun_device:docker pasta:dockerfile cgroup_v1:docker",
    ),
    "seccomp-unconfined-nnp": (
        "rootless-single",
        f"{MASKED} {ONE_ID} {NO_OVERLAY}",
        "overlay:docker id_range:docker fresh_proc:docker tun_device:docker pasta:dockerfile cgroup_v1:docker",
    ),
    "systempaths-unconfined": (
        "rootless-single",
        f"{ONE_ID} {NO_OVERLAY}",
        "overlay:docker id_range:dockerfile tun_device:docker pasta:dockerfile cgroup_v1:docker",
    ),
    "unconfined-volume": (
        "rootless-single",
        f"{MASKED} {ONE_ID}",
        "id_range:dockerfile fresh_proc:docker tun_device:docker pasta:dockerfile cgroup_v1:docker",
    ),
    "unconfined-devices": (
        "rootless-single",
        f"{MASKED} {ONE_ID} {NO_OVERLAY}",
        "overlay:docker id_range:dockerfile fresh_proc:docker tun_device:node pasta:dockerfile cgroup_v1:docker",
    ),
    "unconfined-range": (
        "rootless",
        f"{MASKED} {NO_OVERLAY}",
        "overlay:docker fresh_proc:docker tun_device:docker pasta:dockerfile cgroup_v1:docker",
    ),
    "unconfined-range-nnp": (
        "rootless-single",
        f"{MASKED} {ONE_ID} {NO_OVERLAY}",
        "overlay:docker id_range:docker fresh_proc:docker tun_device:docker pasta:dockerfile cgroup_v1:docker",
    ),
    "privileged": ("rootless", NO_OVERLAY, "overlay:docker tun_device:node pasta:dockerfile cgroup_v1:docker"),
    "root-privileged": ("rootful", NO_OVERLAY, "overlay:docker"),
    "machine-root": ("rootful", "", ""),
    "machine-user": ("rootless", "", "tun_device:shell pasta:shell cgroup_v2:shell"),
    "machine-user-nnp": ("rootless-single", ONE_ID, "tun_device:shell pasta:shell cgroup_v2:shell"),
    "machine-user-without-ids": (
        "rootless-single",
        ONE_ID,
        "id_range:shell tun_device:shell pasta:shell cgroup_v2:shell",
    ),
}
#: refused everywhere or a matter of what is installed
_ELSEWHERE = {"reflink", "cgroup_v1", "cgroup_v2", "pasta", "slirp4netns", "fuse_overlayfs", "tun_device", "mmdebstrap"}


def test_every_environment_is_in_the_table() -> None:
    assert set(TABLE) == set(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_tier_and_facts(environment: str) -> None:
    found = recorded(environment)
    tier, refused, remedies = TABLE[environment]
    assert found.tier == tier
    named = tuple(fact.name for fact in found.facts)
    assert named == tuple(name for name in NAMES if name in named)
    assert set(NAMES) - set(named) <= SPARED
    said = {fact.name for fact in found.facts if fact.verdict == "refused" and "needs a" not in fact.reason}
    said -= _ELSEWHERE | {"user_namespace"}
    assert said == set(refused.split())
    assert ("user_namespace" in {fact.name for fact in found.facts if fact.verdict == "refused"}) == (
        tier in ("ptrace", "analysis")
    )
    first: dict[str, str] = {}
    for remedy in found.remedies:
        first.setdefault(remedy.fact, remedy.where)
    assert " ".join(f"{fact}:{where}" for fact, where in first.items()) == remedies


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_is_said_is_whole(environment: str) -> None:
    found = recorded(environment)
    assert 2 <= len(found.build) <= 3
    assert 2 <= len(found.run) <= 3
    for fact in found.facts:
        assert fact.group
        assert fact.about
        assert "probe-" not in fact.reason
        if fact.verdict == "refused":
            assert fact.reason
        if fact.errno in {"EPERM", "EINVAL", "EROFS", "EACCES"}:
            assert fact.cause, fact.name
            assert fact.who, fact.name
        if fact.verdict == "works":
            assert (fact.cause, fact.remedy, fact.who) == ("", "", ""), fact.name
    for remedy in found.remedies:
        assert remedy.who in {"you", "operator", "administrator"}
        assert remedy.gives
        assert "\n" not in remedy.text


def test_a_container_s_user_is_not_told_what_only_a_machine_s_user_can_do() -> None:
    for environment in ENVIRONMENTS:
        places = {remedy.where for remedy in recorded(environment).remedies}
        if environment.startswith("machine-"):
            assert places <= {"shell"}
        else:
            assert "shell" not in places


@pytest.mark.parametrize(
    ("environment", "fact", "verdict", "words"),
    [
        ("seccomp-unconfined", "newuidmap", "limited", "gives no range; set-user-ID is not enough"),
        ("privileged", "newuidmap", "works", "/usr/bin/newuidmap"),
        ("docker-default", "newuidmap", "works", "/usr/bin/newuidmap"),
        ("seccomp-unconfined", "isolation", "limited", "not: pid"),
        ("systempaths-unconfined", "isolation", "works", "one id; namespaces: mount, pid, network, uts, ipc, cgroup"),
        ("seccomp-unconfined", "whiteout_marks", "limited", "user.overlay.whiteout"),
        ("unconfined-volume", "backing", "works", "overlay: "),
        ("seccomp-unconfined", "backing", "limited", "copy: "),
        ("docker-default", "backing", "limited", "copy: "),
        ("limited-pod", "memory", "works", "of 537MB, the limit of the control group"),
        ("limited-pod", "cpus", "works", "0.5 of 2"),
        ("docker-default", "landlock", "works", "ABI 7"),
        ("docker-default", "seccomp_notify", "works", "answered by a supervisor"),
        ("unconfined-devices", "fuse_overlayfs", "refused", "mode of /dev/fuse is not 0666"),
        ("docker-default", "fuse_overlayfs", "refused", "needs a user namespace"),
        ("machine-user-nnp", "id_range", "refused", "no_new_privs is set"),
    ],
)
def test_single_facts(environment: str, fact: str, verdict: str, words: str) -> None:
    found = recorded(environment).fact(fact)
    assert found is not None
    assert found.verdict == verdict
    assert words in found.reason


def notices(environment: str) -> list[str]:
    return [line.partition(":")[0] for line in host.notices(recorded(environment))]


def test_what_is_said_where_something_is_run() -> None:
    assert notices("machine-root") == notices("machine-user") == []
    assert host.notices(recorded("docker-default"))[0].startswith("RUN goes through proot: several times slower")
    assert notices("no-proot") == ["this host runs no programs"]
    assert notices("seccomp-unconfined") == ["one id", "no pid namespace", "no overlay"]
    assert notices("unconfined-volume") == ["one id", "no pid namespace"]
    assert notices("unconfined-range") == ["no pid namespace", "no overlay"]
    assert host.notices(HostReport(tier="rootless", facts=())) == ()


def test_why_nothing_runs_and_what_would_allow_it() -> None:
    why, hint_ = host.refusal(recorded("no-proot"))
    assert why == (
        "this host runs no programs: user_namespace (EPERM: a seccomp filter of the container forbids it); "
        "proot (proot is not installed)"
    )
    assert hint_.startswith("docker run --security-opt seccomp=unconfined ... (to start this container); RUN apt-get")
    assert host.refusal(recorded("no-ptrace"))[0] == (
        "this host runs no programs: user_namespace (EPERM: a seccomp filter of the container forbids it); "
        "ptrace (EPERM: a seccomp filter of the container forbids it)"
    )
    assert host.refusal(HostReport(tier="analysis", facts=())) == (
        "this host runs no programs",
        "contextkernel doctor says more",
    )


def test_a_hint_is_one_line_with_the_first_of_each() -> None:
    line = hint(recorded("no-proot").remedies)
    assert line == (
        "docker run --security-opt seccomp=unconfined ... (to start this container); RUN apt-get update && apt-get "
        "install -y --no-install-recommends proot (in the Dockerfile of the image that this runs in)"
    )


@pytest.mark.parametrize(
    ("room", "verdict", "words"),
    [
        (StoreRoom(layers=2_000_000_000, free=9_000_000_000), "works", "; the store takes 2GB"),
        (
            StoreRoom(layers=4_500_000_000, free=9_000_000_000, bound=5_000_000_000),
            "limited",
            "; the store takes 4.5GB of 5GB (CONTEXTKERNEL_MAX_SIZE)",
        ),
    ],
)
def test_the_store_s_room_stands_beside_the_disk_s(room: StoreRoom, verdict: str, words: str) -> None:
    found = host.with_room(recorded("docker-default"), room)
    disk = found.fact("disk")
    assert disk is not None
    assert disk.reason.endswith(words)
    assert disk.verdict == verdict
    assert disk.remedy == ("contextkernel system prune" if verdict == "limited" else "")
    assert len(found.facts) == len(NAMES) - len(SPARED)
