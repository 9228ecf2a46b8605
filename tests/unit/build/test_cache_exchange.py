"""Caches that come from elsewhere and go there: what arrives, what is refused, and that nothing wrong gets in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contextkernel.build import Builder, BuildRequest
from contextkernel.errors import InvalidInput, RegistryRefused
from contextkernel.model.cache_transport import (
    MEDIA_CACHE_CONFIG,
    InlineCacheTarget,
    LocalCacheSource,
    LocalCacheTarget,
    parse_cache_source,
    parse_cache_target,
)
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_DOCKER_LAYER_GZIP, MEDIA_DOCKER_LIST, MEDIA_INDEX, MEDIA_MANIFEST
from contextkernel.model.outputs import parse_output
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import BuildResult
from contextkernel.registry import Repository
from contextkernel.registry.caches import RegistryCaches
from contextkernel.registry.settings import Endpoint
from contextkernel.store import Store
from contextkernel.testing.build_fakes import ToldRuntime
from contextkernel.testing.registry import Canned, ServedRegistry, serve_registry
from contextkernel.testing.stores import InProcessLayerWorker, random_image

TEXT = (
    "FROM base AS build\nWORKDIR /w\nCOPY file /w/\nRUN make\n"
    "FROM base\nRUN prepare\nCOPY <<end /end\nwords\nend\nRUN finish\n"
)


class Machine:
    """A store of its own, and builds in it."""

    def __init__(self, root: Path, context: Path) -> None:
        self.store = Store.open(root)
        self.worker = InProcessLayerWorker()
        self.runtime = ToldRuntime()
        self.context = context
        random_image(self.store, self.worker, "base", seed=1)

    def build(self, text: str = TEXT, tag: str = "image", remote: Any = None, **options: Any) -> BuildResult:
        def resolve(ref: ImageRef, **_: object) -> Digest:
            return self.store.resolve(str(ref))

        builder = Builder(
            self.store,
            self.worker,
            self.runtime,
            resolve,
            platform=Platform("linux", "amd64"),
            now=lambda: 1_700_000_000 * 10**9,
            remote_caches=remote,
        )
        request = BuildRequest(context=str(self.context), dockerfile=text, tags=(ImageRef.parse(tag),), **options)
        return builder.build(request, lambda _: None)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    context = tmp_path / "context"
    context.mkdir()
    (context / "file").write_text("content")
    made = []

    def make(name: str) -> Machine:
        made.append(Machine(tmp_path / name, context))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


def states(result: BuildResult) -> list[str]:
    return [row.state for row in result.explanation]


def documents(layout: Path) -> tuple[Path, Path]:
    """The manifest and the cache's own document."""
    top = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    manifest = layout / "blobs" / "sha256" / top.partition(":")[2]
    config = json.loads(manifest.read_text())["config"]
    assert config["mediaType"] == MEDIA_CACHE_CONFIG
    return manifest, layout / "blobs" / "sha256" / config["digest"].partition(":")[2]


@pytest.mark.parametrize("packing", ["gzip", "zstd", "uncompressed"])
@pytest.mark.parametrize("index", [False, True])
def test_everything_is_cached_on_another_store_and_the_image_is_the_same(
    machine: Any, tmp_path: Path, packing: Any, index: bool
) -> None:
    layout = tmp_path / "cache"
    first = machine("a")
    target = LocalCacheTarget(dest=str(layout), everything=True, packing=packing, index=index)
    made = first.build(TEXT.replace("FROM base\nRUN prepare", "FROM build\nRUN prepare"), cache_to=(target,))
    assert "miss" in states(made)
    second = machine("b")
    text = TEXT.replace("FROM base\nRUN prepare", "FROM build\nRUN prepare")
    result = second.build(text, cache_from=(LocalCacheSource(src=str(layout)),))
    assert set(states(result)) == {"hit"}
    assert second.runtime.launched == []
    assert result.image == made.image
    assert result.warnings == ()
    assert second.store.check() == ()


