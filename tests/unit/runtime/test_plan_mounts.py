"""Mounts that a user asked for, as operations; and which of a new container's mounts come from where."""

import msgspec
import pytest

from contextkernel.errors import ContainerNotFound, InvalidInput
from contextkernel.model.container import ContainerSpec, LaunchRequest
from contextkernel.model.digest import Digest
from contextkernel.model.mounts import Mount, Mounts
from contextkernel.runtime import operations as op
from contextkernel.runtime.facts import HostFacts
from contextkernel.runtime.inspecting import mounts as inspecting
from contextkernel.runtime.mounting import resolve_mounts
from contextkernel.runtime.plan import plan_operations

REQUEST = LaunchRequest(
    id="abc",
    argv=("prog",),
    env=(),
    hostname="box",
    network="none",
    lowers=("/s/layers/1/diff",),
    upper="/s/c/upper",
    work="/s/c/work",
    state_dir="/s/c",
)
KINDS = (op.BindMount, op.BindCache, op.MountDevice, op.HoldSource)


def planned(*mounts, rootless=False):
    facts = HostFacts(user_namespace=rootless)
    steps = plan_operations(msgspec.structs.replace(REQUEST, volumes=mounts), facts)
    targets = {mount.target for mount in mounts}
    return [
        step
        for step in steps
        if isinstance(step, KINDS) or (isinstance(step, op.MountTmpfs) and step.target in targets)
    ]


def test_exact_operations_outer_targets_first():
    assert planned(
        Mount(type="bind", source="/h", target="/a/b/c", read_only=True),
        Mount(type="volume", source="/s/volumes/v/_data", target="/a"),
        Mount(type="volume", source="/s/volumes/w/_data", target="/w", subpath="in/side", read_only=True),
        Mount(type="tmpfs", target="/t", size=1024, permissions=0o700, read_only=True),
        Mount(type="tmpfs", target="/u", tmpfs="exec,size=1m"),
        Mount(type="volume", source="x", target="/x", device=("nfs", "host:/export", "addr=192.0.2.1,ro")),
    ) == [
        op.BindMount("/s/volumes/v/_data", "/a", read_only=False, nodev=True),
        op.BindCache("/s/volumes/w/_data", "/w", "in/side", read_only=True, nodev=True),
        op.MountTmpfs("/t", ("nosuid", "nodev", "noexec", "ro"), "size=1024,mode=700"),
        op.MountTmpfs("/u", ("nosuid", "nodev"), "size=1m"),
        op.MountDevice("/x", "nfs", "host:/export", "addr=192.0.2.1,ro", read_only=False, nodev=True),
        op.BindMount("/h", "/a/b/c", read_only=True, nodev=True),
    ]


def test_devices_need_no_flag_in_a_user_namespace():
    assert planned(Mount(type="bind", source="/h", target="/a"), rootless=True) == [
        op.BindMount("/h", "/a", read_only=False, nodev=False)
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"recursive": "disabled"}, {"recursive": False}),
        ({"recursive": "writable", "read_only": True}, {"read_only": True, "read_only_below": False}),
        ({"recursive": "readonly", "read_only": True}, {"read_only": True}),
        ({"propagation": "rprivate"}, {}),
    ],
)
def test_recursion(changes, expected):
    given = {"read_only": False, **expected}
    read_only = given.pop("read_only")
    (step,) = planned(Mount(type="bind", source="/h", target="/a", **changes))
    assert step == op.BindMount("/h", "/a", read_only=read_only, nodev=True, **given)


def test_shared_sources_are_taken_before_the_namespace_is_cut_off():
    steps = plan_operations(
        msgspec.structs.replace(
            REQUEST, volumes=(Mount(type="bind", source="/h", target="/a", propagation="rshared"),)
        ),
        HostFacts(),
    )
    assert steps[:2] == (op.HoldSource("/h", "/a", "rshared", recursive=True), op.MakePrivate())
    assert op.BindMount("/h", "/a", read_only=False, nodev=True, propagation="rshared") in steps


@pytest.mark.parametrize("target", ["/", "/x/..", "rel", "/proc/x"])
def test_impossible_targets(target):
    with pytest.raises(InvalidInput):
        planned(Mount(type="bind", source="/h", target=target))


# -- resolving


def spec(*points):
    digest = Digest("sha256:" + "0" * 64)
    return ContainerSpec(
        id="f" * 64, name="other", image="x", image_id=digest, argv=("x",), created=1, mounts=Mounts(points=points)
    )


