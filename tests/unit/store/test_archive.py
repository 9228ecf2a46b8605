import bz2
import gzip
import importlib.util
import json
import lzma
import os
import tarfile
import threading
from pathlib import Path

import pytest
import zstandard

from contextkernel.errors import DigestMismatch, ImageNotFound, InvalidArchive, InvalidInput, SizeMismatch
from contextkernel.model.digest import Digest
from contextkernel.model.oci import ImageConfig, RunConfig
from contextkernel.model.reference import ImageRef
from contextkernel.store import Store
from contextkernel.store.archive import import_tar, load, save
from contextkernel.testing.stores import random_image, random_layer

_SPEC = importlib.util.spec_from_file_location("archives", Path(__file__).with_name("archives.py"))
archives = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(archives)


@pytest.fixture
def other(tmp_path):
    with Store.open(tmp_path / "other") as opened:
        yield opened


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "given.tar"
        path.write_bytes(data)
        return str(path)

    return write


def nothing_left(store):
    assert store.image_rows() == ()
    assert os.listdir(f"{store.root}/blobs/sha256") == []
    assert os.listdir(f"{store.root}/layers") == []
    assert os.listdir(f"{store.root}/tmp") == []
    assert store.check() == ()


# ---- save


def test_what_is_saved_can_be_loaded(store, other, worker, tmp_path):
    base = random_layer(store, worker, 50)
    one = random_image(store, worker, "one:a", "one:b", seed=1, base=[base])
    two = random_image(store, worker, "ann/two", seed=2, base=[base])
    path = str(tmp_path / "out.tar")
    save(store, worker, ["one:a", "one:b", "ann/two"], path)
    events = []
    assert load(other, worker, path, events.append) == ("one:a", "one:b", "ann/two:latest")
    for image in (one, two):
        assert other.config_bytes(image) == store.config_bytes(image)
        assert [layer.diff_id for layer in other.layers_of(image)] == [
            layer.diff_id for layer in store.layers_of(image)
        ]
        assert [layer.size for layer in other.layers_of(image)] == [layer.size for layer in store.layers_of(image)]
    assert {row.origin for row in other.image_rows()} == {"load"}
    assert len({event.layer for event in events}) == 5
    assert [event.phase for event in events].count("loaded") == 5
    assert other.check() == ()
    assert store.check() == ()


def test_saving_is_reproducible(store, other, worker, tmp_path):
    random_image(store, worker, "one", "two")
    save(store, worker, ["one", "two"], str(tmp_path / "a.tar"))
    load(other, worker, str(tmp_path / "a.tar"))
    save(other, worker, ["one", "two"], str(tmp_path / "b.tar"))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_the_archive_is_dockers_and_an_oci_layout(store, worker, tmp_path):
    image = random_image(store, worker, "greet", "localhost:5000/greet:v1")
    path = tmp_path / "out.tar"
    save(store, worker, ["greet", "localhost:5000/greet:v1"], str(path))
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        names = [member.name for member in members]
        assert names[:2] == ["blobs", "blobs/sha256"]
        assert names[-3:] == ["index.json", "manifest.json", "oci-layout"]
        assert {(member.uid, member.gid, member.mtime, member.uname) for member in members} == {(0, 0, 0, "")}
        for name in names[2:-3]:
            assert Digest.of(archive.extractfile(name).read()).hex == name.rpartition("/")[2]
        index = json.load(archive.extractfile("index.json"))
        docker = json.load(archive.extractfile("manifest.json"))
        layout = json.load(archive.extractfile("oci-layout"))
    assert layout == {"imageLayoutVersion": "1.0.0"}
    assert docker == [
        {
            "Config": f"blobs/sha256/{image.hex}",
            "RepoTags": ["greet:latest", "localhost:5000/greet:v1"],
            "Layers": [f"blobs/sha256/{layer.diff_id.hex}" for layer in store.layers_of(image)],
        }
    ]
    assert [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]] == [
        "docker.io/library/greet:latest",
        "localhost:5000/greet:v1",
    ]
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "latest"


def test_a_bare_name_means_all_its_tags_and_an_id_none(store, other, worker, tmp_path):
    image = random_image(store, worker, "greet:a", "greet:b", "else")
    path = str(tmp_path / "out.tar")
    save(store, worker, ["greet"], path)
    assert load(other, worker, path) == ("greet:a", "greet:b")
    save(store, worker, [image.short], path)
    assert load(other, worker, path) == (str(image),)
    with pytest.raises(ImageNotFound):
        save(store, worker, ["greet:c"], path)
    with pytest.raises(InvalidInput, match="no image to save"):
        save(store, worker, [], path)


