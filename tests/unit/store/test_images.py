import json
import os
from datetime import UTC, datetime

import msgspec
import pytest

from contextkernel.errors import ImageInUse, ImageNotFound, InvalidInput, InvalidReference, StoreProblem
from contextkernel.model.codec import to_json
from contextkernel.model.container import ContainerSpec, RunState
from contextkernel.model.digest import Digest
from contextkernel.model.oci import ImageConfig, RootFS
from contextkernel.model.reference import ImageRef
from contextkernel.testing.stores import random_image, random_layer

DIGEST = Digest.of(b"some manifest")


def container(store, image, number=1, **fields):
    spec = ContainerSpec(
        id=f"{number:064x}", name=f"name{number}", image="greet", image_id=image, argv=("echo",), created=number
    )
    return store.add_container(msgspec.structs.replace(spec, **fields))[0]


def running(store, spec, *, status="running"):
    with open(f"{store.container_dir(spec.id)}/state.json", "wb") as sink:
        sink.write(to_json(RunState(status=status, pid=os.getpid())))


def bare_image(store, number):
    config = ImageConfig(architecture="amd64", os="linux", author=str(number), created="2020-01-01T00:00:00Z")
    return store.add_image(to_json(config), origin="import")


def test_an_image_is_found_by_every_kind_of_name(store, worker):
    image = random_image(store, worker, "greet", "localhost:5000/a/b:v1")
    store.add_image(store.config_bytes(image), origin="pull", names=[ImageRef.parse(f"greet@{DIGEST}")])
    for text in (
        "greet",
        "greet:latest",
        "docker.io/library/greet",
        "localhost:5000/a/b:v1",
        f"greet@{DIGEST}",
        f"greet:anything@{DIGEST}",
        str(image),
        image.hex,
        image.short,
        f"sha256:{image.hex[:7]}",
    ):
        assert store.resolve(text) == image, text
    assert store.tags_of(image) == (ImageRef.parse("greet"), ImageRef.parse("localhost:5000/a/b:v1"))


def test_a_name_wins_over_the_beginning_of_an_id(store, worker):
    one = random_image(store, worker, seed=1)
    two = random_image(store, worker, one.hex[:6], seed=2)
    assert store.resolve(one.hex[:6]) == two
    assert store.resolve(one.hex[:7]) == one


def test_what_does_not_exist_is_not_found_with_near_names(store, worker):
    random_image(store, worker, "greet:v1", "greeting-c:v0.1")
    with pytest.raises(ImageNotFound, match="no such image: gret") as caught:
        store.resolve("gret")
    assert caught.value.hint == "did you mean greet:v1?"
    with pytest.raises(ImageNotFound):
        store.resolve("greet")
    with pytest.raises(ImageNotFound):
        store.resolve("0" * 64)
    with pytest.raises(InvalidReference, match="must be lower case"):
        store.resolve("Greet")


def test_an_ambiguous_id_lists_its_images(store):
    images = [bare_image(store, number) for number in range(20)]
    starts = [image.hex[0] for image in images]
    digit = next(start for start in starts if starts.count(start) > 1)
    with pytest.raises(InvalidInput, match=f"'{digit}' is ambiguous: ") as caught:
        store.resolve(digit)
    assert sum(image.short in caught.value.problem for image in images) == min(5, starts.count(digit))


def test_an_image_needs_its_layers(store):
    config = to_json(ImageConfig(architecture="amd64", os="linux", rootfs=RootFS("layers", (DIGEST,))))
    with pytest.raises(StoreProblem, match=f"layer {DIGEST} is not in the store"):
        store.add_image(config, origin="load")
    assert store.image_rows() == ()


def test_a_config_must_be_one(store):
    with pytest.raises(InvalidInput, match="not an image configuration"):
        store.add_image(b"[1, 2", origin="load")
    with pytest.raises(InvalidInput, match="not an image configuration"):
        store.add_image(b'{"rootfs": {"type": "layers", "diff_ids": ["nonsense"]}}', origin="load")