def test_min_has_the_image_s_own_layers_only(machine: Any, tmp_path: Path) -> None:
    text = TEXT.replace("RUN finish", "COPY --from=build /w/file /copied\nRUN finish")
    first = machine("a")
    for mode, count in ((False, 4), (True, 7)):
        layout = tmp_path / str(mode)
        first.build(text, cache_to=(LocalCacheTarget(dest=str(layout), everything=mode),))
        document = json.loads(documents(layout)[1].read_text())
        assert len(document["records"]) == count


def test_layers_are_fetched_only_when_they_are_asked_for(machine: Any, tmp_path: Path) -> None:
    layout = tmp_path / "cache"
    machine("a").build(cache_to=(LocalCacheTarget(dest=str(layout), everything=True),))
    second = machine("b")
    before = len(second.store.cache_rows())
    result = second.build("FROM base\nRUN other\n", cache_from=(LocalCacheSource(src=str(layout)),))
    assert states(result) == ["hit", "miss"]
    assert len(second.store.cache_rows()) == before + 1


def test_a_changed_step_is_still_a_miss(machine: Any, tmp_path: Path) -> None:
    layout = tmp_path / "cache"
    machine("a").build("FROM base\nRUN a\nRUN b\n", cache_to=(LocalCacheTarget(dest=str(layout)),))
    result = machine("b").build("FROM base\nRUN a\nRUN c\n", cache_from=(LocalCacheSource(src=str(layout)),))
    assert states(result) == ["hit", "hit", "miss"]


def test_no_cache_asks_nobody(machine: Any, tmp_path: Path) -> None:
    layout = tmp_path / "cache"
    machine("a").build(cache_to=(LocalCacheTarget(dest=str(layout)),))
    result = machine("b").build(cache_from=(LocalCacheSource(src=str(layout)),), no_cache=True)
    assert [row.reason for row in result.explanation if row.reason] == ["no-cache"] * 3


def test_several_builds_share_a_layout_under_tags(machine: Any, tmp_path: Path) -> None:
    layout = tmp_path / "cache"
    first = machine("a")
    first.build("FROM base\nRUN a\n", cache_to=(LocalCacheTarget(dest=str(layout), tag="one"),))
    first.build("FROM base\nRUN b\n", cache_to=(LocalCacheTarget(dest=str(layout), tag="two"),))
    first.build("FROM base\nRUN a\n", cache_to=(LocalCacheTarget(dest=str(layout), tag="one"),))
    tags = [
        entry["annotations"]["org.opencontainers.image.ref.name"]
        for entry in json.loads((layout / "index.json").read_text())["manifests"]
    ]
    assert sorted(tags) == ["one", "two"]
    source = LocalCacheSource(src=str(layout), tag="two")
    assert states(machine("b").build("FROM base\nRUN b\n", cache_from=(source,))) == ["hit", "hit"]
    digest = next(entry for entry in json.loads((layout / "index.json").read_text())["manifests"])["digest"]
    source = LocalCacheSource(src=str(layout), tag="none", digest=Digest(digest))
    assert machine("c").build("FROM base\nRUN b\n", cache_from=(source,)).warnings == ()


def test_the_same_build_writes_the_same_cache(machine: Any, tmp_path: Path) -> None:
    tops = []
    for name in ("a", "b"):
        layout = tmp_path / f"cache-{name}"
        # a file with a time of its own: one that is written here has the second in which it is
        machine(name).build("FROM base\nCOPY file /e\n", cache_to=(LocalCacheTarget(dest=str(layout)),))
        tops.append((layout / "index.json").read_bytes())
    assert tops[0] == tops[1]


