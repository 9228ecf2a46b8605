"""Verbs of manifest lists, imagetools and images in registries: docker's words and lines."""

import json

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.imagetools import overview
from contextkernel.commands.outcome import DocumentText, Nothing, Platforms, Text
from contextkernel.commands.tables import text_of
from contextkernel.errors import Conflict, ImageNotFound, InvalidInput, NotFound, UsageProblem
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_INDEX, MEDIA_MANIFEST, Descriptor, Index, PlatformField
from contextkernel.testing.fake_remote import remote_image
from contextkernel.testing.samples import NOW


@pytest.fixture
def do(engine, face):
    def run(line):
        return execute(engine, line.split() if isinstance(line, str) else line, face)

    return run


def asked(engine, method):
    return [arguments for name, arguments in engine.calls if name == method]


def test_create_and_annotate(do, engine):
    assert do("manifest create -a --insecure r:5/a:all r:5/a:amd64 r:5/a:arm64").value == Text(
        "Created manifest list r:5/a:all\n"
    )
    assert do("manifest create demo b").value == Text("Created manifest list docker.io/library/demo:latest\n")
    assert asked(engine, "create_manifest")[0] == {
        "name": "r:5/a:all",
        "images": ("r:5/a:amd64", "r:5/a:arm64"),
        "amend": True,
        "insecure": True,
    }
    words = (
        "manifest annotate a b --os linux --arch arm64 --variant v8 --os-version 1 --os-features x,y --os-features z"
    )
    assert do(words).value == Nothing()
    assert asked(engine, "annotate_manifest") == [
        {
            "name": "a",
            "image": "b",
            "os": "linux",
            "arch": "arm64",
            "variant": "v8",
            "os_version": "1",
            "os_features": ("x", "y", "z"),
        }
    ]
    engine.failure = Conflict("refusing to amend an existing manifest list with no --amend flag")
    with pytest.raises(Conflict):
        do("manifest create a b")


@pytest.mark.parametrize(
    "words", ["manifest create a", "manifest annotate a", "manifest inspect a b c", "manifest push"]
)
def test_too_few_or_many_words(do, words):
    with pytest.raises(UsageProblem):
        do(words)


def test_inspect_is_printed_byte_for_byte_and_is_a_document(do, engine):
    value = do("manifest inspect -v all one").value
    assert isinstance(value, DocumentText)
    assert value.text == f"{remote_image().document.decode()}\n"
    assert value.documents[0]["mediaType"] == MEDIA_INDEX
    assert asked(engine, "inspect_manifest") == [{"name": "one", "within": "all", "verbose": True}]


def test_push_and_remove(do, engine):
    first, top = remote_image().manifests[0].descriptor.digest, remote_image().descriptor.digest
    assert do("manifest push -p demo").value == Text(f"Pushed ref demo@{first} with digest: {first}\n{top}\n")
    assert asked(engine, "push_manifest") == [{"name": "demo", "purge": True}]
    engine.failure = NotFound("no such manifest: a")
    outcome = do("manifest rm a b")
    assert (outcome.exit_code, len(outcome.problems)) == (1, 1)
    assert asked(engine, "remove_manifest") == [{"name": "a"}, {"name": "b"}]


def test_imagetools_create(do, engine, face, tmp_path):
    digest = Digest.of(b"x")
    (tmp_path / "one.json").write_text(
        json.dumps({"digest": digest, "platform": {"os": "linux", "architecture": "arm"}})
    )
    words = [
        "buildx",
        "imagetools",
        "create",
        "-f",
        str(tmp_path / "one.json"),
        "-t",
        "r:5/a",
        "-p",
        "arm64,amd64",
        "b",
    ]
    assert do([*words, "--append", "--prefer-index=false", "--annotation", "index:k=v"]).value == Nothing()
    assert asked(engine, "assemble") == [
        {
            "sources": (Descriptor("", digest, 0, platform=PlatformField("arm", "linux")), "b"),
            "tags": ("r:5/a",),
            "annotations": ("index:k=v",),
            "platforms": ("arm64", "amd64"),
            "append": True,
            "prefer_index": "no",
        }
    ]
    assert face.err == f"0a1b2c3d4e5f: Pushed\npushing {remote_image().descriptor.digest} to r:5/a\n"
    assert do("buildx imagetools create --dry-run a").value.text == f"{remote_image().document.decode()}\n"
    face.err = ""
    do("buildx imagetools create --progress none -t a b")
    assert face.err == ""


def test_descriptors_that_are_none(do, tmp_path):
    for text, problem in (("{", "invalid descriptor"), ('{"schemaVersion": 2}', "got a manifest"), ("{}", "invalid")):
        with pytest.raises(InvalidInput, match=problem):
            do(["buildx", "imagetools", "create", "-t", "a", text])
    with pytest.raises(InvalidInput, match="no such file"):
        do(["buildx", "imagetools", "create", "-t", "a", "-f", str(tmp_path / "nosuch")])