def test_a_tag_moves_and_leaves_the_old_image_dangling(store, worker):
    old = random_image(store, worker, "greet", seed=1)
    new = random_image(store, worker, "greet", seed=2)
    rows = store.image_rows()
    assert [(row.repository, row.tag, row.id) for row in rows] == [("greet", "latest", new), ("<none>", "<none>", old)]
    store.tag(old, ImageRef.parse("greet:old"))
    assert [row.repository for row in store.image_rows()] == ["greet", "greet"]
    with pytest.raises(InvalidReference, match="cannot tag"):
        store.tag(old, ImageRef.parse(f"greet@{DIGEST}"))
    with pytest.raises(ImageNotFound):
        store.tag(DIGEST, ImageRef.parse("greet"))


def test_rows_are_newest_first_with_sizes_and_origin(store, worker):
    one = random_image(store, worker, "a:1", "a:2", seed=1, layers=3)
    two = random_image(store, worker, "b", seed=2, layers=1)
    rows = store.image_rows()
    assert [(row.repository, row.tag) for row in rows] == [("b", "latest"), ("a", "1"), ("a", "2")]
    assert rows[1].id == one
    assert rows[1].layers == 3
    assert rows[1].size == sum(layer.size for layer in store.layers_of(one)) > 0
    assert rows[0].created == datetime(2024, 1, 2, 3, 4, 2, 123456, tzinfo=UTC)
    assert rows[0].origin == "build"
    assert store.image_rows(reference="b")[0].id == two


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("greet", ["greet:latest", "greet:v1"]),
        ("greet:v1", ["greet:v1"]),
        ("docker.io/library/greet", ["greet:latest", "greet:v1"]),
        ("gr*", ["greet:latest", "greet:v1"]),
        ("gr*:v?", ["greet:v1"]),
        ("*", ["greet:latest", "greet:v1"]),
        ("*/*", ["ann/tool:latest"]),
        ("[a-b]nn/tool", ["ann/tool:latest"]),
        ("other", []),
    ],
)
def test_rows_by_reference(store, worker, pattern, found):
    random_image(store, worker, "greet", "greet:v1", "ann/tool")
    random_image(store, worker, seed=5)
    rows = store.image_rows(reference=pattern)
    assert sorted(f"{row.repository}:{row.tag}" for row in rows) == found


def test_repository_digests_are_shown(store, worker):
    image = random_image(store, worker, "greet")
    store.add_image(store.config_bytes(image), origin="pull", names=[ImageRef.parse(f"greet@{DIGEST}")])
    assert [(row.tag, row.digest) for row in store.image_rows()] == [("latest", str(DIGEST))]
    store.remove_image("greet:latest", force=False)
    assert store.image_rows() == ()
    image = random_image(store, worker)
    store.add_image(store.config_bytes(image), origin="pull", names=[ImageRef.parse(f"greet@{DIGEST}")])
    assert [(row.repository, row.tag, row.digest) for row in store.image_rows()] == [("greet", "<none>", str(DIGEST))]


def test_history_has_sizes_where_layers_are(store, worker):
    image = random_image(store, worker, "greet", layers=2)
    first, second = store.layers_of(image)
    rows = store.history_rows(image)
    assert [row.id for row in rows] == [image, None, None]
    assert [row.size for row in rows] == [0, second.size, first.size]
    assert rows[0].created_by == 'ENTRYPOINT ["echo" "0"]'
    assert rows[0].comment == "buildkit.dockerfile.v0"
    assert rows[0].created == datetime(2024, 1, 2, 3, 4, 0, 123456, tzinfo=UTC)


