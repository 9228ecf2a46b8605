"""Archives with images for several platforms, and directories in the place of archives."""

import importlib.util
import json
import os
import tarfile
from pathlib import Path

import pytest

from contextkernel.errors import DigestMismatch, ImageNotFound, InvalidArchive, InvalidInput
from contextkernel.model.digest import Digest
from contextkernel.model.events import StepNote
from contextkernel.model.oci import ImageConfig
from contextkernel.model.outputs import Compression
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.store import Store, archive_images
from contextkernel.store.archive import import_tar, load, save
from contextkernel.store.archive_file import ArchiveFile
from contextkernel.store.archive_save import save_layout

_SPEC = importlib.util.spec_from_file_location("archives", Path(__file__).with_name("archives.py"))
archives = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(archives)

AMD, ARM, ARMV6 = Platform("linux", "amd64"), Platform("linux", "arm64"), Platform("linux", "arm", "v6")
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
GREET = ImageRef.parse("greet")


@pytest.fixture(autouse=True)
def amd64(monkeypatch):
    monkeypatch.setattr(Platform, "host", classmethod(lambda _: AMD))


@pytest.fixture
def other(tmp_path):
    with Store.open(tmp_path / "other") as opened:
        yield opened


@pytest.fixture
def both(store, worker, tmp_path):
    """``greet`` for amd64, and for arm64 beside it."""
    path = tmp_path / "root.tar"
    images = {}
    for platform, layer in ((AMD, archives.LAYER), (ARM, archives.SECOND)):
        path.write_bytes(layer)
        config = ImageConfig(architecture=platform.architecture, os="linux", created="2020-01-01T00:00:00Z")
        name = GREET if platform == AMD else None
        images[platform] = import_tar(store, worker, str(path), name, config=config)
    store.remember_platform(GREET, ARM, images[ARM])
    return images


def unpacked(path, target):
    for name, data in members(path).items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    return str(target)


def blob(descriptor):
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def members(path):
    with tarfile.open(path) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive.getmembers() if one.isfile()}


# ---- save


def test_several_platforms_under_one_name_are_an_index(store, other, worker, tmp_path, both):
    path = str(tmp_path / "out.tar")
    save(store, worker, ["greet"], path, platforms=[AMD, ARM])
    files = members(path)
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["mediaType"] == INDEX
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/library/greet:latest"
    inner = json.loads(files[blob(entry)])
    assert [one["platform"]["architecture"] for one in inner["manifests"]] == ["amd64", "arm64"]
    (item,) = json.loads(files["manifest.json"])  # what docker reads is for this host
    assert item["Config"] == f"blobs/sha256/{both[AMD].hex}"
    assert load(other, worker, path) == ("greet:latest",)
    assert other.resolve("greet") == both[AMD]
    assert load(other, worker, path, platform=ARM) == ("greet:latest",)
    assert other.resolve("greet") == both[AMD], "the name stays with the image for this host"
    assert other.for_platform(GREET, ARM) == both[ARM]
    assert other.check() == ()


def test_one_platform_is_chosen(store, other, worker, tmp_path, both):
    path = str(tmp_path / "out.tar")
    save(store, worker, ["greet"], path, platforms=[ARM])
    assert load(other, worker, path) == ("greet:latest",)
    assert other.resolve("greet") == both[ARM]


@pytest.mark.parametrize("name", ["greet", "greet:latest", None], ids=["bare", "tag", "id"])
def test_a_platform_that_is_not_here_is_named(store, worker, tmp_path, both, name):
    with pytest.raises(ImageNotFound, match=r"no suitable export target found for platform linux/arm/v6") as found:
        save(store, worker, [name or both[AMD].short], str(tmp_path / "out.tar"), platforms=[ARMV6])
    assert "is here for linux/amd64" in found.value.problem
    assert not (tmp_path / "out.tar").exists()