OVERVIEW = """\
Name:      r:5/demo:latest
MediaType: application/vnd.oci.image.index.v1+json
Digest:    {digest}
{blank:11}
Manifests:{blank:1}
  Name:        r:5/demo:latest@{one}
  MediaType:   application/vnd.oci.image.manifest.v1+json
  Platform:    linux/arm/v7
{blank:15}
  Name:        r:5/demo:latest@{two}
  MediaType:   application/vnd.oci.image.manifest.v1+json
  Platform:    linux/amd64
  OSVersion:   1
  OSFeatures:  x, y
  Annotations:{blank:1}
    a:    b
    long: c
"""


def test_the_overview_is_buildx_own():
    import msgspec

    one = Descriptor(MEDIA_MANIFEST, Digest.of(b"1"), 1, platform=PlatformField("arm", "linux", variant="v7"))
    two = Descriptor(
        MEDIA_MANIFEST,
        Digest.of(b"2"),
        1,
        platform=PlatformField("amd64", "linux", os_version="1", os_features=("x", "y")),
        annotations={"long": "c", "a": "b"},
    )
    document = to_json(Index(schema_version=2, media_type=MEDIA_INDEX, manifests=(one, two)))
    remote = msgspec.structs.replace(remote_image("r:5/demo"), document=document)
    assert overview(remote) == OVERVIEW.format(
        digest=remote.descriptor.digest, one=one.digest, two=two.digest, blank=""
    )


def test_imagetools_inspect(do, engine):
    top = remote_image().descriptor
    assert do("buildx imagetools inspect demo").value.text.startswith("Name:      docker.io/library/demo:latest\n")
    assert do("buildx imagetools inspect --raw demo").value.text == remote_image().document.decode()
    same = do(["buildx", "imagetools", "inspect", "--format", "{{ .Manifest }}", "demo"]).value.text
    assert same.startswith("Name: ")
    assert asked(engine, "remote")[0]["every"] == "no"

    def shown(layout):
        return do(["buildx", "imagetools", "inspect", "--format", layout, "demo"]).value.text

    assert shown("{{.Name}}") == "demo"
    assert shown("{{.Manifest.Digest}}") == str(top.digest)
    assert json.loads(shown("{{json .Manifest}}"))["size"] == top.size
    assert list(json.loads(shown("{{json .Image}}"))) == ["linux/amd64", "linux/arm/v7", "linux/arm64"]
    assert json.loads(shown("{{json .Provenance}}")) == {
        "linux/amd64": {"SLSA": {"buildDefinition": {"buildType": "test"}}}
    }
    assert json.loads(shown("{{json .SBOM}}")) == {}
    assert list(json.loads(shown("{{json .}}"))) == ["name", "manifest", "image"]
    with pytest.raises(UsageProblem, match="format and raw cannot be used together"):
        do("buildx imagetools inspect --raw --format x demo")


def test_platforms(do):
    value = do("image platforms demo").value
    assert isinstance(value, Platforms)
    assert value.remote is not None
    lines = text_of(value, now=NOW).splitlines()
    assert lines[0].split() == [
        "PLATFORM",
        "MANIFEST",
        "LAYERS",
        "DOWNLOAD",
        "SHARED",
        "CREATED",
        "ATTESTED",
        "THIS",
        "MACHINE",
    ]
    assert lines[1].split()[:5] == [
        "linux/amd64",
        remote_image().manifests[0].descriptor.digest.short,
        "2",
        "29MB",
        "1.2kB",
    ]
    assert lines[1].split()[-2:] == ["yes", "yes"]
    assert do("image platforms -q demo").value == Text("linux/amd64\nlinux/arm64\nlinux/arm/v7\n")
    assert (
        do("image platforms --format {{.Platform}}:{{.Size}} demo").value.text.splitlines()[2] == "linux/arm/v7:25.1MB"
    )
    with pytest.raises(ImageNotFound):
        do("image platforms nosuch")


def test_layers(do, engine):
    assert text_of(do("layers greet").value, now=NOW).splitlines()[1].split()[:3] == [
        "1",
        Digest.of(b"base").short,
        "72.8MB",
    ]
    lines = text_of(do("image layers --remote --platform arm64 demo").value, now=NOW).splitlines()
    assert lines[0].split() == ["LAYER", "DIFF", "ID", "SIZE", "DOWNLOAD", "CREATED", "BY"]
    assert lines[1].split()[2] == "28.4MB"
    assert asked(engine, "remote") == [{"name": "demo", "platform": "arm64", "every": "no"}]
    with pytest.raises(UsageProblem, match="--platform is for --remote"):
        do("layers --platform arm64 greet")


def test_history_and_inspect_of_what_is_not_here(do):
    lines = text_of(do("history --remote demo").value, now=NOW).splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "DOWNLOAD", "COMMENT"]
    assert [line.split()[0] for line in lines[1:]] == [
        remote_image().manifests[0].manifest.config.digest.short,
        "<missing>",
        "<missing>",
    ]
    assert do("history --remote -q demo").value.text.splitlines()[1] == "<missing>"
    assert do("history --remote --format {{.Size}} demo").value.text == "0B\n1.2kB\n29MB\n"
    [document] = do("image inspect --remote --platform linux/arm/v7 demo").value.documents
    assert (document["Architecture"], document["Variant"], document["Size"]) == ("arm", "v7", 25_101_200)
    outcome = do("image inspect --remote nosuch demo")
    assert (outcome.exit_code, len(outcome.value.documents)) == (1, 1)