def test_inline_travels_in_the_image(machine: Any, tmp_path: Path) -> None:
    first = machine("a")
    plain = first.build("FROM base\nRUN a\nRUN b\n")
    made = first.build("FROM base\nRUN a\nRUN b\n", cache_to=(InlineCacheTarget(),))
    assert made.image != plain.image
    assert b'"moby.buildkit.cache.v0":"' in first.store.config_bytes(made.image)
    from contextkernel.store.archive import load, save

    archive = str(tmp_path / "image.tar")
    save(first.store, first.worker, ["image"], archive)
    second = machine("b")
    load(second.store, second.worker, archive)
    source = parse_cache_source("image")
    result = second.build(
        "FROM base\nRUN a\nRUN b\n", tag="again", cache_from=(source,), cache_to=(InlineCacheTarget(),)
    )
    assert states(result) == ["hit", "hit", "hit"]
    assert result.image == made.image


def test_the_build_argument_asks_for_inline_too(machine: Any) -> None:
    first = machine("a")
    made = first.build("FROM base\nRUN a\n", build_args={"BUILDKIT_INLINE_CACHE": "1"})
    assert first.store.config(made.image).inline_cache is not None
    built_upon = first.build("FROM image\nRUN b\n", tag="other")
    assert first.store.config(built_upon.image).inline_cache is None


