"""Merged files of layers as a tar and as a directory, layers packed, image layouts: without privileges."""

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
import zlib

import pytest
import zstandard

from contextkernel.errors import InvalidInput, StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.ids import IdMap
from contextkernel.model.layers import ExportRequest, ExtraFile
from contextkernel.model.outputs import Annotation, Compression, Statement
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.store.archive import load, save
from contextkernel.store.extras import Extras
from contextkernel.store.layout import DirectoryLayout, TarLayout
from contextkernel.store.manifests import FinishedImage, named_descriptors, purl, write_images
from contextkernel.store.outfile import opened
from contextkernel.store.packing import Packer
from contextkernel.store.worker_commit import commit
from contextkernel.store.worker_tree import Ids
from contextkernel.testing.stores import random_image

AMD = Platform("linux", "amd64")


@pytest.fixture
def layers(store):
    """Two layers: files with links, and a layer that hides and replaces some of them."""

    def make(fill):
        directory = store.new_layer_dir()
        fill(directory + "/diff")
        return store.add_layer(directory, _committed(directory)).directory

    def base(root):
        os.makedirs(f"{root}/etc")
        os.makedirs(f"{root}/a/b")
        _write(f"{root}/etc/passwd", "root")
        _write(f"{root}/a/one", "one")
        os.link(f"{root}/a/one", f"{root}/a/two")
        os.chmod(f"{root}/a/one", 0o4750)  # noqa: S103
        os.symlink("../etc/passwd", f"{root}/a/link")
        os.mkfifo(f"{root}/a/pipe")
        os.utime(f"{root}/a/one", ns=(5, 1_600_000_000_600_000_000))

    def top(root):
        os.makedirs(f"{root}/etc")
        _write(f"{root}/etc/passwd", "changed")
        os.chmod(f"{root}/etc", 0o555)  # noqa: S103

    made = make(base), make(top)
    yield made
    os.chmod(f"{made[1]}/diff/etc", 0o755)  # noqa: S103


def _committed(directory):
    return commit(directory, Ids(IdMap()), lambda: None)


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.mkdir()
    return path


def exported(worker, request, target):
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        worker.export_tree(request, descriptor)
    finally:
        os.close(descriptor)


def test_files_in_a_directory(layers, worker, tmp_path):
    exported(worker, ExportRequest(layers=layers), tmp_path)
    try:
        assert (tmp_path / "etc/passwd").read_text() == "changed"
        assert (tmp_path / "a/one").read_text() == "one"
        assert os.stat(tmp_path / "a/one").st_ino == os.stat(tmp_path / "a/two").st_ino
        assert stat.S_IMODE(os.stat(tmp_path / "a/one").st_mode) == 0o4750
        assert os.stat(tmp_path / "a/one").st_mtime_ns == 1_600_000_000_600_000_000
        assert os.readlink(tmp_path / "a/link") == "../etc/passwd"
        assert stat.S_ISFIFO(os.lstat(tmp_path / "a/pipe").st_mode)
        assert stat.S_IMODE(os.stat(tmp_path / "etc").st_mode) == 0o555
    finally:
        os.chmod(tmp_path / "etc", 0o755)  # noqa: S103


def test_a_directory_is_merged_into_and_may_be_cleared(layers, worker, target):
    (target / "a").mkdir()
    (target / "a/mine").write_text("kept")
    (target / "a/one").mkdir()  # in the way
    (target / "a/one/inside").write_text("")
    exported(worker, ExportRequest(layers=layers[:1]), target)
    assert sorted(os.listdir(target / "a")) == ["b", "link", "mine", "one", "pipe", "two"]
    assert (target / "a/one").read_text() == "one"
    (target / "other").mkdir()
    exported(worker, ExportRequest(layers=layers[:1], delete=True), target)
    assert sorted(os.listdir(target / "a")) == ["b", "link", "one", "pipe", "two"]
    assert sorted(os.listdir(target)) == ["a", "etc"]


def test_links_in_the_directory_lead_nowhere(layers, worker, tmp_path):
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (outside / "passwd").write_text("untouched")
    (target / "etc").symlink_to(outside)
    (target / "a").symlink_to("../outside")
    exported(worker, ExportRequest(layers=layers[:1]), target)
    assert sorted(os.listdir(outside)) == ["passwd"]
    assert (outside / "passwd").read_text() == "untouched"
    assert not (target / "etc").is_symlink()
    assert (target / "a/one").read_text() == "one"


def test_links_in_the_image_lead_nowhere(store, worker, tmp_path):
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    layers = []
    for kind in ("link", "directory"):
        directory = store.new_layer_dir()
        if kind == "link":
            os.symlink(outside, f"{directory}/diff/x")
        else:
            os.mkdir(f"{directory}/diff/x")
            _write(f"{directory}/diff/x/file", "inside")
        layers.append(store.add_layer(directory, _committed(directory)).directory)
    exported(worker, ExportRequest(layers=(layers[0],)), target)
    assert os.readlink(target / "x") == str(outside)
    exported(worker, ExportRequest(layers=tuple(layers)), target)
    assert (target / "x/file").read_text() == "inside"
    assert os.listdir(outside) == []


