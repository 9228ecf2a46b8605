"""Images are looked at in a registry without being pulled."""

import pytest

from contextkernel.errors import ImageNotFound, RegistryRefused, SizeMismatch
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_MANIFEST, Descriptor
from contextkernel.model.platform import Platform

OTHER = "arm64" if Platform.host().architecture != "arm64" else "amd64"
HOST = Platform.host().architecture


@pytest.fixture
def name(pushed, request):
    """An index of two platforms with one layer in common, and provenance for the first."""
    path = f"m/{request.node.name.replace('_', '-').lower()}"
    first = pushed.image(path, "first", HOST, layers=(b"base" * 100, b"script"))
    second = pushed.image(path, "second", OTHER, layers=(b"other" * 100, b"script"))
    pushed.index(path, "all", first, second, pushed.attestation(path, first))
    pushed.registry.requests.clear()
    return f"{pushed.address}/{path}:all"


def test_an_index(engine, pushed, name):
    remote = engine.remote(name)
    rows = remote.platforms()
    assert [(row.platform, row.layers, row.size, row.shared) for row in rows] == [
        (f"linux/{HOST}", 2, 406, 6),
        (f"linux/{OTHER}", 2, 506, 6),
    ]
    assert [(row.chosen, row.attested) for row in rows] == [(True, True), (False, False)]
    assert rows[0].created is not None
    assert remote.is_index
    assert repr(remote).endswith(f"index {remote.descriptor.digest.short}, linux/{HOST}, linux/{OTHER}>")
    asked = [one.path for one in pushed.registry.requests if one.method == "GET" and "/v2/m" in one.path]
    assert sum("/manifests/" in path for path in asked) == 3
    assert not [path for path in asked if str(Digest.of(b"script")) in path]
    assert engine.images() == ()


def test_history_and_layers(engine, name):
    remote = engine.remote(name, every=False)
    assert [(row.created_by, row.size) for row in remote.history()] == [("CMD", 0), ("ADD 1", 6), ("ADD 0", 400)]
    assert remote.history()[0].id == remote.manifests[0].manifest.config.digest
    assert remote.history()[1].id is None
    layers = remote.layers()
    assert [(row.layer, row.size, row.download_size, row.created_by) for row in layers] == [
        (1, None, 400, "ADD 0"),
        (2, None, 6, "ADD 1"),
    ]
    assert layers[1].diff_id == Digest.of(b"plainscript")
    assert layers[1].digest == Digest.of(b"script")


def test_another_platform(engine, name):
    assert engine.remote(name, platform=OTHER).layers(OTHER)[0].download_size == 500
    assert engine.remote(name).layers(f"linux/{OTHER}")[0].download_size == 500
    with pytest.raises(ImageNotFound, match="no image for linux/s390x") as caught:
        engine.remote(name, platform="s390x")
    assert f"linux/{HOST}, linux/{OTHER}" in (caught.value.hint or "")
    with pytest.raises(ImageNotFound) as again:
        engine.remote(name).image("linux/s390x")
    assert f"linux/{HOST}, linux/{OTHER}" in (again.value.hint or "")


def test_inspect(engine, name):
    document = engine.inspect_remote(name, platform=OTHER)
    assert document["RepoTags"] == [name]
    assert document["Architecture"] == OTHER
    assert document["Size"] == 506
    assert document["Config"]["Cmd"] == ["/greet"]
    assert document["Config"]["Labels"] == {"a": "b"}
    ours = document["ContextKernel"]
    assert ours["Platforms"] == [f"linux/{OTHER}", f"linux/{HOST}"]
    assert [layer["DownloadSize"] for layer in ours["Layers"]] == [500, 6]
    assert document["RepoDigests"] == [f"{name.rpartition(':')[0]}@{engine.remote(name).descriptor.digest}"]


def test_one_image_without_an_index(engine, pushed):
    found = pushed.image("m/one", "v1", HOST)
    remote = engine.remote(f"{pushed.address}/m/one:v1")
    assert not remote.is_index
    assert remote.platforms()[0].platform == f"linux/{HOST}"
    assert remote.platforms()[0].digest == found.digest
    assert engine.remote(f"{pushed.address}/m/one@{found.digest}").descriptor.digest == found.digest
    assert engine.inspect_remote(f"{pushed.address}/m/one@{found.digest}")["RepoTags"] == []
    with pytest.raises(ImageNotFound, match="no image for linux/s390x") as caught:
        engine.remote(f"{pushed.address}/m/one:v1", platform="s390x")
    assert caught.value.hint == f"it is one image, for linux/{HOST}"


def test_the_list_of_platforms_takes_one_request(engine, pushed, name):
    assert engine.remote_platforms(name) == (f"linux/{HOST}", f"linux/{OTHER}")
    assert len([one for one in pushed.registry.requests if "/manifests/" in one.path]) == 1


def test_provenance(engine, name):
    assert engine.remote_statements(name) == {f"linux/{HOST}": {"SLSA": {"by": "test"}}}


def test_what_is_no_image_is_named(engine, pushed):
    empty = pushed.blob("m/chart", "application/vnd.cncf.helm.config.v1+json", b"{}")
    document = (
        f'{{"schemaVersion":2,"mediaType":"{MEDIA_MANIFEST}","config":{{"mediaType":"{empty.media_type}",'
        f'"digest":"{empty.digest}","size":2}},"layers":[]}}'
    )
    pushed.client("m/chart").put_manifest("v1", MEDIA_MANIFEST, document.encode())
    with pytest.raises(RegistryRefused, match="Helm chart"):
        engine.remote(f"{pushed.address}/m/chart:v1")
    with pytest.raises(ImageNotFound):
        engine.remote(f"{pushed.address}/m/nosuch:v1")


def test_an_entry_that_is_no_image_is_told_and_not_fetched(engine, pushed):
    one = pushed.image("m/mixed", "one", HOST)
    config = pushed.blob("m/mixed", "application/vnd.cncf.helm.config.v1+json", b"{}")
    document = (
        f'{{"schemaVersion":2,"mediaType":"{MEDIA_MANIFEST}","config":{{"mediaType":"{config.media_type}",'
        f'"digest":"{config.digest}","size":2}},"layers":[]}}'
    ).encode()
    pushed.client("m/mixed").put_manifest("chart", MEDIA_MANIFEST, document)
    chart = Descriptor(MEDIA_MANIFEST, Digest.of(document), len(document))
    pushed.index("m/mixed", "all", one, chart)
    remote = engine.remote(f"{pushed.address}/m/mixed:all")
    assert [row.platform for row in remote.platforms()] == [f"linux/{HOST}"]
    assert remote.others == (chart,)


def test_a_configuration_that_lies_about_its_size(engine, pushed):
    config = pushed.blob("m/liar", "application/vnd.oci.image.config.v1+json", b'{"os":"linux"}')
    document = (
        f'{{"schemaVersion":2,"mediaType":"{MEDIA_MANIFEST}","config":{{"mediaType":"{config.media_type}",'
        f'"digest":"{config.digest}","size":3}},"layers":[]}}'
    )
    pushed.registry.answer = _canned(document.encode())
    try:
        with pytest.raises(SizeMismatch, match="has more than 3 bytes instead of 3"):
            engine.remote(f"{pushed.address}/m/liar:v1")
    finally:
        pushed.registry.answer = lambda _: None


def _canned(document):
    from contextkernel.testing.registry import Canned

    def answer(request):
        if "/manifests/" not in request.path:
            return None
        return Canned(200, {"Content-Type": MEDIA_MANIFEST}, document)

    return answer
