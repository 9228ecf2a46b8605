"""Indexes put together in registries, and images copied for them."""

import json
import threading
from contextlib import contextmanager

import pytest

from contextkernel.errors import ImageNotFound, InvalidInput, RegistryDenied, RegistryRefused, RegistryUnreachable
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor, PlatformField
from contextkernel.registry import copying
from contextkernel.registry.client import Repository
from contextkernel.registry.copying import Arriving
from contextkernel.testing.registry import Canned


def test_from_another_registry(engine, pushed, elsewhere):
    first = pushed.image("a/one", "v1", layers=(b"x" * 300_000, b"same"))
    second = elsewhere.image("b/two", "v1", "arm64", layers=(b"y" * 300_000, b"same"))
    lines = []
    result = engine.assemble(
        [f"{pushed.address}/a/one:v1", f"{elsewhere.address}/b/two:v1"],
        tags=[f"{elsewhere.address}/c/all:v1", f"{elsewhere.address}/c/all:latest"],
        tell=lines.append,
    )
    assert [one.descriptor.digest for one in result.manifests] == [first.digest, second.digest]
    for tag in ("v1", "latest"):
        assert elsewhere.client("c/all").head(tag).digest == result.descriptor.digest
    assert [line.split()[0] for line in lines] == ["copying", "copying", "pushing", "pushing"]
    with elsewhere.client("c/all").blob(str(Digest.of(b"x" * 300_000))) as stream:
        assert stream.read() == b"x" * 300_000
    assert elsewhere.registry.requested("PUT", f"/v2/c/all/manifests/{second.digest}") == [201]


def test_an_index_goes_with_its_attestations(engine, pushed, elsewhere):
    one = pushed.image("a/attested", "one")
    stated = pushed.attestation("a/attested", one)
    top = pushed.index("a/attested", "all", one, stated)
    engine.assemble([f"{pushed.address}/a/attested:all"], tags=[f"{elsewhere.address}/a/there:all"])
    assert elsewhere.client("a/there").head("all").digest == top
    assert elsewhere.client("a/there").head(str(stated.digest)).size == stated.size
    assert engine.remote_statements(f"{elsewhere.address}/a/there:all") == {"linux/amd64": {"SLSA": {"by": "test"}}}


def test_a_source_that_sends_less_publishes_nothing(engine, pushed, elsewhere):
    data = bytes(range(256)) * 16
    pushed.image("a/short", "v1", layers=(data,))
    path = f"/v2/a/short/blobs/{Digest.of(data)}"
    pushed.registry.answer = lambda request: (
        Canned(200, {}, data[:100]) if request.path == path and request.method == "GET" else None
    )
    try:
        with pytest.raises(RegistryRefused, match="ends 3996 bytes before its 4096"):
            engine.assemble([f"{pushed.address}/a/short:v1"], tags=[f"{elsewhere.address}/a/short:v1"])
    finally:
        pushed.registry.answer = lambda _: None
    assert elsewhere.client("a/short").head("v1") is None


def test_a_blob_that_the_source_lacks_is_not_said_of_the_target(engine, pushed, elsewhere):
    pushed.image("a/gone", "v1", layers=(b"gone",))
    path = f"/v2/a/gone/blobs/{Digest.of(b'gone')}"
    pushed.registry.answer = lambda request: Canned(404) if request.path == path else None
    try:
        with pytest.raises(
            RegistryRefused, match=rf"{pushed.address}/a/gone: blob {Digest.of(b'gone')} does not exist"
        ):
            engine.assemble([f"{pushed.address}/a/gone:v1"], tags=[f"{elsewhere.address}/a/gone:v1"])
    finally:
        pushed.registry.answer = lambda _: None
    assert elsewhere.client("a/gone").head("v1") is None


def test_blobs_are_copied_side_by_side(engine, pushed, elsewhere, monkeypatch):
    together = threading.Barrier(2)  # nobody passes alone
    upload = Repository.upload

    def waits(*given):
        together.wait(30)
        upload(*given)

    layers = tuple(letter * 600_000 for letter in (b"a", b"b", b"c"))
    image = pushed.image("a/several", "v1", layers=layers)  # with the configuration four blobs
    events = []
    monkeypatch.setattr(Repository, "upload", waits)
    to = {"prefer_index": False, "report": events.append}
    engine.assemble([f"{pushed.address}/a/several:v1"], tags=[f"{elsewhere.address}/a/s:v1"], **to)
    assert elsewhere.client("a/s").head("v1").digest == image.digest
    assert {event.layer for event in events} == {Digest.of(layer).short for layer in layers}
    for layer in layers:
        mine = [event for event in events if event.layer == Digest.of(layer).short]
        assert [event.phase for event in mine if event.current == 0] == ["pushing"]
        assert (mine[-1].phase, mine[-1].current, mine[-1].total) == ("pushed", 600_000, 600_000)

    events.clear()  # of the same registry: nothing is sent
    engine.assemble([f"{elsewhere.address}/a/s:v1"], tags=[f"{elsewhere.address}/a/t:v1"], **to)
    assert {(event.phase, event.detail) for event in events} == {("mounted", "a/s")}
    events.clear()
    engine.assemble([f"{pushed.address}/a/several:v1"], tags=[f"{elsewhere.address}/a/s:v2"], **to)
    assert {event.phase for event in events} == {"present"}