def test_saving_to_a_pipe(store, other, worker):
    random_image(store, worker, "greet")
    reader, writer = os.pipe()

    def send():
        save(store, worker, ["greet"], writer)
        os.close(writer)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert load(other, worker, reader) == ("greet:latest",)
    finally:
        os.close(reader)
        thread.join()


def test_an_output_that_cannot_be_written_is_named(store, worker, tmp_path):
    random_image(store, worker, "greet")
    with pytest.raises(InvalidInput, match=r"cannot write the archive to .*out\.tar: no such file"):
        save(store, worker, ["greet"], str(tmp_path / "none" / "out.tar"))


def test_a_layer_that_was_changed_on_disk_is_not_saved(store, worker, tmp_path):
    image = random_image(store, worker, "greet")
    layer = store.layers_of(image)[0]
    name = min(os.listdir(f"{layer.diff}/data"))
    path = f"{layer.diff}/data/{name}"
    size = os.path.getsize(path)
    Path(path).write_bytes(b"?" * size)
    with pytest.raises(DigestMismatch, match=f"layer {layer.diff_id} of the store renders to"):
        save(store, worker, ["greet"], str(tmp_path / "out.tar"))
    assert sorted(os.listdir(tmp_path)) == ["store"], "no part of an archive is left"
    assert os.listdir(f"{store.root}/tmp") == []


# ---- load


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress], ids=lambda pack: pack.__name__
)
def test_an_old_docker_archive_however_compressed(store, worker, file, pack):
    path = file(pack(archives.docker_archive(archives.LAYER, archives.SECOND)))
    assert load(store, worker, path) == ("old:v1",)
    image = store.resolve("old:v1")
    assert image == Digest.of(archives.config(archives.LAYER, archives.SECOND))
    layers = store.layers_of(image)
    assert [layer.diff_id for layer in layers] == [Digest.of(archives.LAYER), Digest.of(archives.SECOND)]
    assert Path(layers[0].diff, "etc/hello").read_text() == "hello\n"
    assert store.check() == ()


def test_layers_that_are_links_to_others(store, worker, file):
    """Docker up to 24 wrote a repeated layer once and linked to it."""
    document = archives.config(archives.LAYER, archives.LAYER)
    item = {"Config": "config.json", "RepoTags": None, "Layers": ["a/layer.tar", "b/layer.tar"]}
    data = archives.tar(
        ("config.json", document),
        ("a/layer.tar", archives.LAYER),
        ("b/layer.tar", "../a/layer.tar"),
        ("manifest.json", json.dumps([item]).encode()),
    )
    (name,) = load(store, worker, file(data))
    assert name == str(Digest.of(document))
    assert len(store.layers_of(Digest(name))) == 2
    assert len(os.listdir(f"{store.root}/layers")) == 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=lambda pack: pack.__name__)
def test_an_oci_layout(store, worker, file, pack):
    path = file(archives.oci_archive(archives.LAYER, archives.SECOND, pack=pack))
    assert load(store, worker, path) == ("localhost/oci:v2",)
    assert len(store.layers_of(store.resolve("localhost/oci:v2"))) == 2
    assert store.check() == ()


def test_a_name_that_is_a_tag_only_is_no_name(store, worker, file):
    (name,) = load(store, worker, file(archives.oci_archive(archives.LAYER, name="latest")))
    assert name == str(Digest.of(archives.config(archives.LAYER)))


def test_a_multi_platform_index_gives_the_hosts_image(store, worker, file, monkeypatch):
    from contextkernel.model.platform import Platform

    monkeypatch.setattr(Platform, "host", classmethod(lambda _: Platform("linux", "arm64")))
    parts, entries = [], []
    for architecture in ("amd64", "arm64", "unknown"):
        manifest, blobs = archives.oci_parts(
            archives.config(archives.LAYER, architecture=architecture), [archives.LAYER]
        )
        parts += blobs
        platform = {"architecture": architecture, "os": "linux"}
        entries.append(archives.descriptor("application/vnd.oci.image.manifest.v1+json", manifest, platform=platform))
    entries[2]["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    inner = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    outer = archives.descriptor(
        "application/vnd.oci.image.index.v1+json", inner, annotations={"io.containerd.image.name": "multi:v1"}
    )
    data = archives.tar(
        ("index.json", json.dumps({"schemaVersion": 2, "manifests": [outer]}).encode()),
        (f"blobs/sha256/{Digest.of(inner).hex}", inner),
        *dict(parts).items(),
    )
    assert load(store, worker, file(data)) == ("multi:v1",)
    assert store.config(store.resolve("multi:v1")).architecture == "arm64"


