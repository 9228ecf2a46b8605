import os
import shutil

import msgspec
import pytest

from contextkernel.errors import ContainerNotFound, ImageNotFound, InvalidInput, NameInUse
from contextkernel.model.container import ContainerSpec
from contextkernel.model.digest import Digest
from contextkernel.store import names
from contextkernel.store.names import generate_name
from contextkernel.testing.stores import random_image


@pytest.fixture
def make(store, worker):
    image = random_image(store, worker, "greet")

    def add(number, name="", **fields):
        spec = ContainerSpec(
            id=f"{number:064x}"[::-1], name=name, image="greet", image_id=image, argv=("echo", "hi"), created=number
        )
        return store.add_container(msgspec.structs.replace(spec, **fields))[0]

    return add


def test_a_container_is_found_by_id_name_and_prefix(store, make):
    spec = make(0x123, "bozo", labels={"a": "b"})
    for text in (spec.id, "bozo", "/bozo", spec.id[:3]):
        assert store.container(text) == spec
    assert sorted(os.listdir(store.container_dir(spec.id))) == ["upper", "work"]
    assert os.stat(f"{store.container_dir(spec.id)}/upper").st_mode & 0o777 == 0o755


def test_containers_are_listed_newest_first(store, make):
    specs = [make(number) for number in (1, 2, 3)]
    assert store.containers() == tuple(reversed(specs))


def test_a_taken_name_is_refused_as_docker_does(store, make):
    spec = make(1, "bozo")
    with pytest.raises(NameInUse) as caught:
        make(2, "bozo")
    assert caught.value.problem == f'the container name "/bozo" is already in use by container "{spec.id}"'
    assert caught.value.exit_code == 1
    assert not os.path.exists(store.container_dir(f"{2:064x}"[::-1]))
    store.remove_container(spec.id)
    assert make(2, "bozo").name == "bozo"


@pytest.mark.parametrize("name", ["-x", "a b", "x", "ä1", "a/b", "x\n"])
def test_names_follow_dockers_rule(make, name):
    with pytest.raises(InvalidInput, match="invalid container name"):
        make(1, name)


def test_ids_are_checked(make):
    with pytest.raises(InvalidInput, match="not a container id"):
        make(1, id="../../etc")


def test_a_container_needs_its_image(make):
    with pytest.raises(ImageNotFound):
        make(1, image_id=Digest.of(b"none"))


def test_an_ambiguous_prefix_lists_the_containers(store, make):
    one, two = make(0x1A, "one"), make(0x2A, "two")
    assert one.id[0] == two.id[0] == "a"
    with pytest.raises(InvalidInput) as caught:
        store.container("a")
    assert caught.value.problem == f"container id 'a' is ambiguous: {one.id[:12]} (one), {two.id[:12]} (two)"


def test_an_unknown_container_suggests_near_names(store, make):
    make(1, "bozo")
    with pytest.raises(ContainerNotFound, match="no such container: bozzo") as caught:
        store.container("bozzo")
    assert caught.value.hint == "did you mean bozo?"


def test_removing_makes_the_directory_trash_and_is_idempotent(store, make):
    spec = make(1)
    store.remove_container(spec.id)
    store.remove_container(spec.id)
    assert store.containers() == ()
    assert store.trash() == (store.container_dir(spec.id),)


def test_a_container_whose_monitor_removed_it_is_gone(store, make):
    spec = make(1, "bozo", auto_remove=True)
    assert store.containers() == (spec,)
    shutil.rmtree(store.container_dir(spec.id))
    assert store.containers() == ()
    with pytest.raises(ContainerNotFound):
        store.container("bozo")
    assert make(2, "bozo").name == "bozo"
    assert store.check() == ()


def test_names_are_generated_when_none_is_given(make):
    made = {make(number).name for number in range(1, 20)}
    assert len(made) == 19
    assert all(name.count("_") == 1 for name in made)


def test_generated_names_never_collide(monkeypatch):
    monkeypatch.setattr(names, "_ADJECTIVES", ["bold"])
    monkeypatch.setattr(names, "_SURNAMES", ["hopper"])
    taken = set()
    for _ in range(5):
        taken.add(generate_name(taken))
    assert taken == {"bold_hopper", "bold_hopper1", "bold_hopper2", "bold_hopper3", "bold_hopper4"}


def test_the_word_lists_are_large_and_clean():
    assert len(names._ADJECTIVES) == len(set(names._ADJECTIVES)) >= 90
    assert len(names._SURNAMES) == len(set(names._SURNAMES)) >= 150
    assert all(word.isascii() and word.isalpha() and word.islower() for word in names._ADJECTIVES + names._SURNAMES)
