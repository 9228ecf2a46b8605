import os
import time

import msgspec
import pytest

from contextkernel.errors import Conflict, InvalidInput, NameInUse, VolumeNotFound
from contextkernel.model.container import ContainerSpec
from contextkernel.model.mounts import Mount, Mounts
from contextkernel.model.volumes import ANONYMOUS_LABEL, Volume
from contextkernel.store import Store
from contextkernel.store.volumes import anonymous_volume
from contextkernel.testing.stores import random_image


def named(name, **more):
    return Volume(name=name, created=time.time_ns(), **more)


@pytest.fixture
def make(store, worker):
    image = random_image(store, worker, "greet")

    def add(number, *volumes, new=(), **fields):
        points = tuple(Mount(type="volume", source=name, target=f"/{name}") for name in volumes)
        spec = ContainerSpec(
            id=f"{number:064x}"[::-1],
            name=f"box{number}",
            image="greet",
            image_id=image,
            argv=("true",),
            created=number,
            mounts=Mounts(points=points),
        )
        return store.add_container(msgspec.structs.replace(spec, **fields), new)

    return add


def names(store):
    return [row.volume.name for row in store.volumes()]


def test_a_volume_is_a_directory(store):
    volume, made = store.add_volume(named("data", labels={"a": "b"}))
    assert made
    assert os.listdir(store.volume_dir("data")) == []
    assert os.stat(store.volume_dir("data")).st_mode & 0o777 == 0o755
    row = store.volume("data")
    assert (row.volume, row.mountpoint, row.containers) == (volume, store.volume_dir("data"), ())


def test_making_it_again_changes_nothing(store):
    first, _ = store.add_volume(named("data", labels={"a": "b"}))
    again, made = store.add_volume(named("data", labels={"c": "d"}))
    assert (again, made) == (first, False)


@pytest.mark.parametrize("name", ["", "x", "a b", "../up", ".hidden", "a/b", "-x", "n" * 256, "x\n"])
def test_impossible_names(store, name):
    with pytest.raises(InvalidInput):
        store.add_volume(named(name))
    assert os.listdir(os.path.join(store.root, "volumes")) == []


@pytest.mark.parametrize(
    "options", [{"foo": "x"}, {"device": "/x"}, {"type": "tmpfs"}, {"o": "bind"}, {"size": "1g"}, {"o": "size=1"}]
)
def test_impossible_options(store, options):
    with pytest.raises(InvalidInput):
        store.add_volume(named("data", options=options))
    assert names(store) == []


def test_an_unknown_volume_suggests_near_names(store):
    store.add_volume(named("data"))
    with pytest.raises(VolumeNotFound) as caught:
        store.volume("dota")
    assert caught.value.hint == "did you mean data?"


def test_volumes_come_with_their_container(store, make):
    blank = anonymous_volume()
    spec, made = make(1, "data", blank.name, new=(named("data"), blank))
    assert made == ("data", blank.name)
    assert names(store) == sorted(["data", blank.name])
    assert store.volume("data").containers == (spec.id,)
    _, made = make(2, "data", new=(named("data"),))
    assert made == ()


def test_a_failure_leaves_no_volume(store, make):
    make(1)
    with pytest.raises(NameInUse):
        make(2, "data", new=(named("data"),), name="box1")
    with pytest.raises(VolumeNotFound):
        make(3, "data", "gone", new=(named("data"),))
    assert names(store) == []
    assert os.listdir(os.path.join(store.root, "volumes")) == []


def test_a_volume_in_use_stays(store, make):
    spec, _ = make(1, "data", new=(named("data"),))
    with pytest.raises(Conflict, match=rf"remove data: volume is in use - \[{spec.id}\]"):
        store.remove_volume("data")
    store.remove_container(spec.id)
    store.remove_volume("data")
    with pytest.raises(VolumeNotFound):
        store.remove_volume("data")


def test_anonymous_volumes_go_with_the_last_container_if_asked(store, make):
    blank, other = anonymous_volume(), anonymous_volume()
    first, _ = make(1, "data", blank.name, other.name, new=(named("data"), blank, other))
    second, _ = make(2, blank.name)
    assert store.remove_container(first.id, volumes=True) == (other.name,)
    assert names(store) == sorted(["data", blank.name])
    assert store.remove_container(second.id) == ()
    assert names(store) == sorted(["data", blank.name])
    assert blank.labels == {ANONYMOUS_LABEL: ""}


def test_a_container_that_removed_itself_takes_its_anonymous_volumes_along(store, make):
    blank = anonymous_volume()
    spec, _ = make(1, "data", blank.name, new=(named("data"), blank), auto_remove=True)
    for name in ("upper", "work", ""):
        os.rmdir(os.path.join(store.container_dir(spec.id), name))
    assert names(store) == ["data"]
    store.remove_volume("data")


def test_a_removed_volume_may_be_made_anew_before_its_files_are_gone(store):
    store.add_volume(named("data"))
    with open(f"{store.volume_dir('data')}/old", "w"):
        pass
    store.remove_volume("data")
    store.add_volume(named("data"))
    assert os.listdir(store.volume_dir("data")) == []
    (path,) = store.trash()
    assert os.listdir(f"{path}/_data") == ["old"]
    assert os.listdir(store.volume_dir("data")) == []


def test_directories_that_nobody_knows_are_found(root):
    with Store.open(root) as store:
        store.add_volume(named("data"))
        os.makedirs(f"{root}/volumes/stray/_data")
        (finding,) = store.check(repair=True)
        assert finding.where == f"{root}/volumes/stray"
        assert [os.path.basename(path) for path in store.trash()] == ["stray"]