def test_a_failure_leaves_whole_files_only(layers, worker, target):
    os.truncate(f"{layers[0]}/diff/a/one", 1)
    with pytest.raises(StoreProblem, match="does not have the 3 bytes"):
        exported(worker, ExportRequest(layers=layers[:1]), target)
    assert [name for _, _, names in os.walk(target) for name in names if name != "link"] == []


def test_times_prefix_and_further_files(layers, worker, tmp_path):
    extra = ExtraFile(path="provenance.json", data=b"{}", mtime=7_000_000_000)
    request = ExportRequest(layers=layers[:1], prefix="linux_amd64", mtime=7_000_000_000, extras=(extra,))
    exported(worker, request, tmp_path)
    root = tmp_path / "linux_amd64"
    assert {os.lstat(path).st_mtime for path in (root, root / "a", root / "a/one", root / "a/link")} == {7}
    assert stat.S_IMODE(os.stat(root / "provenance.json").st_mode) == 0o600


def test_one_tar_of_all_files(layers, worker, tmp_path):
    extra = ExtraFile(path="b.json", data=b"{}", mtime=7_000_000_000)
    with open(tmp_path / "x.tar", "wb") as sink:
        worker.export_tar(ExportRequest(layers=layers, extras=(extra,)), sink.fileno())
    with tarfile.open(tmp_path / "x.tar") as archive:
        found = {member.name: member for member in archive}
        assert list(found) == ["a", "a/b", "a/link", "a/one", "a/pipe", "a/two", "b.json", "etc", "etc/passwd"]
        assert found["a/two"].islnk()
        assert found["a/two"].linkname == "a/one"
        assert found["a/one"].mtime == 1_600_000_001  # rounded, as Go's archive/tar does
        assert archive.extractfile("etc/passwd").read() == b"changed"


def test_an_output_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(TypeError), opened(str(path)) as sink:
        sink.writelines([b"half", None])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_attack_link_under_the_name_of_the_unfinished_output(tmp_path):
    """In a directory that others may write to, a name that can be foretold is a way to any file of the caller."""
    victim, path = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine")
    os.symlink(victim, tmp_path / f"out.{os.getpid()}.partial")
    with opened(str(path)) as sink:
        (name,) = {one for one in os.listdir(tmp_path) if one.startswith("out.")} - {f"out.{os.getpid()}.partial"}
        sink.write(b"image")
    assert victim.read_text() == "mine"
    assert path.read_text() == "image"
    with opened(str(path)):  # another one has another name
        assert not os.path.exists(tmp_path / name)
        assert sum(one.startswith("out.") for one in os.listdir(tmp_path)) == 2


# ---- packing


