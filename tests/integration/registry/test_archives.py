"""Images as files, with the real engine: packs for rooms without a network, options of save, load and import."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from judge.base import write_base

from contextkernel import Engine
from contextkernel.errors import FetchFailed, ImageNotFound, InvalidInput, RegistryUnreachable

BASE = "base:v1"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def inspected(engine, name):
    (document,) = engine.inspect([name])
    return document


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archives")
    write_base(folder / "base.tar")
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    with Engine(folder / "store") as made:
        made.import_image(str(folder / "base.tar"), BASE, changes=["ENV A=1 B=2", 'CMD ["echo", "hello"]'])
        made.import_image(str(folder / "base.tar"), "other:arm", platform="linux/arm64")
        yield made


@pytest.fixture
def other(tmp_path):
    with Engine(tmp_path / "other") as made:
        yield made


@pytest.fixture(scope="module")
def site(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_import_has_dockers_options(engine, folder, site):
    config = inspected(engine, BASE)["Config"]
    assert (config["Env"], config["Cmd"]) == (["A=1", "B=2"], ["echo", "hello"])
    assert inspected(engine, "other:arm")["Architecture"] == "arm64"
    image = engine.import_image(f"{site}/base.tar", "fetched")
    assert engine.history("fetched")[0].comment == f"Imported from {site}/base.tar"
    unnamed = engine.import_image(str(folder / "base.tar"), message="by hand")
    assert engine.history(str(unnamed))[0].comment == "by hand"
    assert {layer for one in (image, unnamed) for layer in inspected(engine, str(one))["RootFS"]["Layers"]} == set(
        inspected(engine, BASE)["RootFS"]["Layers"]
    )
    before = len(engine.images())
    for change in ("RUN true", "FROM x", "nonsense"):
        with pytest.raises(InvalidInput, match="is not a valid change command"):
            engine.import_image(str(folder / "base.tar"), "never", changes=[change])
    with pytest.raises(FetchFailed, match="404"):
        engine.import_image(f"{site}/none.tar", "never")
    with pytest.raises(InvalidInput, match="'windows' is not supported"):
        engine.import_image(str(folder / "base.tar"), "never", platform="windows/amd64")
    with pytest.raises(InvalidInput, match="cannot import digest reference"):
        engine.import_image(str(folder / "base.tar"), f"never@sha256:{'0' * 64}")
    assert len(engine.images()) == before


@pytest.mark.parametrize("output", ["course", "course.tar"])
def test_a_course_goes_into_a_room_without_a_network(engine, other, tmp_path, monkeypatch, output):
    pack = str(tmp_path / output)
    (row,) = engine.pack([BASE], pack)
    assert (row.image, row.action, row.stand_in, row.detail.split(":")[0]) == (BASE, "packed", False, "from the store")
    engine.pack([BASE], pack)  # again, in the same place
    assert other.load(pack) == (BASE,)
    assert other.run(BASE, network="none", remove=True).stdout_text == "hello\n"
    other.remove_image(BASE)
    monkeypatch.setenv("CONTEXTKERNEL_PACK", pack)
    (ensured,) = other.ensure_bases([BASE])
    assert (ensured.action, ensured.stand_in) == ("loaded", False)
    assert inspected(other, BASE)["Id"] == inspected(engine, BASE)["Id"]


def test_a_pack_for_another_platform_and_one_that_lacks_something(engine, other, tmp_path, monkeypatch):
    def unreachable(*_args, **_keywords):
        raise RegistryUnreachable("nobody answers")

    monkeypatch.setattr("contextkernel.registry.pull_image", unreachable)
    with pytest.raises(ImageNotFound, match="nothing was packed: image 'localhost:1/none:v1' is not in the store"):
        engine.pack([BASE, "localhost:1/none:v1"], str(tmp_path / "never"))
    assert not (tmp_path / "never").exists()
    engine.pack(["other:arm"], str(tmp_path / "arm"), platform="linux/arm64", compression="zstd")
    (entry,) = json.loads((tmp_path / "arm/index.json").read_text())["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/library/other:arm"
    assert other.load(str(tmp_path / "arm"), platform="linux/arm64") == ("other:arm",)
    with pytest.raises(InvalidInput) as found:
        other.load(str(tmp_path / "arm"), platform="linux/s390x")
    assert found.value.hint == "it has images for linux/arm64"


def test_a_bare_name_means_all_its_tags(engine, other, tmp_path):
    engine.tag(BASE, "several:a")
    engine.tag(BASE, "several:b")
    events = []
    engine.save(["several"], str(tmp_path / "out.tar"))
    assert other.load(str(tmp_path / "out.tar"), report=events.append) == ("several:a", "several:b")
    assert [event.phase for event in events][-1] == "loaded"