def spoil(layout: Path, what: str) -> None:
    manifest, config = documents(layout)
    layers = json.loads(manifest.read_text())["layers"]
    blobs = [layout / "blobs" / "sha256" / layer["digest"].partition(":")[2] for layer in layers]
    match what:
        case "no index":
            (layout / "index.json").unlink()
        case "index is no JSON":
            (layout / "index.json").write_text("{")
        case "index is deeply nested":
            (layout / "index.json").write_text("[" * 100_000)
        case "index is a FIFO":
            (layout / "index.json").unlink()
            os.mkfifo(layout / "index.json")
        case "index is huge":
            os.truncate(layout / "index.json", 1 << 30)
        case "manifest changed":
            manifest.write_bytes(manifest.read_bytes().replace(b"gzip", b"zstd"))
        case "config changed":
            config.write_bytes(config.read_bytes().replace(b"sha256:0", b"sha256:1") + b" ")
        case "config missing":
            config.unlink()
        case "layer changed":
            for blob in blobs:
                data = bytearray(blob.read_bytes())
                data[len(data) // 2] ^= 0xFF
                blob.write_bytes(data)
        case "layer longer":
            for blob in blobs:
                blob.write_bytes(blob.read_bytes() + b"x")
        case "layer missing":
            for blob in blobs:
                blob.unlink()
        case "layer is a device":
            for blob in blobs:
                blob.unlink()
                blob.symlink_to("/dev/zero")
        case "layers swapped":
            rewrite(layout, swapped)
        case "positions out of range":
            rewrite(layout, out_of_range)
        case "digests are none":
            rewrite(layout, no_digests)


def rewrite(layout: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the document, and all that has its digest: what somebody would do on purpose."""
    manifest, config = documents(layout)
    document = json.loads(config.read_text())
    change(document)
    outer = json.loads(manifest.read_text())
    outer["config"].update(put(layout, json.dumps(document).encode()))
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0].update(put(layout, json.dumps(outer).encode()))
    (layout / "index.json").write_text(json.dumps(index))


def put(layout: Path, data: bytes) -> dict[str, Any]:
    digest = Digest.of(data)
    (layout / "blobs" / "sha256" / digest.hex).write_bytes(data)
    return {"digest": str(digest), "size": len(data)}


def swapped(document: dict[str, Any]) -> None:
    """Each layer says that it is another one."""
    notes = [layer["annotations"]["diffID"] for layer in document["layers"]]
    for layer, note in zip(document["layers"], [*notes[1:], notes[0]], strict=True):
        layer["annotations"]["diffID"] = note


def out_of_range(document: dict[str, Any]) -> None:
    for number, record in enumerate(document["records"]):
        record["layers"][0]["layer"] = -5 if number else 1 << 40


def no_digests(document: dict[str, Any]) -> None:
    for layer in document["layers"]:
        layer["annotations"]["diffID"] = "../../etc/passwd"


ATTACKS = [
    "no index",
    "index is no JSON",
    "index is deeply nested",
    "index is a FIFO",
    "index is huge",
    "manifest changed",
    "config changed",
    "config missing",
    "layer changed",
    "layer longer",
    "layer missing",
    "layer is a device",
    "layers swapped",
    "positions out of range",
    "digests are none",
]


@pytest.mark.parametrize("what", ATTACKS)
def test_a_spoilt_cache_is_a_warning_and_nothing_of_it_gets_in(machine: Any, tmp_path: Path, what: str) -> None:
    layout = tmp_path / "cache"
    text = "FROM base\nRUN a\nRUN b\n"
    machine("a").build(text, cache_to=(LocalCacheTarget(dest=str(layout)),))
    spoil(layout, what)
    second = machine("b")
    result = second.build(text, cache_from=(LocalCacheSource(src=str(layout)),))
    assert states(result) == ["hit", "miss", "miss"]
    silent = {"positions out of range", "digests are none"}
    assert bool(result.warnings) is (what not in silent)
    assert second.store.check() == ()
    assert not [name for name in os.listdir(second.store.root + "/tmp") if os.path.isfile(name)]


def test_an_image_without_a_cache_and_one_that_is_not_there_are_warnings(machine: Any) -> None:
    one = machine("a")
    result = one.build("FROM base\nRUN a\n", cache_from=(parse_cache_source("base"), parse_cache_source("nowhere")))
    assert "has no build cache in it" in result.warnings[0]
    assert "nowhere" in result.warnings[1]


def test_a_directory_that_cannot_be_written_fails_the_build_unless_errors_are_ignored(
    machine: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    one = machine("a")
    with pytest.raises(InvalidInput, match="cannot write the build cache"):
        one.build(cache_to=(LocalCacheTarget(dest=str(tmp_path / "file" / "x")),))
    result = one.build(cache_to=(LocalCacheTarget(dest=str(tmp_path / "file" / "x"), ignore_error=True),))
    assert "cannot write the build cache" in result.warnings[0]


def test_the_words_of_targets() -> None:
    here = os.path.abspath("c")
    assert parse_cache_target("type=local,dest=c") == LocalCacheTarget(dest=here)
    assert parse_cache_target(
        "type=local,dest=c,mode=max,compression=zstd,compression-level=19,ignore-error=true,tag=t,image-manifest=false"
    ) == LocalCacheTarget(dest=here, everything=True, packing="zstd", level=19, ignore_error=True, tag="t", index=True)
    assert parse_cache_target('type=local,"dest=/a,b"') == LocalCacheTarget(dest="/a,b")
    assert parse_cache_target("type=inline") == InlineCacheTarget()


def test_the_words_of_sources() -> None:
    assert parse_cache_source("type=local,src=/c,tag=t") == LocalCacheSource(src="/c", tag="t")
    assert parse_cache_source("user/app:cache") == parse_cache_source("type=registry,ref=user/app:cache")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("type=local", "it has no dest"),
        ("type=local,dest=c,mode=all", "neither min nor max"),
        ("type=local,dest=c,compression=estargz", "estargz is not supported"),
        ("type=local,dest=c,compression-level=10", "0 to 9"),
        ("type=local,dest=c,colour=red", "unknown key 'colour'"),
        ("type=local,dest=c,oci-mediatypes=false", "media types"),
        ("type=inline,mode=max", "not possible inline"),
        ("type=registry", "it has no ref"),
        ("type=registry,ref=a,oci-mediatypes=false,image-manifest=true", "image-manifest needs oci-mediatypes"),
        ("type=registry,ref=a,oci-mediatypes=false,compression=zstd", "no media type for zstd"),
        ("type=registry,ref=a,tag=b", "unknown key 'tag'"),
        ("type=gha", "the service behind type=gha is not supported"),
        ("type=s3,bucket=b", "the service behind type=s3 is not supported"),
        ("dest=c", "it has no type"),
        ("type=local,dest", "must be KEY=VALUE"),
    ],
)
def test_targets_that_are_refused(word: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_cache_target(word)
    assert text in f"{caught.value.problem} {caught.value.hint}"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("type=local", "it has no src"),
        ("type=local,src=c,digest=abc", "not a digest"),
        ("type=gha,scope=a", "the service behind type=gha is not supported"),
        ("type=registry", "it names no image"),
        ("type=local,src=c,dest=d", "unknown key 'dest'"),
    ],
)
def test_sources_that_are_refused(word: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        parse_cache_source(word)


def test_the_platforms_of_one_build_share_a_cache(machine: Any, tmp_path: Path) -> None:
    layout, outcome = tmp_path / "cache", tmp_path / "image"
    text = "FROM scratch\nCOPY file /same\nARG TARGETARCH\nCOPY file /$TARGETARCH\nCOPY file /file\n"
    amd, arm = Platform("linux", "amd64"), Platform("linux", "arm64")
    machine("a").build(
        text,
        platforms=(amd, arm),
        outputs=(parse_output(f"type=oci,dest={outcome},tar=false"),),
        cache_to=(LocalCacheTarget(dest=str(layout), everything=True),),
    )
    manifests = json.loads((outcome / "index.json").read_text())["manifests"]
    inner = outcome / "blobs" / "sha256" / manifests[0]["digest"].partition(":")[2]
    assert [one["platform"]["architecture"] for one in json.loads(inner.read_text())["manifests"]] == ["amd64", "arm64"]
    keys = [one["digest"] for one in json.loads(documents(layout)[1].read_text())["records"]]
    assert len(keys) == len(set(keys))
    second = machine("b")
    for platform in (amd, arm):
        result = second.build(text, platform=platform, cache_from=(LocalCacheSource(src=str(layout)),))
        assert set(states(result)) == {"hit"}, platform


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedRegistry]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CONTEXTKERNEL_REGISTRIES", str(tmp_path / "registries.toml"))
    with serve_registry() as registry:
        yield registry


def manifest_of(served: ServedRegistry) -> tuple[str, Any]:
    media, data = Repository(Endpoint(url=served.url), served.address, "team/app").manifest("cache")
    return media, json.loads(data)


@pytest.mark.parametrize("words", ["", ",compression=zstd", ",image-manifest=false", ",oci-mediatypes=false"])
def test_another_machine_runs_nothing(served: ServedRegistry, machine: Any, words: str) -> None:
    one, other = machine("a"), machine("b")
    ref = f"{served.address}/team/app:cache"
    target = parse_cache_target(f"type=registry,ref={ref},mode=max{words}")
    made = one.build(cache_to=(target,), remote=RegistryCaches())
    again = other.build(cache_from=(parse_cache_source(ref),), remote=RegistryCaches())
    assert other.runtime.launched == []
    assert again.image == made.image
    assert again.warnings == ()


@pytest.mark.parametrize(
    ("words", "media"),
    [("", MEDIA_MANIFEST), (",image-manifest=false", MEDIA_INDEX), (",oci-mediatypes=false", MEDIA_DOCKER_LIST)],
)
def test_the_forms(served: ServedRegistry, machine: Any, words: str, media: str) -> None:
    target = parse_cache_target(f"type=registry,ref={served.address}/team/app:cache{words}")
    machine("a").build(cache_to=(target,), remote=RegistryCaches())
    found, document = manifest_of(served)
    assert found == document["mediaType"] == media
    if media == MEDIA_MANIFEST:
        assert document["config"]["mediaType"] == MEDIA_CACHE_CONFIG
        layers = document["layers"]
    else:
        assert document["manifests"][-1]["mediaType"] == MEDIA_CACHE_CONFIG
        layers = document["manifests"][:-1]
    assert {layer["mediaType"] == MEDIA_DOCKER_LAYER_GZIP for layer in layers} == {media == MEDIA_DOCKER_LIST}


def test_what_is_there_is_not_sent_again(served: ServedRegistry, machine: Any) -> None:
    target = parse_cache_target(f"type=registry,ref={served.address}/team/app:cache,mode=max")
    machine("a").build(cache_to=(target,), remote=RegistryCaches())
    served.requests.clear()
    machine("a").build(cache_to=(target,), remote=RegistryCaches())
    assert [one.method for one in served.requests if one.method in ("POST", "PUT", "PATCH")] == ["PUT"]


def test_only_what_is_asked_for_is_fetched(served: ServedRegistry, machine: Any) -> None:
    one, other = machine("a"), machine("b")
    ref = f"{served.address}/team/app:cache"
    one.build(cache_to=(parse_cache_target(f"type=registry,ref={ref},mode=max"),), remote=RegistryCaches())
    served.requests.clear()
    other.build("FROM base\nRUN other\n", cache_from=(parse_cache_source(ref),), remote=RegistryCaches())
    # the manifest and the document of keys
    assert len([each for each in served.requests if each.method == "GET" and each.path != "/v2/"]) == 2
    assert len(other.runtime.launched) == 1


def test_what_cannot_be_had_is_a_warning(served: ServedRegistry, machine: Any) -> None:
    one, other = machine("a"), machine("b")
    ref = f"{served.address}/team/app:cache"
    one.build(cache_to=(parse_cache_target(f"type=registry,ref={ref},mode=max"),), remote=RegistryCaches())
    _, document = manifest_of(served)
    spoilt = document["layers"][0]["digest"]
    served.answer = lambda request: Canned(200, {}, b"spoilt") if request.path.endswith(spoilt) else None
    sources = (parse_cache_source(ref), parse_cache_source(f"{served.address}/team/nothing"))
    result = other.build(cache_from=sources, remote=RegistryCaches())
    assert "team/nothing:latest does not exist in the registry" in result.warnings[0]
    assert any("an imported cache entry is not used" in warning for warning in result.warnings)
    assert "miss" in states(result)


def test_a_registry_that_refuses_fails_the_build_unless_errors_are_ignored(
    served: ServedRegistry, machine: Any
) -> None:
    served.answer = lambda request: Canned(403) if request.method in ("POST", "PUT") else None
    words = f"type=registry,ref={served.address}/team/app:cache"
    with pytest.raises(RegistryRefused, match="the registry answered 403"):
        machine("a").build(cache_to=(parse_cache_target(words),), remote=RegistryCaches())
    ignoring = parse_cache_target(f"{words},ignore-error=true")
    result = machine("a").build(cache_to=(ignoring,), remote=RegistryCaches())
    assert f"--cache-to {served.address}/team/app:cache" in result.warnings[0]


def test_an_image_s_name_leads_to_the_image(served: ServedRegistry, machine: Any) -> None:
    repository = Repository(Endpoint(url=served.url), served.address, "team/app")
    empty = b"{}"
    served.answer = lambda request: (
        Canned(200, {"Content-Type": MEDIA_MANIFEST}, json.dumps(document).encode())
        if "manifests" in request.path
        else None
    )
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{'0' * 64}", "size": 2}
    document = {"schemaVersion": 2, "mediaType": MEDIA_MANIFEST, "config": described, "layers": []}
    assert repository.manifest("x")[1] != empty
    ref = f"{served.address}/team/app:x"
    result = machine("a").build(cache_from=(parse_cache_source(ref),), remote=RegistryCaches())
    assert "no such image" in result.warnings[0]  # the store's resolver was asked: here it has no registry