def test_inspect_has_the_courses_fields_in_dockers_order(store, worker):
    image = random_image(store, worker, "greet", layers=2)
    document = store.inspect_image(image)
    assert list(document) == [
        "Id", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "Container", "ContainerConfig",
        "DockerVersion", "Author", "Config", "Architecture", "Os", "Size", "VirtualSize", "GraphDriver", "RootFS",
        "Metadata", "ContextKernel",
    ]  # fmt: skip
    assert list(document["Config"]) == [
        "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin",
        "StdinOnce", "Env", "Cmd", "Image", "Volumes", "WorkingDir", "Entrypoint", "OnBuild", "Labels",
    ]  # fmt: skip
    assert document["Id"] == str(image)
    assert document["RepoTags"] == ["greet:latest"]
    assert document["Comment"] == "buildkit.dockerfile.v0"
    assert document["Created"] == "2024-01-02T03:04:00.123456789Z"
    assert document["Config"]["Env"] == ["PATH=/usr/bin:/bin"]
    assert document["Config"]["Entrypoint"] == ["echo", "0"]
    assert document["Config"]["Cmd"] is None
    assert document["Config"]["Tty"] is False
    first, second = store.layers_of(image)
    assert document["Size"] == document["VirtualSize"] == first.size + second.size
    assert document["RootFS"] == {"Type": "layers", "Layers": [first.diff_id, second.diff_id]}
    assert document["GraphDriver"]["Data"] == {"LowerDir": first.diff, "UpperDir": second.diff}
    assert document["Metadata"]["LastTagTime"].startswith("20")
    assert document["ContextKernel"]["Origin"] == "build"
    json.dumps(document)


