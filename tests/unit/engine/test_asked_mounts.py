"""What ``-v``, ``--tmpfs`` and docker-py's keywords come to, and docker's refusals."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.engine.asked.mounts import mounts_from, parse_bind
from contextkernel.errors import HostUnsupported, InvalidInput
from contextkernel.model.container import Bind, Tmpfs
from contextkernel.model.mounts import Mount


def test_a_named_volume():
    assert parse_bind("data:/b:ro,z") == Mount(
        type="volume", source="data", target="/b", read_only=True, origin="volume", text="data:/b:ro,z", mode="ro,z"
    )


def test_a_bind_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text, source in (("/a/../b:/c", "/b"), ("./a:/c", f"{tmp_path}/a"), (".:/c", str(tmp_path))):
        mount = parse_bind(text)
        assert (mount.type, mount.source, mount.create_source) == ("bind", source, True)
        assert mount.text == f"{source}:/c"


@pytest.mark.parametrize(
    ("mode", "changes"),
    [
        ("nocopy", {"no_copy": True}),
        ("rw,Z,cached", {}),
        ("", {}),
    ],
)
def test_modes_of_volumes(mode, changes):
    mount = parse_bind(f"data:/b:{mode}" if mode else "data:/b")
    for name, value in changes.items():
        assert getattr(mount, name) == value
    assert (mount.mode, mount.read_only) == (mode, False)


def test_propagation_of_binds():
    assert parse_bind("/a:/b:ro,rslave").propagation == "rslave"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        ("data:/b:", "invalid volume specification"),
        (":/b", "invalid volume specification"),
        ("data:ro", "invalid volume specification"),
        ("data:/b:zz", "invalid mode: zz"),
        ("data:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:rslave,rshared", "invalid mode"),
        ("data:/b:z,Z", "invalid mode"),
        ("data:/b:volume-nocopy", "invalid mode"),
        ("data:b", "mount path must be absolute"),
        ("data:/", "destination can't be '/'"),
        ("data:/x/..", "destination can't be '/'"),
        ("/a:/b:nocopy", "field VolumeOptions must not be specified"),
        ("data:/b:rslave", "field BindOptions must not be specified"),
        ("data:/proc/sys", "inside /proc"),
    ],
)
def test_refusals(text, problem):
    with pytest.raises(InvalidInput, match=problem):
        parse_bind(text)


def targets(**keywords):
    return [mount.target for mount in mounts_from(keywords).points]


def test_docker_py_s_forms(tmp_path):
    found = mounts_from(
        {
            "volumes": {str(tmp_path): {"bind": "/a", "mode": "ro"}, "data": {"bind": "/b"}},
            "tmpfs": {"/t": "size=1m"},
            "mounts": [Mount(type="volume", source="more", target="/c/")],
            "volumes_from": ["other:ro"],
        }
    )
    assert [(mount.type, mount.source, mount.target, mount.read_only, mount.origin) for mount in found.points] == [
        ("bind", str(tmp_path), "/a", True, "volume"),
        ("volume", "data", "/b", False, "volume"),
        ("volume", "more", "/c", False, "mount"),
        ("tmpfs", "", "/t", False, "tmpfs"),
    ]
    assert found.volumes_from == ("other:ro",)
    assert mounts_from({"volumes": [Bind("/x", "/y"), "/anon"], "tmpfs": [Tmpfs("/t")]}).anonymous == ("/anon",)


@pytest.mark.parametrize(
    "keywords",
    [
        {"volumes": ["one:/a", "two:/a"]},
        {"volumes": ["one:/a", "two:/b/../a"]},
        {"volumes": ["one:/a"], "tmpfs": ["/a"]},
        {"volumes": ["one:/a"], "mounts": [Mount(type="tmpfs", target="/a")]},
        {"mounts": [Mount(type="tmpfs", target="/a"), Mount(type="volume", target="/a")]},
    ],
)
def test_two_at_one_place(keywords):
    with pytest.raises(InvalidInput, match="duplicate mount point: /a"):
        mounts_from(keywords)


def test_what_may_share_a_place():
    assert targets(volumes=["/a", "one:/a"]) == ["/a"]
    found = mounts_from({"tmpfs": ["/a:size=1m"], "mounts": [Mount(type="tmpfs", target="/a", size=5)]})
    assert [mount.size for mount in found.points] == [5]
    assert targets(tmpfs=["/a:size=1m", "/a:size=2m"]) == ["/a"]


@pytest.mark.parametrize(
    ("mount", "problem"),
    [
        (Mount(type="bind", source="/nonexistent", target="/a"), "bind source path does not exist: /nonexistent"),
        (Mount(type="bind", source="rel", target="/a"), "mount path must be absolute"),
        (Mount(type="bind", target="/a"), "field Source must not be empty"),
        (Mount(type="bind", source="/", target="/a", propagation="zz"), "invalid propagation mode: zz"),
        (Mount(type="tmpfs", source="x", target="/a"), "field Source must not be specified"),
        (Mount(type="volume", target="/a", read_only=True), "must not set ReadOnly mode when using anonymous"),
        (Mount(type="volume", target="/a", subpath="x"), "must not set Subpath when using anonymous"),
        (Mount(type="volume", source="v", target="/a", subpath="x/../../y"), "relative path within the volume"),
        (Mount(type="volume", source="v", target="/a", driver="nfs"), 'plugin "nfs" not found'),
        (Mount(type="tmpfs", target="/a", no_copy=True), "field VolumeOptions must not be specified"),
    ],
)
def test_refused_mounts(mount, problem):
    with pytest.raises(InvalidInput, match=problem) as caught:
        mounts_from({"mounts": [mount]})
    assert caught.value.problem.startswith(f'invalid mount config for type "{mount.type}": ')


@pytest.mark.parametrize("word", ["", ":ro", "c:zz", "c:rslave", "c:nocopy"])
def test_refused_volumes_from(word):
    with pytest.raises(InvalidInput):
        mounts_from({"volumes_from": [word]})


def test_other_refusals():
    with pytest.raises(HostUnsupported, match="--storage-opt"):
        mounts_from({"storage_opt": {"size": "1g"}})
    with pytest.raises(InvalidInput, match='plugin "nfs" not found'):
        mounts_from({"volumes": ["data:/a"], "volume_driver": "nfs"})
    with pytest.raises(InvalidInput, match="invalid tmpfs option 'foo'"):
        mounts_from({"tmpfs": ["/a:foo"]})
    with pytest.raises(InvalidInput, match="invalid empty volume spec"):
        mounts_from({"volumes": [""]})


@given(st.text(alphabet="/.:,abrowz~ \n", max_size=14))
def test_any_word_of_v_is_a_mount_or_refused(text):
    try:
        found = mounts_from({"volumes": [text]})
    except InvalidInput:
        return
    places = [mount.target for mount in found.points] + list(found.anonymous)
    assert all(place.startswith("/") and os.path.normpath(place) == place != "/" for place in places)
