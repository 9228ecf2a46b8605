import pytest

from contextkernel.errors import InvalidInput
from contextkernel.model.outputs import (
    Annotation,
    ArchiveOutput,
    CacheOutput,
    Compression,
    ImageForm,
    ImageOutput,
    LocalOutput,
    Provenance,
    Sbom,
    TarOutput,
    chosen_annotations,
    parse_annotation,
    parse_attests,
    parse_output,
)
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

AMD = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("out", LocalOutput(dest="out")),
        ("dest=x", LocalOutput(dest="dest=x")),  # as buildx: one word without type= is a directory
        ("-", TarOutput(dest="-")),
        ("type=local,dest=out,mode=delete", LocalOutput(dest="out", delete=True)),
        ("type=local,dest=out,platform-split=false", LocalOutput(dest="out", split=False)),
        ("type=local,dest=a b,attestation-prefix=x-", LocalOutput(dest="a b", prefix="x-")),
        ('type=local,"dest=a,b"', LocalOutput(dest="a,b")),
        ("type=tar,dest=a.tar", TarOutput(dest="a.tar")),
        ("type=tar", TarOutput(dest="-")),
        ("type=cacheonly", CacheOutput()),
        ("type=oci,dest=a.tar", ArchiveOutput(dest="a.tar")),
        ("type=oci,dest=a,tar=false", ArchiveOutput(dest="a", tar=False)),
        ("type=docker,dest=a.tar", ArchiveOutput(docker=True, dest="a.tar")),
        ("type=docker", ImageOutput()),
        ("type=docker,name=a:1", ImageOutput(names=(ImageRef.parse("a:1"),))),
        ("type=image,push=false,unpack=true,store=true", ImageOutput()),
        ("type=image,dangling-name-prefix=x,name-canonical=true", ImageOutput(dangling_prefix="x", canonical=True)),
        (
            "type=oci,dest=a,compression=zstd,compression-level=19,force-compression=true",
            ArchiveOutput(dest="a", form=ImageForm(compression=Compression(kind="zstd", level=19, force=True))),
        ),
        (
            "type=oci,dest=a,rewrite-timestamp=true,oci-artifact=false",
            ArchiveOutput(dest="a", form=ImageForm(rewrite_timestamp=True, oci_artifact=False)),
        ),
        (
            "type=oci,dest=a,annotation.org.A=b,annotation-index[linux/amd64].c=d",
            ArchiveOutput(
                dest="a",
                form=ImageForm(
                    annotations=(
                        Annotation(key="org.A", value="b"),
                        Annotation(level="index", platform=AMD, key="c", value="d"),
                    )
                ),
            ),
        ),
        ("type=registry,name=a:1", ImageOutput(push=True, names=(ImageRef.parse("a:1"),))),
        ("type=image,push=true,store=false", ImageOutput(push=True, store=False)),
        ("type=image,push-by-digest=true", ImageOutput(push=True, by_digest=True)),
    ],
)
def test_an_output(text, output):
    assert parse_output(text) == output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an output is empty"),
        ("type=foo", "output type 'foo' could not be found"),
        ("type=locl,dest=x", "did you mean local?"),
        ("type=local", "dest is required"),
        ("type=local,dest=a,mode=move", "invalid mode 'move'"),
        ("type=local,dest=a,split=true", "unknown key 'split'"),
        ("type=oci,dest=a,foo=bar", "unknown key 'foo'"),
        ("type=oci,dest=a,compresion=gzip", "did you mean compression?"),
        ("type=oci,dest", "invalid value 'dest'"),
        ("type=oci,tar=false", "dest is required"),
        ("type=oci,dest=a,compression=estargz", "estargz is not supported"),
        ("type=oci,dest=a,compression=lz4", "unsupported compression type lz4"),
        ("type=oci,dest=a,compression-level=10", "invalid compression-level '10' for gzip"),
        ("type=oci,dest=a,compression=zstd,oci-mediatypes=false", "conflicts"),
        ("type=oci,dest=a,oci-mediatypes=maybe", "non-bool value 'maybe'"),
        ("type=oci,dest=a,annotation-foo.a=b", "unknown annotation type 'foo'"),
        ("type=image,store=false", "neither stored nor pushed"),
        ("type=oci,dest=a,push=true", "unknown key 'push'"),
    ],
)
def test_what_is_no_output(text, said):
    with pytest.raises(InvalidInput) as caught:
        parse_output(text)
    assert said in str(caught.value)


def test_annotations_and_their_levels():
    assert parse_annotation("a=b=c") == (Annotation(key="a", value="b=c"),)
    assert parse_annotation("index,manifest[linux/amd64]:a=") == (
        Annotation(level="index", key="a", value=""),
        Annotation(level="manifest", platform=AMD, key="a", value=""),
    )
    for bad in ("a", "foo:a=b", ":a=b"):
        with pytest.raises(InvalidInput):
            parse_annotation(bad)


def test_annotations_of_one_document():
    arm = Platform("linux", "arm64")
    all_of_them = (
        Annotation(key="z", value="1"),
        Annotation(key="a", value="2", platform=arm),
        Annotation(level="index", key="i", value="3"),
    )
    assert chosen_annotations(all_of_them, "manifest", AMD) == {"z": "1"}
    assert list(chosen_annotations(all_of_them, "manifest", arm)) == ["a", "z"]
    assert chosen_annotations(all_of_them, "index") == {"i": "3"}
    assert chosen_annotations(all_of_them, "index-descriptor") is None


@pytest.mark.parametrize(
    ("words", "short", "found"),
    [
        ([], {}, ()),
        (["type=provenance"], {}, (Provenance(),)),
        (["type=provenance,mode=max,version=v0.2"], {}, (Provenance(full=True, version="v0.2"),)),
        (["type=sbom"], {"provenance": "true"}, (Sbom(), Provenance())),
        (["type=provenance,disabled=true"], {}, ()),
        (["type=provenance"], {"provenance": "false"}, ()),
        (["type=provenance,inline-only=true"], {}, ()),
        ([], {"provenance": "mode=max,builder-id=https://me"}, (Provenance(full=True, builder_id="https://me"),)),
        ([], {"sbom": "true"}, (Sbom(),)),
    ],
)
def test_attestations(words, short, found):
    assert parse_attests(words, **short) == found


@pytest.mark.parametrize(
    ("words", "short", "said"),
    [
        (["mode=max"], {}, "attestation type not specified"),
        (["type=foo"], {}, "unknown attestation type 'foo'"),
        (["type=provenance,mode=foo"], {}, "invalid mode 'foo'"),
        (["type=provenance,version=v3"], {}, "invalid provenance SLSA version: v3"),
        (["type=sbom,generator=image"], {}, "the scanner 'image' cannot be used"),
        ([], {"provenance": "max"}, "invalid value max"),
    ],
)
def test_what_is_no_attestation(words, short, said):
    with pytest.raises(InvalidInput) as caught:
        parse_attests(words, **short)
    assert said in str(caught.value)