@pytest.mark.parametrize("kind", ["uncompressed", "gzip", "zstd"])
def test_packing_is_reproducible(store, worker, kind):
    image = random_image(store, worker, "one", seed=3)
    layer = store.layers_of(image)[0]
    blobs = []
    for _ in range(2):
        packed = Packer(store, worker, Compression(kind=kind)).pack(layer)
        with packed.open() as source:
            blobs.append(source.read())
        packed.close()
        assert Digest.of(blobs[-1]) == packed.descriptor.digest
        assert len(blobs[-1]) == packed.descriptor.size
    assert blobs[0] == blobs[1]
    unpack = {
        "uncompressed": bytes,
        "gzip": gzip.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }[kind]
    assert Digest.of(unpack(blobs[0])) == layer.diff_id
    if kind == "gzip":
        assert blobs[0][:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    assert os.listdir(f"{store.root}/tmp") == []


def test_the_level_counts(store, worker):
    layer = store.layers_of(random_image(store, worker, "one"))[0]
    packed = Packer(store, worker, Compression(level=0)).pack(layer)
    with packed.open() as source:
        assert Digest.of(zlib.decompress(source.read(), wbits=31)) == layer.diff_id
    assert packed.descriptor.size > layer.size
    packed.close()


# ---- layouts


def finished(store, image, *statements):
    return FinishedImage(
        config=store.config_bytes(image), layers=store.layers_of(image), platform=AMD, statements=statements
    )


STATEMENT = Statement(predicate_type="https://example.org/p", predicate=b'{"a":1}', name="p.json")


def test_a_layout_in_a_directory_keeps_what_else_it_names(store, worker, tmp_path):
    for name in ("one", "two", "one"):
        image = random_image(store, worker, name, seed=len(name) + os.getpid())
        layout = DirectoryLayout(str(tmp_path / "layout"))
        packer = Packer(store, worker, Compression())
        written = write_images(layout, packer, [finished(store, image)])
        layout.finish(named_descriptors(written.descriptor, [ImageRef.parse(name)], "2020-01-01T00:00:00Z"))
    index = json.loads((tmp_path / "layout/index.json").read_text())
    names = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert names == ["docker.io/library/two:latest", "docker.io/library/one:latest"]
    for entry in index["manifests"]:
        blob = (tmp_path / "layout/blobs/sha256" / entry["digest"].removeprefix("sha256:")).read_bytes()
        assert hashlib.sha256(blob).hexdigest() == entry["digest"].removeprefix("sha256:")
    (tmp_path / "layout/index.json").write_text("no index")
    with pytest.raises(InvalidInput, match="is not the index of an image layout"):
        DirectoryLayout(str(tmp_path / "layout")).finish(())


def test_attestations_are_a_manifest_of_their_own(store, worker):
    image = random_image(store, worker, "ann/one:1")
    sink = io.BytesIO()
    layout = TarLayout(sink, "x")
    names = [ImageRef.parse("ann/one:1")]
    annotations = [Annotation(key="k", value="v"), Annotation(level="index", key="i", value="w")]
    written = write_images(
        layout, Packer(store, worker, Compression()), [finished(store, image, STATEMENT)], names=names,
        annotations=annotations,
    )  # fmt: skip
    layout.finish((written.descriptor,))
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:

        def blob(digest):
            return archive.extractfile("blobs/" + digest.replace(":", "/")).read()

        index = json.loads(blob(written.descriptor.digest))
        assert index["annotations"] == {"i": "w"}
        first, second = index["manifests"]
        assert first["platform"] == {"architecture": "amd64", "os": "linux"}
        assert json.loads(blob(first["digest"]))["annotations"] == {"k": "v"}
        assert second["platform"] == {"architecture": "unknown", "os": "unknown"}
        assert second["annotations"] == {
            "vnd.docker.reference.digest": first["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        }
        manifest = json.loads(blob(second["digest"]))
        assert manifest["artifactType"] == "application/vnd.docker.attestation.manifest.v1+json"
        assert manifest["config"]["data"] == "e30="
        assert manifest["subject"]["digest"] == first["digest"]
        statement = json.loads(blob(manifest["layers"][0]["digest"]))
        assert statement == {
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "https://example.org/p",
            "subject": [
                {
                    "name": "pkg:docker/ann/one@1?platform=linux%2Famd64",
                    "digest": {"sha256": first["digest"].removeprefix("sha256:")},
                }
            ],
            "predicate": {"a": 1},
        }


def test_index_annotations_need_an_index(store, worker):
    image = random_image(store, worker, "one")
    with pytest.raises(InvalidInput, match="index annotations"):
        write_images(
            TarLayout(io.BytesIO(), "x"),
            Packer(store, worker, Compression()),
            [finished(store, image)],
            annotations=[Annotation(level="index", key="a", value="b")],
        )


def test_several_platforms_make_an_index(store, worker):
    images = [finished(store, random_image(store, worker, "one", seed=seed)) for seed in (1, 2)]
    arm = FinishedImage(config=images[1].config, layers=images[1].layers, platform=Platform("linux", "arm64", "v9"))
    sink = io.BytesIO()
    layout = TarLayout(sink, "x")
    written = write_images(layout, Packer(store, worker, Compression()), [images[0], arm])
    layout.finish((written.descriptor,))
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        index = json.loads(archive.extractfile("blobs/" + written.descriptor.digest.replace(":", "/")).read())
    assert [one["platform"] for one in index["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v9"},
    ]


def test_extras_travel_with_a_saved_image(store, worker, tmp_path):
    image = random_image(store, worker, "one")
    store.set_extras(image, Extras(statements=(STATEMENT,), annotations=(Annotation(key="k", value="v"),)))
    assert store.extras(image).statements == (STATEMENT,)
    path = str(tmp_path / "one.tar")
    save(store, worker, ["one"], path)
    with tarfile.open(path) as archive:
        index = json.loads(archive.extractfile("index.json").read())
        assert index["manifests"][0]["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert load(store, worker, path) == ("one:latest",)
    assert store.check() == ()
    store.set_extras(image, Extras())
    assert store.extras(image) == Extras()
    store.set_extras(image, Extras(statements=(STATEMENT,)))
    store.remove_image("one")
    assert os.listdir(f"{store.root}/blobs/sha256") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ubuntu:20.04", "pkg:docker/ubuntu@20.04?platform=linux%2Famd64"),
        ("localhost:5000/a/b:c", "pkg:docker/localhost:5000/a/b@c?platform=linux%2Famd64"),
    ],
)
def test_package_urls_of_images(name, expected):
    assert purl(ImageRef.parse(name), AMD) == expected