def test_an_id_is_for_its_own_platform(store, other, worker, tmp_path, both):
    path = str(tmp_path / "out.tar")
    save(store, worker, [str(both[ARM])], path, platforms=[ARM])
    assert load(other, worker, path) == (str(both[ARM]),)


# ---- load


def test_what_an_archive_has_instead_is_said(other, worker, tmp_path):
    path = tmp_path / "out.tar"
    path.write_bytes(archives.docker_archive(archives.LAYER))
    with pytest.raises(InvalidArchive, match="has no image for linux/arm64") as found:
        load(other, worker, str(path), platform=ARM)
    assert found.value.hint == "it has images for linux/amd64"
    path.write_bytes(archives.oci_archive(archives.LAYER))
    with pytest.raises(InvalidArchive, match="has no image for linux/arm64") as found:
        load(other, worker, str(path), platform=ARM)
    assert found.value.hint == "it has images for linux/amd64"
    assert other.image_rows() == ()


def test_the_best_variant_of_an_index_is_taken(other, worker, tmp_path):
    parts, entries = [], []
    for variant in ("v5", "v7", "v6"):
        document = archives.config(archives.LAYER, architecture="arm", variant=variant)
        manifest, blobs = archives.oci_parts(document, [archives.LAYER])
        parts += blobs
        platform = {"architecture": "arm", "os": "linux", "variant": variant}
        entries.append(archives.descriptor(MANIFEST, manifest, platform=platform))
    inner = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    outer = archives.descriptor(INDEX, inner, annotations={"io.containerd.image.name": "multi:v1"})
    index = json.dumps({"schemaVersion": 2, "manifests": [outer]}).encode()
    path = tmp_path / "multi.tar"
    path.write_bytes(archives.tar(("index.json", index), (blob(outer), inner), *dict(parts).items()))
    load(other, worker, str(path), platform=ARMV6)
    assert other.config(other.for_platform(ImageRef.parse("multi:v1"), ARMV6)).variant == "v6"
    with pytest.raises(InvalidArchive) as found:
        load(other, worker, str(path))
    assert found.value.hint == "it has images for linux/arm/v5, linux/arm/v6, linux/arm/v7"


def test_only_one_image_of_many(store, other, worker, tmp_path, both):
    store.tag(both[ARM], ImageRef.parse("else:v1"))
    path = str(tmp_path / "out.tar")
    save(store, worker, ["greet", "else:v1"], path)
    assert load(other, worker, path, only=ImageRef.parse("else:v1")) == ("else:v1",)
    assert [row.repository for row in other.image_rows()] == ["else"]
    with pytest.raises(ImageNotFound, match="has no image no:v1") as found:
        load(other, worker, path, only=ImageRef.parse("no:v1"))
    assert found.value.hint == "it has else:v1, greet:latest"


def test_a_name_that_is_taken_from_another_image_is_told_in_dockers_words(other, worker, tmp_path):
    path = tmp_path / "out.tar"
    path.write_bytes(archives.docker_archive(archives.LAYER))
    load(other, worker, str(path))
    before = other.resolve("old:v1")
    path.write_bytes(archives.docker_archive(archives.SECOND))
    events = []
    load(other, worker, str(path), events.append)
    load(other, worker, str(path), events.append)  # now it is its own
    assert [one.text for one in events if isinstance(one, StepNote)] == [
        f"The image old:v1 already exists, renaming the old one with ID {before} to empty string"
    ]
    assert other.resolve("old:v1") != before


def named_archive(form, name):
    """An archive that gives an image a name with a digest."""
    if form == "oci":
        return archives.oci_archive(archives.LAYER, name=name)
    return archives.docker_archive(archives.LAYER, tags=(name,))


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_archive_cannot_claim_another_images_digest(other, worker, tmp_path, form):
    path = tmp_path / "evil.tar"
    path.write_bytes(named_archive(form, f"ubuntu@sha256:{'ab' * 32}"))
    with pytest.raises(InvalidArchive, match="is not its digest"):
        load(other, worker, str(path))
    assert other.image_rows() == ()