def test_layers_that_are_here_already_are_not_unpacked_again(store, worker, file, monkeypatch):
    path = file(archives.docker_archive(archives.LAYER))
    load(store, worker, path)
    monkeypatch.setattr(worker, "unpack", None)
    assert load(store, worker, path) == ("old:v1",)


def test_a_layer_that_renders_otherwise_keeps_its_blob(store, other, worker, file, tmp_path):
    """Python's tar has padding up to 10 KiB, ours has none: the original must be kept to be saved again."""
    load(store, worker, file(archives.oci_archive(archives.LAYER)))
    (layer,) = store.layers_of(store.resolve("localhost/oci:v2"))
    assert layer.blob == Digest.of(gzip.compress(archives.LAYER, mtime=0))
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    path = str(tmp_path / "again.tar")
    save(store, worker, ["localhost/oci:v2"], path)
    load(other, worker, path)
    assert other.layers_of(other.resolve("localhost/oci:v2"))[0].diff_id == Digest.of(archives.LAYER)
    save(other, worker, ["localhost/oci:v2"], f"{path}2")
    assert Path(path).read_bytes() == Path(f"{path}2").read_bytes()


def test_a_layer_of_ours_needs_no_blob(store, other, worker, tmp_path):
    random_image(store, worker, "greet")
    path = str(tmp_path / "out.tar")
    save(store, worker, ["greet"], path)
    load(other, worker, path)
    layers = other.layers_of(other.resolve("greet"))
    assert [layer.blob for layer in layers] == [None, None]
    assert len(os.listdir(f"{other.root}/blobs/sha256")) == 1


# ---- what is refused


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a tar archive: empty file"),
        (b"not a tar at all, but long enough to look at" * 50, "is not a tar archive"),
        (gzip.compress(b"short"), "is not a tar archive"),
        (gzip.compress(bytes(10000))[:-20], "damaged compressed archive"),
        (archives.tar(("readme", b"hi")), "neither manifest.json nor index.json"),
        (archives.tar(("manifest.json", b"{")), "'manifest.json' in the archive cannot be understood"),
        (archives.tar(("manifest.json", b"[{}]")), "cannot be understood"),
        (archives.tar(("manifest.json", b"[]")), "has no image for"),
        (archives.tar(("manifest.json", b'[{"Config": "x.json"}]')), "lacks 'x.json'"),
        (archives.tar(("manifest.json", "manifest.json")), "leads nowhere"),
        (archives.tar(("index.json", b'{"schemaVersion": 2, "manifests": []}')), "has no image for"),
        (archives.tar(("index.json", b"{}"), ("oci-layout", b'{"imageLayoutVersion": "9"}')), "of version '9'"),
        (archives.docker_archive(archives.LAYER, tags=["Bad Name"]), "bad name"),
        (archives.docker_archive(archives.LAYER, document=archives.config()), "names 0 layers, manifest.json 1"),
        (archives.docker_archive(document=archives.config(os="windows")), "only linux|for 'windows'"),
        (archives.docker_archive(document=b"[]"), "not an image configuration"),
        (archives.docker_archive(b"no tar" * 100), "tar|damaged"),
        (archives.docker_archive(archives.LAYER)[:6000], "ends in the middle of"),
    ],
)
def test_what_is_no_image_archive_is_refused_and_leaves_nothing(store, worker, file, data, said):
    with pytest.raises(InvalidArchive, match=said):
        load(store, worker, file(data))
    nothing_left(store)


def test_a_root_file_system_is_told_to_go_to_import(store, worker, file):
    with pytest.raises(InvalidArchive) as caught:
        load(store, worker, file(archives.tar(("etc/passwd", b""))))
    assert caught.value.hint == "it looks like a root file system: use import"


