"""What is kept, across restarts, in a form that other tools read."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from contextkernel.testing.registry import serve_registry


def test_it_outlives_the_server(tmp_path, connect):
    with serve_registry(str(tmp_path / "kept")) as registry:
        digest, data = connect(registry).push_image("team/demo", "v1")
    with serve_registry(str(tmp_path / "kept")) as registry:
        answer = connect(registry)("GET", "/v2/team/demo/manifests/v1")
        assert (answer.body, answer.headers["docker-content-digest"]) == (data, digest)


def test_it_is_an_image_layout(tmp_path, connect, made):
    with serve_registry(str(tmp_path)) as registry:
        ask = connect(registry)
        digest, _ = ask.push_image("team/demo", "v1", annotations={"a": "b"})
        ask.push_image("alone", "latest", b"other")
        ask("DELETE", "/v2/alone/manifests/latest")
    index = json.loads((tmp_path / "index.json").read_text())
    assert json.loads((tmp_path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    ((only,), name) = index["manifests"], digest.removeprefix("sha256:")
    assert only["annotations"] == {"org.opencontainers.image.ref.name": "team/demo:v1"}
    assert only["digest"] == digest
    assert made.digest_of((tmp_path / "blobs" / "sha256" / name).read_bytes()) == digest


def test_what_was_on_its_way_is_gone_after_a_restart(tmp_path, connect):
    with serve_registry(str(tmp_path)) as registry:
        place = connect(registry)("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
        assert connect(registry)("PATCH", place, b"content").status == 202
        assert len(os.listdir(tmp_path / "uploads")) == 1
    (tmp_path / "uploads" / "of a killed server").write_bytes(b"x")
    with serve_registry(str(tmp_path)) as registry:
        assert os.listdir(tmp_path / "uploads") == []
        assert connect(registry)("GET", place).codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_blobs_that_nothing_names_go_at_the_next_start(tmp_path, connect, made):
    with serve_registry(str(tmp_path)) as registry:
        ask = connect(registry)
        digest, _ = ask.push_image("team/demo", "v1", b"kept")
        ask.push_image("team/gone", "v1", b"of a deleted image")
        gone = ask("GET", "/v2/team/gone/manifests/v1").headers["docker-content-digest"]
        assert ask("DELETE", f"/v2/team/gone/manifests/{gone}").status == 202
        ask.push_blob("team/demo", b"fresh")
    old = time.time() - 7200
    for marker in Path(tmp_path / "repositories").rglob("_blobs/*"):
        if made.digest_of(b"fresh").partition(":")[2] not in marker.name:
            os.utime(marker, (old, old))
    stray = tmp_path / "blobs" / "sha256" / ("0" * 64)
    stray.write_bytes(b"of a killed server")
    with serve_registry(str(tmp_path)) as registry:
        ask = connect(registry)
        assert ask("GET", f"/v2/team/demo/manifests/{digest}").status == 200
        for repository, content, status in (
            ("team/demo", b"kept", 200),
            ("team/demo", b"fresh", 200),
            ("team/gone", b"of a deleted image", 404),
        ):
            assert ask("GET", f"/v2/{repository}/blobs/{made.digest_of(content)}").status == status
        assert not stray.exists()
        assert not (tmp_path / "blobs" / "sha256" / made.digest_of(b"of a deleted image")[7:]).exists()


def test_idle_uploads_are_given_up(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    import pytest

    from contextkernel.registry_server.refusals import Refusal
    from contextkernel.registry_server.storage import Storage
    from contextkernel.registry_server.uploads import Uploads

    now = [0.0]
    storage = Storage(str(tmp_path))
    storage.prepare()
    with ThreadPoolExecutor(1) as executor:
        uploads = Uploads(storage, executor, clock=lambda: now[0])
        upload = uploads.begin("team/demo", "sha256")
        now[0] = 3599.0
        uploads.forget_idle()
        assert uploads.get("team/demo", upload.id) is upload
        now[0] = 3601.0
        uploads.forget_idle()
        with pytest.raises(Refusal, match="BLOB_UPLOAD_UNKNOWN"):
            uploads.get("team/demo", upload.id)
        assert os.listdir(storage.uploads) == []
        uploads.close()


def test_a_full_disk_is_told(tmp_path, connect, monkeypatch):
    import errno

    from contextkernel.registry_server.uploads import Upload

    def full(self, data):  # noqa: ARG001
        raise OSError(errno.ENOSPC, "no space left on device")

    with serve_registry(str(tmp_path)) as registry:
        ask = connect(registry)
        place = ask("POST", "/v2/team/demo/blobs/uploads/").headers["location"]
        monkeypatch.setattr(Upload, "write", full)
        answer = ask("PATCH", place, b"x" * 3_000_000)
        assert (answer.status, answer.codes) == (507, ["UNKNOWN"])
        assert "no space left" in answer.body.decode()
        assert ask("GET", "/v2/").status == 200