def test_a_name_with_the_images_own_digest_is_kept(other, worker, tmp_path):
    path = tmp_path / "good.tar"
    manifest, _ = archives.oci_parts(archives.config(archives.LAYER), [archives.LAYER])
    name = f"ubuntu@{Digest.of(manifest)}"
    path.write_bytes(named_archive("oci", name))
    assert load(other, worker, str(path)) == (name,)
    assert other.resolve(name) == Digest.of(archives.config(archives.LAYER))


def test_a_layout_without_names_takes_dockers(other, worker, tmp_path):
    path = tmp_path / "both.tar"
    plain, docker = archives.oci_archive(archives.LAYER, name="v1", pack=bytes), archives.config(archives.LAYER)
    path.write_bytes(plain)
    files = members(path)
    layer = f"blobs/sha256/{Digest.of(archives.LAYER).hex}"
    item = {"Config": f"blobs/sha256/{Digest.of(docker).hex}", "RepoTags": ["given:v1"], "Layers": [layer]}
    path.write_bytes(archives.tar(*files.items(), ("manifest.json", json.dumps([item]).encode())))
    assert load(other, worker, str(path)) == ("given:v1",)


def test_a_directory_keeps_what_it_has(store, other, worker, tmp_path, both):
    store.tag(both[ARM], ImageRef.parse("else:v1"))
    folder = str(tmp_path / "laid")
    save_layout(store, worker, ["greet"], folder)
    save_layout(store, worker, ["else:v1"], folder)
    assert sorted(load(other, worker, folder)) == ["else:v1", "greet:latest"]


def laid(*entries, blobs=()):
    """A layout with these entries in its index."""
    index = json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode()
    return archives.tar(("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index), *blobs)


def artifact(kind):
    """Descriptor and blobs of something that is no image."""
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": archives.descriptor(kind, b"{}"),
            "layers": [archives.descriptor("application/x", b"content")],
        }
    ).encode()
    return archives.descriptor(MANIFEST, manifest), [
        (f"blobs/sha256/{Digest.of(data).hex}", data) for data in (b"{}", b"content", manifest)
    ]


def test_what_is_no_image_is_named_or_passed_over(other, worker, tmp_path):
    path = tmp_path / "chart.tar"
    chart, blobs = artifact("application/vnd.cncf.helm.config.v1+json")
    path.write_bytes(laid(chart, blobs=blobs))
    with pytest.raises(InvalidArchive, match=r"has no image, but application/vnd\.cncf\.helm\.config\.v1\+json"):
        load(other, worker, str(path))
    manifest, more = archives.oci_parts(archives.config(archives.LAYER), [archives.LAYER])
    image = archives.descriptor(MANIFEST, manifest, annotations={"io.containerd.image.name": "beside:v1"})
    path.write_bytes(laid(chart, image, blobs=[*blobs, *more]))
    assert load(other, worker, str(path)) == ("beside:v1",)


def test_what_is_referred_to_without_end_is_read_once(other, worker, tmp_path, monkeypatch):
    path = tmp_path / "many.tar"
    manifest, blobs = archives.oci_parts(archives.config(archives.LAYER), [archives.LAYER])
    inner = json.dumps(
        {"schemaVersion": 2, "manifests": [archives.descriptor(MANIFEST, manifest) for _ in range(100)]}
    ).encode()
    entries = [
        archives.descriptor(INDEX, inner, annotations={"io.containerd.image.name": f"many:v{number}"})
        for number in range(300)
    ]
    path.write_bytes(laid(*entries, blobs=[(blob(entries[0]), inner), *blobs]))
    read = []
    document = ArchiveFile.document
    monkeypatch.setattr(ArchiveFile, "document", lambda self, name: (read.append(name), document(self, name))[1])
    assert len(load(other, worker, str(path))) == 300
    assert len(read) < 10


