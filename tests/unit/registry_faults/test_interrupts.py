"""An interrupt while a registry is silent before it says anything: it ends at once, and nothing is half done.

The clients would wait for an hour, and the registry is silent until the test ends.
"""

import json
import signal
import threading
from contextlib import contextmanager

import pytest
from judge.faulty import INDEX, MANIFEST, REPOSITORY, Faulty, Page, described, digest_of, publish

from contextkernel.model.codec import to_json
from contextkernel.model.oci import ImageConfig, RootFS
from contextkernel.model.reference import ImageRef
from contextkernel.registry import repositories
from contextkernel.registry.connection import Connection
from contextkernel.registry.copying import Copier
from contextkernel.registry.push import push_image
from contextkernel.registry.remote import look
from contextkernel.registry.retrying import Tries
from contextkernel.store.side_by_side import GivenUp
from contextkernel.testing.registry import serve_registry
from contextkernel.testing.stores import InProcessLayerWorker

PATIENT = Tries(silence=3600.0)


@contextmanager
def interrupted(server):
    """Ctrl-C as soon as somebody waits for the silent registry."""
    waiting = threading.get_ident()
    done = threading.Event()

    def interrupt():
        server.muted.wait(60)
        while not done.is_set():
            signal.pthread_kill(waiting, signal.SIGINT)
            # once more, for an interrupt that came just before the thread began to wait: Python sees it only afterwards
            done.wait(20)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        done.set()
        server.muted.set()
        thread.join()
    for one in threading.enumerate():
        if one.name.startswith(("layer", "ThreadPool", "unpack")):
            one.join(60)
            assert not one.is_alive(), f"{one.name} still waits"


def find(reference, access):
    return repositories(reference.registry, reference.repository, access=access, tries=PATIENT)


@pytest.mark.parametrize("what", ["manifest", "config", "layer"])
def test_a_pull(server, image, name, pull, nothing_left, what):
    paths = {"manifest": "/manifests/", "config": digest_of(image.config), "layer": digest_of(image.layers[1])}
    server.fail(paths[what], mute=True)
    with interrupted(server):
        pull(name, silence=3600.0)
    nothing_left()
    server.faults.clear()
    pull(name)


def test_a_push(store):
    worker = InProcessLayerWorker()
    with serve_registry() as registry, Faulty(registry.address) as silent:
        directory = store.new_layer_dir()
        with open(f"{directory}/diff/file", "wb") as sink:
            sink.write(b"content")
        layer = store.add_layer(directory, worker.commit(directory)).diff_id
        config = to_json(ImageConfig(architecture="amd64", os="linux", rootfs=RootFS("layers", (layer,))))
        ref = ImageRef.parse(f"{silent.address}/{REPOSITORY}:v1")
        image = store.add_image(config, origin="build", names=[ref])
        silent.fail("/blobs/uploads/", method="POST", mute=True)
        with interrupted(silent):
            push_image(store, worker, image, ref, find(ref, "pull,push")[-1])
        assert registry.requested("PUT", f"/v2/{REPOSITORY}/manifests/v1") == []
        silent.faults.clear()
        pushed = push_image(store, worker, image, ref, find(ref, "pull,push")[-1])
        assert find(ref, "pull")[-1].head("v1").digest == pushed.digest


def test_a_copy(server, image, name):
    with serve_registry() as registry:
        source, target = ImageRef.parse(name), ImageRef.parse(f"{registry.address}/copied:v1")
        top = find(source, "pull")[-1].head("v1")
        server.fail(digest_of(image.layers[0]), method="GET", mute=True)
        with interrupted(server):
            Copier(find, target).copy(top, source)
        assert [one for one in registry.requests if one.method == "PUT" and "/manifests/" in one.path] == []


def test_a_look_at_several_images(server, image, name):
    server.fail(digest_of(image.config), mute=True)
    document = json.dumps(image.document()).encode()
    entry = {**described(MANIFEST, document), "platform": {"os": "linux", "architecture": "amd64"}}
    publish(server, REPOSITORY, {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}, "all")
    with interrupted(server):
        look(find, ImageRef.parse(f"{name.rpartition(':')[0]}:all"), every=True)


def test_who_was_called_off_asks_nothing_more(server, image, name):
    (repository,) = find(ImageRef.parse(name), "pull")
    with repository.blob(digest_of(image.layers[1])) as stream:
        assert stream.read(10)
        repository.abort()
    seen = len(server.seen)
    with pytest.raises(GivenUp):
        repository.manifest("v1")
    assert len(server.seen) == seen


def test_who_was_called_off_while_a_token_comes_asks_for_no_other(server, other, name, tries, waits, monkeypatch):
    challenge = f'Bearer realm="http://{other.address}/token",service="here"'
    server.fail("/manifests/", status=401, headers={"WWW-Authenticate": challenge})
    other.pages["/token"] = Page(200, {"Content-Type": "application/json"}, b'{"token": "t"}')
    other.fail("/token", stall=1)
    ref = ImageRef.parse(name)
    (repository,) = repositories(ref.registry, ref.repository, access="pull", tries=tries)
    read = Connection.read

    def called_off(connection, response, what, limit):
        connection.abort()
        return read(connection, response, what, limit)

    monkeypatch.setattr(Connection, "read", called_off)
    with pytest.raises(GivenUp):
        repository.manifest("v1")
    assert waits == []
    assert len(other.asked("/token")) == 1