def test_a_copy_that_fails_is_told_once_and_publishes_nothing(engine, pushed, elsewhere):
    layers = tuple(letter * 300_000 for letter in (b"k", b"l", b"m", b"n"))
    pushed.image("a/refused", "v1", layers=layers)
    broken = str(Digest.of(layers[2]))
    elsewhere.registry.answer = lambda request: Canned(403) if broken in request.uri else None
    with pytest.raises(RegistryDenied):
        engine.assemble([f"{pushed.address}/a/refused:v1"], tags=[f"{elsewhere.address}/a/refused:v1"])
    assert not [one for one in elsewhere.registry.requests if one.method == "PUT" and "/manifests/" in one.path]
    assert not [thread for thread in threading.enumerate() if thread.name == "layer"]


def test_a_copy_that_fails_leaves_no_answer_open(engine, pushed, elsewhere, monkeypatch):
    opened, kept = [], []
    blob = Repository.blob

    @contextmanager
    def watched(*given, **options):
        with blob(*given, **options) as stream:
            opened.append(stream)
            yield stream
        opened.remove(stream)

    def breaks(_repository, _blob, source, *_rest):
        kept.append(source)  # not the collector closes it
        source.read(10)
        raise RegistryDenied("no room")

    pushed.image("a/left", "v1", layers=(b"left" * 1000,))
    monkeypatch.setattr(Repository, "blob", watched)
    monkeypatch.setattr(Repository, "upload", breaks)
    with pytest.raises(RegistryDenied, match="no room"):
        engine.assemble([f"{pushed.address}/a/left:v1"], tags=[f"{elsewhere.address}/a/left:v1"])
    assert kept
    assert opened == []


def test_either_registry_is_asked_again(engine, pushed, elsewhere):
    image = pushed.image("a/busy", "v1", layers=(b"busy",))
    place = f"/v2/a/busy/blobs/{Digest.of(b'busy')}"
    busy = {"GET": 1, "HEAD": 1}

    def answer(request):
        if request.path != place or not busy.get(request.method):
            return None
        busy[request.method] -= 1
        return Canned(503, {"Retry-After": "0"})

    events = []
    names = [f"{pushed.address}/a/busy:v1"], [f"{elsewhere.address}/a/busy:v1"]
    pushed.registry.answer = elsewhere.registry.answer = answer
    try:
        engine.assemble(names[0], tags=names[1], prefer_index=False, report=events.append)
    finally:
        pushed.registry.answer = lambda _: None
    assert elsewhere.client("a/busy").head("v1").digest == image.digest
    assert busy == {"GET": 0, "HEAD": 0}
    phases = [event.phase for event in events if event.layer == Digest.of(b"busy").short]
    assert phases == ["retrying", "pushing", "retrying", "pushed"]


def test_documents_that_are_many_are_written_in_between(engine, pushed, elsewhere, monkeypatch):
    monkeypatch.setattr(copying, "_MOST_HELD", 1000)
    images = [
        pushed.image("a/many", name, name, layers=(name.encode() * 100,)) for name in ("amd64", "arm64", "riscv64")
    ]
    top = pushed.index("a/many", "all", *images)
    engine.assemble([f"{pushed.address}/a/many:all"], tags=[f"{elsewhere.address}/b/many:all"], prefer_index=False)
    assert elsewhere.client("b/many").head("all").digest == top
    for image in images:
        assert elsewhere.registry.requested("PUT", f"/v2/b/many/manifests/{image.digest}") == [201]


class _Breaking:
    """A repository whose connections break after some bytes."""

    where = "r.example/a"

    def __init__(self, data, after, *, parts=True, breaks=100):
        self.data, self.after, self.parts, self.breaks = data, after, parts, breaks
        self.offsets = []

    @contextmanager
    def blob(self, _digest, *, offset=0):
        self.offsets.append(offset)
        yield _Stream(self, offset if self.parts else 0)