def find(name):
    if name != "other":
        raise ContainerNotFound(f"no such container: {name}")
    return spec(
        Mount(type="volume", source="shared", target="/shared", mode="z", origin="volume", text="shared:/shared"),
        Mount(type="bind", source="/h", target="/h", read_only=True),
        Mount(type="tmpfs", target="/t"),
    )


def shown(mounts):
    return [(one.type, one.source if not one.anonymous else "*", one.target, one.read_only) for one in mounts.points]


def test_docker_s_order_of_precedence():
    wanted = Mounts(
        points=(
            Mount(type="volume", source="mine", target="/shared", origin="volume"),
            Mount(type="volume", target="/blank"),
        ),
        anonymous=("/more", "/data"),
        volumes_from=("other:ro",),
    )
    mounts, new = resolve_mounts(wanted, {"/data": {}, "/h": {}, "rel/": {}}, find)
    assert shown(mounts) == [
        ("bind", "/h", "/h", True),
        ("volume", "mine", "/shared", False),
        ("volume", "*", "/blank", False),
        ("volume", "*", "/data", False),
        ("volume", "*", "/more", False),
        ("volume", "*", "/rel", False),
    ]
    assert [volume.name for volume in new if not volume.anonymous] == ["mine"]
    assert len({volume.name for volume in new}) == 5


def test_volumes_of_another_container_are_not_filled_again():
    mounts, new = resolve_mounts(Mounts(volumes_from=("other",)), None, find)
    assert shown(mounts) == [("volume", "shared", "/shared", False), ("bind", "/h", "/h", True)]
    assert new == ()
    assert all(mount.no_copy and not mount.text and not mount.mode for mount in mounts.points)
    with pytest.raises(ContainerNotFound):
        resolve_mounts(Mounts(volumes_from=("nobody",)), None, find)


def test_a_tmpfs_takes_the_place_of_an_anonymous_volume():
    wanted = Mounts(points=(Mount(type="tmpfs", target="/data", origin="tmpfs"),))
    mounts, new = resolve_mounts(wanted, {"/data": {}}, find)
    assert (shown(mounts), new) == ([("tmpfs", "", "/data", False)], ())


# -- inspect


def test_inspect_is_docker_s():
    points = (
        Mount(
            type="volume", source="v1", target="/a", read_only=True, mode="z", no_copy=True, labels={"a": "b"}
        ),
        Mount(type="bind", source="/ctx", target="/b", read_only=True, propagation="rprivate", recursive="disabled"),
        Mount(type="tmpfs", target="/t", size=1048576, permissions=0o700),
        Mount(
            type="bind", source="/ctx", target="/c", read_only=True, origin="volume", text="/ctx:/c:ro,z", mode="ro,z"
        ),
        Mount(type="volume", source="f00", target="/data", origin="image", anonymous=True),
        Mount(type="tmpfs", target="/t2", origin="tmpfs", tmpfs="size=1m"),
    )  # fmt: skip
    container = spec(*points)
    assert inspecting.host_config(container) == {
        "Binds": ["/ctx:/c:ro,z"],
        "ReadonlyRootfs": False,
        "Tmpfs": {"/t2": "size=1m"},
        "VolumeDriver": "",
        "VolumesFrom": None,
        "StorageOpt": None,
        "Mounts": [
            {
                "Type": "volume",
                "Source": "v1",
                "Target": "/a",
                "ReadOnly": True,
                "VolumeOptions": {"NoCopy": True, "Labels": {"a": "b"}, "DriverConfig": {}},
            },
            {
                "Type": "bind",
                "Source": "/ctx",
                "Target": "/b",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
            },
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1048576, "Mode": 448}},
        ],
    }
    documents = inspecting.mounts(container, "/s/containers/" + "f" * 64)
    assert documents[0] == {
        "Type": "volume",
        "Name": "v1",
        "Source": "/s/volumes/v1/_data",
        "Destination": "/a",
        "Driver": "local",
        "Mode": "z",
        "RW": False,
        "Propagation": "",
    }
    assert [(one["Type"], one["Mode"], one["Propagation"], one["RW"]) for one in documents[1:]] == [
        ("bind", "", "rprivate", False),
        ("tmpfs", "", "", True),
        ("bind", "ro,z", "rprivate", False),
        ("volume", "", "", True),
    ]
    assert inspecting.volumes(container, {"/data": {}}) == {"/data": {}}
