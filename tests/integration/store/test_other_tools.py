"""Archives go to other tools and come back; skipped, with the reason printed, where a tool is missing."""

import json
import os
import shutil
import subprocess

import pytest

from contextkernel.model.digest import Digest
from contextkernel.model.outputs import Compression
from contextkernel.store import Store
from contextkernel.store.archive import load, save
from contextkernel.store.archive_save import save_layout
from contextkernel.testing.stores import InProcessLayerWorker, random_image

pytestmark = pytest.mark.may_skip


def tool(name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def done(*words):
    finished = subprocess.run(words, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    return finished.stdout


@pytest.fixture
def saved(tmp_path):
    worker = InProcessLayerWorker()
    with Store.open(tmp_path / "store") as store:
        image = random_image(store, worker, "greet", "localhost:5000/greet:v1", layers=3)
        path = str(tmp_path / "out.tar")
        save(store, worker, ["greet", "localhost:5000/greet:v1"], path)
        yield store, image, path


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_is_saved(saved, transport):
    tool("skopeo")
    store, image, path = saved
    name = f"{transport}:{path}:localhost:5000/greet:v1" if transport == "docker-archive" else f"{transport}:{path}:v1"
    config = done("skopeo", "inspect", "--config", "--raw", name)
    assert Digest.of(config) == image
    facts = json.loads(done("skopeo", "inspect", name))
    assert facts["Layers"] == [layer.diff_id for layer in store.layers_of(image)]


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes_is_loaded(saved, tmp_path, transport):
    tool("skopeo")
    store, image, path = saved
    copied = str(tmp_path / f"{transport}.tar")
    done(
        "skopeo", "--insecure-policy", "copy", f"docker-archive:{path}:greet:latest", f"{transport}:{copied}:again:v3"
    )  # fmt: skip
    with Store.open(tmp_path / "other") as other:
        assert load(other, InProcessLayerWorker(), copied) == ("again:v3",)
        loaded = other.resolve("again:v3")
        if transport == "docker-archive":
            assert loaded == image  # for OCI skopeo writes the configuration anew
        assert other.config(loaded).config == store.config(image).config
        assert [layer.diff_id for layer in other.layers_of(loaded)] == [
            layer.diff_id for layer in store.layers_of(image)
        ]
        assert other.check() == ()


def test_umoci_unpacks_what_is_saved(saved, tmp_path):
    tool("umoci")
    store, image, path = saved
    layout = tmp_path / "layout"
    layout.mkdir()
    done("tar", "-xf", path, "-C", str(layout))
    done("umoci", "unpack", "--rootless", "--image", f"{layout}:v1", str(tmp_path / "bundle"))
    files = {name for layer in store.layers_of(image) for name in os.listdir(f"{layer.diff}/data")}
    assert set(os.listdir(tmp_path / "bundle" / "rootfs" / "data")) == files


def test_what_umoci_writes_is_loaded(tmp_path):
    tool("umoci")
    layout = str(tmp_path / "layout")
    done("umoci", "init", "--layout", layout)
    done("umoci", "new", "--image", f"{layout}:v1")
    content = tmp_path / "content"
    content.mkdir()
    # umoci insert leaves out the padding after the last file; whole blocks need none
    (content / "hello").write_text("hello\n" * 256)
    done("umoci", "insert", "--rootless", "--image", f"{layout}:v1", str(content), "/opt")
    done("umoci", "config", "--image", f"{layout}:v1", "--config.cmd", "sh")
    archive = str(tmp_path / "umoci.tar")
    done("tar", "-cf", archive, "-C", layout, ".")
    with Store.open(tmp_path / "other") as store:
        (name,) = load(store, InProcessLayerWorker(), archive)
        image = store.resolve(name)
        assert store.config(image).config.cmd == ("sh",)
        (layer,) = store.layers_of(image)
        with open(f"{layer.diff}/opt/hello", encoding="ascii") as source:
            assert source.read() == "hello\n" * 256
        assert store.check() == ()


# ---- every form, both ways


@pytest.mark.parametrize("packing", ["gzip", "zstd", "uncompressed"])
def test_skopeo_reads_a_layout_of_ours(saved, tmp_path, packing):
    tool("skopeo")
    store, image, _ = saved
    layout = str(tmp_path / "laid")
    save_layout(
        store, InProcessLayerWorker(), ["localhost:5000/greet:v1"], layout, compression=Compression(kind=packing)
    )
    done("skopeo", "--insecure-policy", "copy", f"oci:{layout}:v1", f"dir:{tmp_path}/copied")
    assert Digest.of(done("skopeo", "inspect", "--config", "--raw", f"oci:{layout}:v1")) == image
    if packing == "zstd":
        return  # skopeo makes no docker-archive of it
    done("skopeo", "--insecure-policy", "copy", f"oci:{layout}:v1", f"docker-archive:{tmp_path}/again.tar:again:v1")
    with Store.open(tmp_path / "other") as other:
        assert load(other, InProcessLayerWorker(), f"{tmp_path}/again.tar") == ("again:v1",)
        assert other.resolve("again:v1") == image


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_layouts_of_skopeo_are_loaded_as_directories(saved, tmp_path, packing):
    tool("skopeo")
    store, image, path = saved
    layout = str(tmp_path / "laid")
    words = ("--dest-compress", "--dest-compress-format", packing)
    done("skopeo", "--insecure-policy", "copy", *words, f"docker-archive:{path}:greet:latest", f"oci:{layout}:a/b:v3")
    with Store.open(tmp_path / "other") as other:
        assert load(other, InProcessLayerWorker(), layout) == ("a/b:v3",)
        assert [layer.diff_id for layer in other.layers_of(other.resolve("a/b:v3"))] == [
            layer.diff_id for layer in store.layers_of(image)
        ]
        assert other.check() == ()


def test_umoci_unpacks_a_layout_of_ours_and_its_own_is_loaded_as_a_directory(saved, tmp_path):
    tool("umoci")
    store, _, _ = saved
    layout = str(tmp_path / "laid")
    save_layout(store, InProcessLayerWorker(), ["localhost:5000/greet:v1"], layout)
    done("umoci", "config", "--image", f"{layout}:v1", "--tag", "v2", "--config.cmd", "sh")
    done("umoci", "unpack", "--rootless", "--image", f"{layout}:v2", str(tmp_path / "bundle"))
    with Store.open(tmp_path / "other") as other:
        names = load(other, InProcessLayerWorker(), layout)
        assert names[0] == "localhost:5000/greet:v1"
        assert [other.config(other.resolve(name)).config.cmd for name in names][1] == ("sh",)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_buildah_reads_and_writes_what_we_do(saved, tmp_path, form):
    tool("buildah")
    store, image, path = saved
    place = ("--root", f"{tmp_path}/storage", "--runroot", f"{tmp_path}/run", "--storage-driver", "vfs")
    source = f"{form}:{path}:{'localhost:5000/greet:v1' if form == 'docker-archive' else 'v1'}"
    taken = done("buildah", *place, "pull", "-q", source).decode().strip()
    written = f"{tmp_path}/buildah.tar"
    done("buildah", *place, "push", "-q", taken, f"{form}:{written}:back:v9")
    with Store.open(tmp_path / "other") as other:
        assert load(other, InProcessLayerWorker(), written) == ("back:v9",)
        loaded = other.resolve("back:v9")
        assert other.config(loaded).config == store.config(image).config
        assert [layer.diff_id for layer in other.layers_of(loaded)] == [
            layer.diff_id for layer in store.layers_of(image)
        ]
        assert other.check() == ()