def test_configurations_have_a_bound_together(other, worker, tmp_path, monkeypatch):
    path = tmp_path / "large.tar"
    path.write_bytes(archives.docker_archive(archives.LAYER))
    monkeypatch.setattr(archive_images, "_MOST_CONFIGS", 100)
    with pytest.raises(InvalidArchive, match="have more than 100 bytes"):
        load(other, worker, str(path))


# ---- directories


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_a_directory_is_as_good_as_an_archive(other, worker, tmp_path, form):
    path = tmp_path / "out.tar"
    made = archives.oci_archive if form == "oci" else archives.docker_archive
    path.write_bytes(made(archives.LAYER, archives.SECOND))
    (name,) = load(other, worker, unpacked(path, tmp_path / "laid"))
    assert len(other.layers_of(other.resolve(name))) == 2
    assert other.check() == ()


@pytest.mark.parametrize("kind", ["gzip", "zstd", "uncompressed"])
def test_a_layout_is_written_and_read(store, other, worker, tmp_path, both, kind):
    folder = str(tmp_path / "laid")
    save_layout(store, worker, ["greet"], folder, platforms=[AMD, ARM], compression=Compression(kind=kind))
    save_layout(store, worker, ["greet"], folder, platforms=[AMD, ARM], compression=Compression(kind=kind))
    assert json.loads(Path(folder, "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert len(json.loads(Path(folder, "index.json").read_text())["manifests"]) == 1
    assert load(other, worker, folder) == ("greet:latest",)
    assert load(other, worker, folder, platform=ARM) == ("greet:latest",)
    assert other.for_platform(GREET, ARM) == both[ARM]


def test_nothing_in_a_directory_leads_outside(other, worker, tmp_path):
    (tmp_path / "secret").write_bytes(archives.config())
    folder = tmp_path / "evil"
    folder.mkdir()
    for name, target in (("../secret", None), ("link", "../secret"), ("absolute", str(tmp_path / "secret"))):
        if target is not None:
            os.symlink(target, folder / name)
        item = {"Config": name, "RepoTags": ["evil:v1"], "Layers": []}
        (folder / "manifest.json").write_text(json.dumps([item]))
        with pytest.raises(InvalidArchive, match=r"lacks|leads out of the directory"):
            load(other, worker, str(folder))
    assert other.image_rows() == ()


def test_a_pipe_in_a_directory_holds_up_nobody(other, worker, tmp_path):
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(InvalidArchive, match=r"neither manifest\.json nor index.json"):
        load(other, worker, str(tmp_path))


@pytest.mark.usefixtures("both")
def test_a_directory_that_was_damaged(store, other, worker, tmp_path):
    folder = tmp_path / "laid"
    save_layout(store, worker, ["greet"], str(folder))
    index = json.loads((folder / "index.json").read_text())
    inner = json.loads((folder / blob(index["manifests"][0])).read_text())
    layer = folder / blob(inner["layers"][0])
    data = layer.read_bytes()
    layer.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DigestMismatch):
        load(other, worker, str(folder))
    layer.unlink()
    with pytest.raises(InvalidArchive, match="lacks"):
        load(other, worker, str(folder))
    assert other.image_rows() == ()
    assert os.listdir(f"{other.root}/layers") == []


def test_a_directory_that_cannot_be_read(other, worker, tmp_path):
    with pytest.raises(InvalidInput, match="no such file"):
        load(other, worker, str(tmp_path / "none"))
    with pytest.raises(InvalidArchive, match=r"neither manifest\.json nor index.json"):
        load(other, worker, str(tmp_path))


def test_documents_nested_without_end_are_refused(other, worker, tmp_path):
    path = tmp_path / "deep.tar"
    path.write_bytes(archives.tar(("index.json", b"[" * 100_000)))
    with pytest.raises(InvalidArchive, match="cannot be understood"):
        load(other, worker, str(path))