def test_inspect_shows_optional_fields_only_when_set(store):
    config = {
        "architecture": "arm64", "variant": "v8", "os": "linux", "author": "ann", "docker_version": "20.10",
        "config": {
            "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["NONE"]}, "StopSignal": "SIGINT",
            "Shell": ["/bin/bash", "-c"], "Volumes": {"/data": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": []},
    }  # fmt: skip
    image = store.add_image(json.dumps(config).encode(), origin="load")
    document = store.inspect_image(image)
    names = list(document["Config"])
    assert names.index("ExposedPorts") == names.index("AttachStderr") + 1
    assert names.index("Healthcheck") == names.index("Cmd") + 1
    assert names[-2:] == ["StopSignal", "Shell"]
    assert document["Variant"] == "v8"
    assert document["Author"] == "ann"
    assert document["DockerVersion"] == "20.10"
    assert document["Created"] == "0001-01-01T00:00:00Z"
    assert document["Metadata"]["LastTagTime"] == "0001-01-01T00:00:00Z"
    assert document["GraphDriver"]["Data"] is None


def test_compare_counts_what_is_shared(store, worker):
    base = random_layer(store, worker, 77)
    one = random_image(store, worker, "one", seed=1, base=[base])
    two = random_image(store, worker, "two", seed=2, base=[base], layers=1)
    rows = store.compare([("one", one), ("two", two)])
    shared = store.layer(base).size
    assert [row.shared for row in rows] == [shared, shared]
    assert [row.layers for row in rows] == [3, 2]
    assert [row.size - row.unique for row in rows] == [shared, shared]
    largest = max(row.size for row in rows)
    assert [row.factor for row in rows] == [largest / row.size for row in rows]


# ---- removal


def test_removing_the_last_tag_removes_image_and_layers(store, worker):
    image = random_image(store, worker, "greet", layers=2)
    first, second = store.layers_of(image)
    chain = Digest.of(f"{first.diff_id} {second.diff_id}".encode())
    assert store.remove_image("greet") == (
        "Untagged: greet:latest",
        f"Deleted: {image}",
        f"Deleted: {chain}",
        f"Deleted: {first.diff_id}",
    )
    assert store.trash() == tuple(sorted([first.directory, second.directory]))
    assert not os.path.exists(store.blob_path(image))
    worker.remove(store.trash())
    store.forget_trash(store.trash())
    assert store.trash() == ()
    assert store.check() == ()


def test_shared_and_cached_layers_stay(store, worker):
    from contextkernel.store import StepRecord

    base = random_layer(store, worker, 7)
    image = random_image(store, worker, "one", seed=1, base=[base], layers=1)
    random_image(store, worker, "two", seed=2, base=[base], layers=1)
    own = store.layers_of(image)[1]
    store.add_step(DIGEST, StepRecord(diff_id=own.diff_id, created=1))
    assert store.remove_image("one") == ("Untagged: one:latest", f"Deleted: {image}")
    assert store.trash() == ()
    assert store.step(DIGEST) == StepRecord(diff_id=own.diff_id, created=1)
    assert store.check() == ()


def test_removing_one_of_several_tags_only_untags(store, worker):
    image = random_image(store, worker, "a", "b:1")
    assert store.remove_image("a") == ("Untagged: a:latest",)
    assert store.resolve("b:1") == image


def test_an_id_with_several_names_must_be_forced(store, worker):
    image = random_image(store, worker, "a", "b:1")
    with pytest.raises(ImageInUse, match=r"must be forced.*a:latest, b:1"):
        store.remove_image(image.short)
    lines = store.remove_image(image.short, force=True)
    assert lines[:3] == ("Untagged: a:latest", "Untagged: b:1", f"Deleted: {image}")


def test_an_id_with_one_name_goes_with_it(store, worker):
    image = random_image(store, worker, "a")
    store.add_image(store.config_bytes(image), origin="pull", names=[ImageRef.parse(f"a@{DIGEST}")])
    lines = store.remove_image(str(image))
    assert lines[:3] == ("Untagged: a:latest", f"Untagged: a@{DIGEST}", f"Deleted: {image}")


def test_a_stopped_container_protects_its_image_until_forced(store, worker):
    image = random_image(store, worker, "greet")
    spec = container(store, image, name="bozo")
    for text in ("greet", image.short):
        with pytest.raises(ImageInUse, match=rf"stopped container {spec.id[:12]} \(bozo\)") as caught:
            store.remove_image(text)
        assert "rm bozo" in caught.value.hint
    assert store.resolve("greet") == image
    layers = store.layers_of(image)
    assert store.remove_image("greet", force=True) == ("Untagged: greet:latest", f"Deleted: {image}")
    # the container can still be started: its layers are there
    assert store.layers_of(image) == layers
    assert store.trash() == ()
    assert store.check() == ()
    store.remove_container(spec.id)
    assert len(store.trash()) == 1 + len(layers)
    with pytest.raises(ImageNotFound):
        store.layers_of(image)


def test_a_running_container_protects_its_image_even_from_force(store, worker):
    image = random_image(store, worker, "greet")
    spec = container(store, image)
    running(store, spec)
    with pytest.raises(ImageInUse, match=r"must force.*running container"):
        store.remove_image("greet")
    with pytest.raises(ImageInUse, match=r"cannot be forced.*running container") as caught:
        store.remove_image(image.short, force=True)
    assert f"rm -f {spec.name}" in caught.value.hint
    assert store.remove_image("greet", force=True) == ("Untagged: greet:latest",)
    assert store.image_rows()[0].id == image
    running(store, spec, status="exited")
    assert store.remove_image(image.short, force=True)[0] == f"Deleted: {image}"


def test_who_knows_better_may_say_what_runs(store, worker):
    image = random_image(store, worker, "greet")
    spec = container(store, image)
    asked = []
    with pytest.raises(ImageInUse, match="running container"):
        store.remove_image("greet", running=lambda path: not asked.append(path))
    assert asked == [store.container_dir(spec.id)]


def test_with_other_names_a_container_does_not_hinder(store, worker):
    image = random_image(store, worker, "a", "b")
    container(store, image)
    assert store.remove_image("a") == ("Untagged: a:latest",)
    with pytest.raises(ImageInUse):
        store.remove_image("b")


def test_adding_an_image_again_writes_its_file_only_if_that_is_damaged(store, worker):
    image = random_image(store, worker, "greet")
    config = store.config_bytes(image)
    path = f"{store.root}/blobs/sha256/{image.hex}"
    before = os.stat(path).st_ino
    store.add_image(config, origin="build", names=[ImageRef.parse("hello")])
    assert os.stat(path).st_ino == before
    with open(path, "r+b") as blob:
        blob.write(b"damaged")
    store.add_image(config, origin="build")
    assert store.config_bytes(image) == config


def test_adding_an_image_again_keeps_its_origin_and_moves_tags(store, worker):
    image = random_image(store, worker, "greet")
    assert store.add_image(store.config_bytes(image), origin="load", names=[ImageRef.parse("hello")]) == image
    assert [(row.repository, row.origin) for row in store.image_rows()] == [("greet", "build"), ("hello", "build")]
