"""One tree, built on two stores at two times in two places by two kinds of worker: the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contextkernel import host
from contextkernel.build import Builder, BuildRequest
from contextkernel.build.hostfiles import write_root
from contextkernel.errors import InvalidInput
from contextkernel.model.digest import Digest
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.oci import ImageConfig, RunConfig
from contextkernel.model.outputs import Output, Provenance, Sbom, parse_output
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import BuildResult
from contextkernel.runtime.client import NamespaceRuntime
from contextkernel.store import Store
from contextkernel.store.archive import import_tar, load
from contextkernel.store.worker_client import LayerWorkerClient

EPOCH = 1_500_000_000
FILES = {
    "a": "one",
    "b": "two",
    "tree/deep/x": "three",
    "tree/y": "four",
    "tree/with space": "five",
    "tree/\u00fc": "six",
}
COPIES = """\
FROM scratch
WORKDIR /app/deep
COPY . /app/
COPY --chown=12:34 --chmod=4750 tree /made/parents/
COPY <<EOF /app/heredoc
text
EOF
ENV A=b
LABEL c=d
"""
RUNS = """\
FROM base
COPY . /app/
WORKDIR /app
RUN mkdir /r && for i in 3 1 2; do echo $i > /r/$i; done && ln /r/1 /r/hard && ln -s 1 /r/soft && chmod 4711 /r/2
RUN rm /r/3 && mv a z && mkdir -p /r/new/dir && rm -r tree/deep
"""
#: id of the image of COPIES for linux/amd64: the same for every user and host, at any time
COPIES_IMAGE = "sha256:36afd2510b4535334d2db67a315404fa2a261eb34d43680c24a9c9ee946ce1fe"


@pytest.fixture(scope="module")
def root_tar(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("base") / "base.tar")
    write_root(path, "base")
    return path


def single_ids() -> IdMap:
    return IdMap(uids=(IdRange(0, os.getuid(), 1),), gids=(IdRange(0, os.getgid(), 1),))


class Place:
    """A store, a context and a clock of its own."""

    def __init__(self, root: Path, root_tar: str, *, hours: int, single: bool, backwards: bool) -> None:
        root.mkdir()
        self.root = root
        self.store = Store.open(root / "store")
        idmap = single_ids() if single else host.idmap(self.store.root)
        self.worker = LayerWorkerClient(idmap)
        self.runtime = NamespaceRuntime(idmap)
        config = ImageConfig(
            architecture=Platform.host().architecture,
            os="linux",
            config=RunConfig(cmd=("/bin/sh",)),
            created="2001-01-01T00:00:00Z",
        )
        import_tar(self.store, self.worker, root_tar, ImageRef.parse("base"), config=config)
        self.builder = Builder(
            self.store,
            self.worker,
            self.runtime,
            self.resolve,
            fake_ids=idmap.single,
            now=lambda: (EPOCH + hours * 3600) * 1_000_000_000,
        )
        self.context = root / "context"
        for name in sorted(FILES, reverse=backwards):
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(FILES[name])
            path.chmod(0o644)
        for folder in ("", "tree", "tree/deep"):
            (self.context / folder).chmod(0o755)

    def resolve(self, ref: ImageRef, **_: Any) -> Digest:
        return self.store.resolve(str(ref))

    def build(self, text: str, *outputs: str, epoch: int | None = EPOCH, **options: Any) -> BuildResult:
        request = BuildRequest(
            context=str(self.context),
            dockerfile=text,
            build_args={} if epoch is None else {"SOURCE_DATE_EPOCH": str(epoch)},
            outputs=tuple(self._output(one) for one in outputs),
            tags=(ImageRef.parse("made:1"),),
            **options,
        )
        return self.builder.build(request, lambda _: None)

    def _output(self, text: str) -> Output:
        return parse_output(text.replace("DIR", str(self.root)))

    def close(self) -> None:
        self.runtime.close()
        self.worker.remove([str(self.root / "store/layers")])
        self.worker.close()
        self.store.close()


@pytest.fixture
def places(tmp_path: Path, root_tar: str) -> Iterator[tuple[Place, ...]]:
    made = (
        Place(tmp_path / "one", root_tar, hours=1, single=False, backwards=False),
        Place(tmp_path / "another-place", root_tar, hours=200, single=False, backwards=True),
        Place(tmp_path / "single", root_tar, hours=3, single=True, backwards=True),
    )
    yield made
    for place in made:
        place.close()


OCI = "type=oci,dest=DIR/a.tar,rewrite-timestamp=true"


@pytest.mark.parametrize("text", [COPIES, RUNS], ids=["copies", "runs"])
def test_the_same_image_bit_for_bit(places: tuple[Place, ...], text: str) -> None:
    results = [place.build(text, "type=image,rewrite-timestamp=true", OCI) for place in places]
    archives = [hashlib.sha256((place.root / "a.tar").read_bytes()).hexdigest() for place in places]
    details = [place.store.config_bytes(result.image) for place, result in zip(places, results, strict=True)]
    assert details[0] == details[1] == details[2]
    assert len({result.image for result in results}) == 1
    assert len({result.metadata["containerimage.digest"] for result in results}) == 1
    assert len(set(archives)) == 1
    again = places[0].build(text, OCI.replace("a.tar", "b.tar"))  # from the cache
    assert again.image == results[0].image
    assert (places[0].root / "b.tar").read_bytes() == (places[0].root / "a.tar").read_bytes()
    # without a time of its own, an image tells when it was made: what is compared above can differ
    assert len({place.build(text, "type=cacheonly", epoch=None).image for place in places}) == 3


def test_the_time_is_everywhere(places: tuple[Place, ...]) -> None:
    place = places[0]
    result = place.build(
        COPIES, "type=image,rewrite-timestamp=true", "type=tar,dest=DIR/f.tar", "type=local,dest=DIR/f"
    )
    config = json.loads(place.store.config_bytes(result.image))
    assert config["created"] == "2017-07-14T02:40:00Z"
    assert {entry["created"] for entry in config["history"]} == {"2017-07-14T02:40:00Z"}
    with tarfile.open(place.root / "f.tar") as archive:
        assert {member.mtime for member in archive} == {EPOCH}
        member = archive.getmember("made/parents/y")
        assert (member.uid, member.gid, member.mode) == (12, 34, 0o4750)
    for folder, _, names in os.walk(place.root / "f"):
        assert {os.stat(os.path.join(folder, name)).st_mtime for name in names} <= {EPOCH}
    assert os.stat(place.root / "f/made/parents/y").st_uid == os.getuid()


def test_the_image_of_every_user_and_host(places: tuple[Place, ...]) -> None:
    made = places[0].build(COPIES, "type=cacheonly", platform=Platform("linux", "amd64"))
    found = places[0].build(COPIES, OCI, platform=Platform("linux", "amd64")).image
    assert made.image != found  # the second has times cut
    assert found == COPIES_IMAGE


def test_a_time_that_is_none_is_refused(places: tuple[Place, ...]) -> None:
    request = BuildRequest(context=None, dockerfile="FROM scratch\n", build_args={"SOURCE_DATE_EPOCH": "soon"})
    with pytest.raises(InvalidInput, match="invalid SOURCE_DATE_EPOCH"):
        places[0].builder.build(request, lambda _: None)


@pytest.mark.may_skip
@pytest.mark.parametrize("form", ["gzip", "zstd", "uncompressed"])
def test_other_tools_take_what_is_written(places: tuple[Place, ...], form: str) -> None:
    place = places[0]
    place.build(
        RUNS,
        f"type=oci,dest=DIR/a.tar,compression={form}",
        f"type=oci,dest=DIR/layout,tar=false,compression={form}",
        f"type=docker,dest=DIR/d.tar,compression={form}",
        attests=(Provenance(full=True), Sbom()),
    )
    assert load(places[1].store, places[1].worker, str(place.root / "a.tar")) == ("made:1",)
    assert load(places[2].store, places[2].worker, str(place.root / "d.tar")) == ("made:1",)
    assert places[1].store.config_bytes(places[1].store.resolve("made:1")) == places[2].store.config_bytes(
        places[2].store.resolve("made:1")
    )
    for source in (f"oci-archive:{place.root}/a.tar", f"oci:{place.root}/layout:1"):
        try:
            done = subprocess.run(["skopeo", "inspect", source], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("skopeo is not installed")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["Os"] == "linux"