class _Stream:
    def __init__(self, repository, offset):
        self.offset, self._at = offset, offset
        self._repository = repository
        self._left = repository.after

    def read(self, size):
        if self._left <= 0 and self._repository.breaks:
            self._repository.breaks -= 1
            raise RegistryUnreachable("the connection to r.example broke")
        if self._repository.breaks:
            size = min(size, self._left)
            self._left -= size
        part = self._repository.data[self._at : self._at + size]
        self._at += len(part)
        return part


@pytest.mark.parametrize("parts", [True, False])
def test_a_connection_that_breaks_is_taken_up_where_it_broke(parts):
    data = bytes(range(250))
    repository = _Breaking(data, 100 if parts else 220, parts=parts, breaks=2 if parts else 1)
    blob = Arriving(repository, Descriptor("x", Digest.of(data), len(data)))
    assert b"".join(iter(lambda: blob.read(60), b"")) == data
    assert repository.offsets == ([0, 100, 200] if parts else [0, 220])
    assert blob.tell() == 250
    blob.seek(0)
    assert blob.read(3) == data[:3]


def test_a_connection_that_breaks_without_end_is_given_up():
    blob = Arriving(_Breaking(b"x" * 100, 1), Descriptor("x", Digest.of(b"x" * 100), 100))
    with pytest.raises(RegistryUnreachable):
        b"".join(iter(lambda: blob.read(1), b""))


def test_append_platforms_and_a_copy(engine, pushed):
    place = f"{pushed.address}/a/more"
    amd, arm = pushed.image("a/more", "amd64"), pushed.image("a/more", "arm64", "arm64")
    engine.assemble([f"{place}:amd64"], tags=[f"{place}:all"])
    made = engine.assemble([f"{place}:arm64"], tags=[f"{place}:all"], append=True)
    assert [one.descriptor.digest for one in made.manifests] == [amd.digest, arm.digest]
    half = engine.assemble([f"{place}:all"], tags=[f"{place}:half"], platforms=["linux/arm64"])
    assert [one.descriptor.digest for one in half.manifests] == [arm.digest]
    engine.assemble([f"{place}:amd64"], tags=[f"{place}:copy"], prefer_index=False)
    assert pushed.client("a/more").head("copy").digest == amd.digest
    whole = engine.assemble([f"{place}:all"], tags=[f"{pushed.address}/a/elsewhere:all"])
    assert whole.descriptor.digest == made.descriptor.digest


def test_digests_and_descriptors(engine, pushed):
    place = f"{pushed.address}/a/parts"
    amd = pushed.image("a/parts", "amd64")
    made = engine.assemble([str(amd.digest)], tags=[f"{place}:x"], push=False)
    assert [one.descriptor.platform for one in made.manifests] == [PlatformField("amd64", "linux")]
    given = Descriptor("", amd.digest, 0, annotations={"q": "r"}, platform=PlatformField("riscv64", "linux"))
    [entry] = json.loads(engine.assemble([given], tags=[f"{place}:x"], push=False).document)["manifests"]
    assert entry["platform"] == {"architecture": "riscv64", "os": "linux"}
    assert entry["annotations"] == {"q": "r"}
    assert entry["size"] == amd.size
    with pytest.raises(InvalidInput, match="not 3"):
        engine.assemble([Descriptor("", amd.digest, 3)], tags=[f"{place}:x"], push=False)
    assert pushed.client("a/parts").head("x") is None


def test_what_is_refused(engine, pushed):
    digest = str(Digest.of(b"nothing"))
    with pytest.raises(InvalidInput, match="no sources"):
        engine.assemble([], tags=["a"])
    with pytest.raises(InvalidInput, match="no tags specified"):
        engine.assemble(["a"])
    with pytest.raises(InvalidInput, match="no repositories specified"):
        engine.assemble([digest], push=False)
    with pytest.raises(InvalidInput, match=f"cannot infer repository for '{digest}'"):
        engine.assemble([digest, "a", "b"], push=False)
    with pytest.raises(ImageNotFound):
        engine.assemble([f"{pushed.address}/a/nosuch:v1"], push=False)


def test_annotations_that_docker_s_list_cannot_have_are_told(engine, pushed):
    warnings = []
    engine.on_warning = warnings.append
    pushed.image("a/docker", "v1", docker=True)
    engine.assemble([f"{pushed.address}/a/docker:v1"], annotations=["index:a=b"], push=False)
    assert warnings == [
        "annotations were left out: all manifests are docker's, and docker's manifest list has no annotations"
    ]
