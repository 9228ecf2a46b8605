import errno
import io
import os

import pytest

from contextkernel.errors import DigestMismatch, SizeMismatch, StoreFull, StoreProblem
from contextkernel.model.digest import Digest

DATA = b"hello" * 1000


def test_a_blob_comes_back(store):
    digest = store.write_blob(DATA)
    assert digest == Digest.of(DATA)
    assert store.write_blob(io.BytesIO(DATA), digest, len(DATA)) == digest
    with store.open_blob(digest) as source:
        assert source.read() == DATA
    assert os.listdir(f"{store.root}/tmp") == []


def test_sha512_blobs_have_their_own_folder(store):
    import hashlib

    digest = Digest("sha512:" + hashlib.sha512(DATA).hexdigest())
    assert store.write_blob(DATA, digest) == digest
    assert store.blob_path(digest).endswith(f"blobs/sha512/{digest.hex}")
    assert store.open_blob(digest).read() == DATA


@pytest.mark.parametrize(
    ("expected", "size", "error"),
    [
        (Digest.of(b"other"), None, DigestMismatch),
        (Digest.of(DATA), len(DATA) - 1, SizeMismatch),
        (Digest.of(DATA), len(DATA) + 1, SizeMismatch),
    ],
)
def test_what_is_not_as_promised_is_not_stored(store, expected, size, error):
    with pytest.raises(error):
        store.write_blob(io.BytesIO(DATA), expected, size)
    assert os.listdir(f"{store.root}/blobs/sha256") == []
    assert os.listdir(f"{store.root}/tmp") == []


def test_an_endless_stream_is_cut_at_the_promised_size(store):
    class Endless:
        given = 0

        def read(self, count):
            self.given += count
            return bytes(count)

    endless = Endless()
    with pytest.raises(SizeMismatch, match="longer than the promised 1000 bytes"):
        store.write_blob(endless, None, 1000)
    assert endless.given <= 2 << 20


def test_a_damaged_blob_is_noticed_while_reading(store):
    digest = store.write_blob(DATA)
    with open(store.blob_path(digest), "r+b") as blob:
        blob.write(b"J")
    with pytest.raises(DigestMismatch), store.open_blob(digest) as source:
        source.read()
    with pytest.raises(SizeMismatch), store.open_blob(digest, len(DATA) + 1) as source:
        source.read()
    # writing it again heals it
    store.write_blob(DATA)
    assert store.open_blob(digest).read() == DATA


def test_a_blob_that_is_not_there(store):
    with pytest.raises(StoreProblem, match="there is no blob"):
        store.open_blob(Digest.of(b"nothing"))


def test_a_full_disk_is_told_and_leaves_no_temporary_file(store, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFull) as caught:
        store.write_blob(DATA)
    assert "CONTEXTKERNEL_ROOT" in caught.value.hint
    assert os.listdir(f"{store.root}/tmp") == []
    monkeypatch.undo()
    assert store.write_blob(DATA) == Digest.of(DATA)


@pytest.mark.root
def test_a_really_full_disk(tmp_path, worker):
    import subprocess

    from contextkernel.store import Store
    from contextkernel.testing.stores import random_image

    if os.geteuid() != 0:
        pytest.fail("run as root, or deselect the marker")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode()}")
    try:
        with Store.open(tmp_path / "store") as store:
            image = random_image(store, worker, "greet")
            with pytest.raises(StoreFull):
                store.write_blob(io.BytesIO(os.urandom(2 << 20)))
            assert store.check() == ()
            assert store.resolve("greet") == image
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_dropped_blob_goes_unless_it_is_needed(store):
    digest = store.write_blob(DATA)
    store.drop_blob(digest)
    assert not os.path.exists(store.blob_path(digest))
    image = store.add_image(
        b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}', origin="x"
    )
    store.write_blob(store.config_bytes(image))
    store.drop_blob(image)
    assert os.path.exists(store.blob_path(image))
