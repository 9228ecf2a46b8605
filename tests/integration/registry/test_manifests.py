"""Manifest lists and images looked at, in the real registry server, read by skopeo too."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from contextkernel.engine import Engine


@pytest.fixture
def engine(tmp_path):
    with Engine(tmp_path / "store") as made:
        yield made


def archive(path: Path, architecture: str) -> Path:
    """An OCI image layout of one image with one file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"), io.BytesIO())
    layer = content.getvalue()
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, media: str) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[f"blobs/sha256/{digest[7:]}"] = data
        return {"mediaType": media, "digest": digest, "size": len(data)}

    packed = blob(layer, "application/vnd.oci.image.layer.v1.tar")
    config = {
        "architecture": architecture,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [packed["digest"]]},
        "history": [{"created_by": "COPY file /file"}],
    }
    described = blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described,
        "layers": [packed],
    }
    entry = blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    (path / "blobs/sha256").mkdir(parents=True)
    for name, data in blobs.items():
        (path / name).write_bytes(data)
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return path


def test_a_list_of_images_that_skopeo_pushed(engine, real_registry, skopeo, tmp_path):
    place = f"{real_registry.address}/lists/app"
    for architecture in ("amd64", "arm64"):
        layout = archive(tmp_path / architecture, architecture)
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{place}-{architecture}:1")
    engine.create_manifest(f"{place}:1", [f"{place}-amd64:1", f"{place}-arm64:1"])
    engine.annotate_manifest(f"{place}:1", f"{place}-arm64:1", variant="v8")
    lines: list[str] = []
    digest = engine.push_manifest(f"{place}:1", purge=True, tell=lines.append)
    assert len(lines) == 2
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{place}:1")
    assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == digest
    for architecture in ("amd64", "arm64"):
        words = ("inspect", "--tls-verify=false", "--override-arch", architecture, f"docker://{place}:1")
        found = json.loads(skopeo(*words))
        assert found["Architecture"] == architecture
    rows = engine.remote(f"{place}:1").platforms()
    assert [row.platform for row in rows] == ["linux/amd64", "linux/arm64"]
    assert rows[0].shared == rows[0].size
    assert engine.remote(f"{place}:1").history("arm64")[0].created_by == "COPY file /file"


def test_an_index_copied_from_one_registry_to_another(engine, real_registry, start_registry, skopeo, tmp_path):
    other = start_registry()
    source, target = f"{real_registry.address}/from/app:1", f"{other.address}/to/app:1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{archive(tmp_path / 'one', 'riscv64')}", f"docker://{source}")
    made = engine.assemble([source], tags=[target], annotations=["index:made=here"])
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}")
    assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == made.descriptor.digest
    assert json.loads(raw)["annotations"] == {"made": "here"}
    skopeo(
        "copy", "--src-tls-verify=false", "--override-arch=riscv64", f"docker://{target}", f"oci:{tmp_path / 'back'}:x"
    )
    assert (tmp_path / "back/index.json").exists()
