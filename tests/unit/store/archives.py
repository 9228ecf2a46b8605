"""Archives as other tools write them, made by hand."""

import gzip
import io
import json
import tarfile

from contextkernel.model.digest import Digest


def tar(*members):
    """A tar of ``(name, content)``; content ``None`` is a directory, text a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


LAYER = tar(("etc", None), ("etc/hello", b"hello\n"))
SECOND = tar(("second", b"2" * 5000))


def config(*layers, **fields):
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2020-01-01T00:00:00Z",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest.of(layer) for layer in layers]},
            **fields,
        }
    ).encode()


def docker_archive(*layers, tags=("old:v1",), document=None):
    """As docker wrote it before 25.0: a folder per layer."""
    document = document or config(*layers)
    members = [(f"{Digest.of(document).hex}.json", document)]
    paths = []
    for number, layer in enumerate(layers):
        paths.append(f"{number:064x}/layer.tar")
        members += [(f"{number:064x}", None), (f"{number:064x}/VERSION", b"1.0"), (paths[-1], layer)]
    item = {"Config": members[0][0], "RepoTags": list(tags) or None, "Layers": paths}
    return tar(*members, ("manifest.json", json.dumps([item]).encode()))


def descriptor(media_type, data, **fields):
    return {"mediaType": media_type, "digest": Digest.of(data), "size": len(data), **fields}


def oci_parts(document, layers, pack=gzip.compress):
    """Manifest bytes, and the blobs of an image as tar members."""
    # without a time: two archives of the same layers are the same, whenever they are made
    packed = [gzip.compress(layer, mtime=0) if pack is gzip.compress else pack(layer) for layer in layers]
    kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if pack is gzip.compress else "")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", document),
            "layers": [descriptor(kind, layer) for layer in packed],
        }
    ).encode()
    return manifest, [(f"blobs/sha256/{Digest.of(blob).hex}", blob) for blob in (document, manifest, *packed)]


def oci_archive(*layers, name="localhost/oci:v2", pack=gzip.compress):
    manifest, blobs = oci_parts(config(*layers), layers, pack)
    entry = descriptor(
        "application/vnd.oci.image.manifest.v1+json", manifest, annotations={"org.opencontainers.image.ref.name": name}
    )
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    return tar(("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index), *blobs)