def test_a_file_that_is_not_there(store, worker, tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot read .*none: no such file"):
        load(store, worker, str(tmp_path / "none"))


def test_a_layer_that_is_another_one_is_refused(store, worker, file):
    """The second layer is damaged: nothing of the first is kept, nor of the other image."""
    good, bad = archives.config(archives.LAYER), archives.config(archives.LAYER, archives.SECOND)
    items = [
        {"Config": "good.json", "RepoTags": ["good:v1"], "Layers": ["1.tar"]},
        {"Config": "bad.json", "RepoTags": ["bad:v1"], "Layers": ["1.tar", "2.tar"]},
    ]
    data = archives.tar(
        ("good.json", good), ("bad.json", bad), ("1.tar", archives.LAYER), ("2.tar", archives.LAYER + bytes(512)),
        ("manifest.json", json.dumps(items).encode()),
    )  # fmt: skip
    with pytest.raises(DigestMismatch, match=f"instead of {Digest.of(archives.SECOND)}"):
        load(store, worker, file(data))
    nothing_left(store)


def test_a_config_that_is_not_what_its_name_says(store, worker, file):
    data = archives.docker_archive(archives.LAYER)
    with pytest.raises(DigestMismatch, match="has digest"):
        load(store, worker, file(data.replace(b'"Cmd": ["sh"]', b'"Cmd": ["no"]')))
    nothing_left(store)


def test_blobs_that_are_not_what_they_are_called(store, worker, file):
    data = archives.oci_archive(archives.LAYER, pack=bytes)
    with pytest.raises(DigestMismatch):
        load(store, worker, file(data.replace(b"hello\n", b"hallo\n")))
    with pytest.raises(DigestMismatch):
        load(store, worker, file(data.replace(b'"Cmd": ["sh"]', b'"Cmd": ["no"]')))
    size = str(len(archives.LAYER)).encode()
    with pytest.raises((SizeMismatch, DigestMismatch)):
        load(store, worker, file(data.replace(b'"size": ' + size, b'"size": ' + b"9" * len(size))))
    nothing_left(store)


def test_a_bomb_is_stopped(store, worker, file):
    path = file(gzip.compress(archives.docker_archive(archives.tar(("zeros", bytes(5_000_000))))))
    with pytest.raises(InvalidArchive, match="larger than 1000000 bytes"):
        load(store, worker, path, limit=1_000_000)
    nothing_left(store)


def test_a_header_of_gigabytes_is_not_read_into_memory(store, worker, file):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    with pytest.raises(InvalidArchive, match=f"a header of the archive has {1 << 33} bytes"):
        load(store, worker, file(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))


def test_names_in_the_archive_lead_nowhere_outside(store, worker, file, tmp_path):
    (tmp_path / "secret").write_bytes(archives.config())
    item = {"Config": f"../../../../../..{tmp_path}/secret", "RepoTags": ["evil:v1"], "Layers": []}
    with pytest.raises(InvalidArchive, match="lacks"):
        load(store, worker, file(archives.tar(("manifest.json", json.dumps([item]).encode()))))
    link = archives.tar(("manifest.json", json.dumps([item | {"Config": "c"}]).encode()), ("c", f"/{tmp_path}/secret"))
    with pytest.raises(InvalidArchive, match="lacks"):
        load(store, worker, file(link))


# ---- import


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.compress, lzma.compress], ids=lambda pack: pack.__name__
)
def test_importing_a_root_file_system(store, worker, file, pack):
    image = import_tar(store, worker, file(pack(archives.LAYER)), ImageRef.parse("mine"), message="from a tar")
    assert store.resolve("mine") == image
    config = store.config(image)
    assert config.os == "linux"
    assert config.rootfs.diff_ids == (Digest.of(archives.LAYER),)
    (row,) = store.history_rows(image)
    assert (row.comment, row.size) == ("from a tar", 6)
    assert store.image_rows()[0].origin == "import"
    assert store.check() == ()


def test_importing_with_a_config_is_reproducible(store, worker, file):
    config = ImageConfig(
        architecture="arm64", os="linux", created="2020-01-01T00:00:00Z", config=RunConfig(cmd=("bash",))
    )
    path = file(archives.LAYER)
    one = import_tar(store, worker, path, None, config=config, origin="stand-in: host files")
    assert import_tar(store, worker, path, ImageRef.parse("mine"), config=config) == one
    found = store.config(one)
    assert (found.architecture, found.created, found.config.cmd) == ("arm64", "2020-01-01T00:00:00Z", ("bash",))
    assert found.history[0].comment == "Imported from -"
    assert store.image_rows()[0].origin == "stand-in: host files"


def test_importing_something_else_leaves_nothing(store, worker, file):
    with pytest.raises(InvalidArchive):
        import_tar(store, worker, file(b"nothing like it" * 100), ImageRef.parse("mine"))
    nothing_left(store)
