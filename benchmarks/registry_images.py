"""The images that registry.py moves about, as docker-archives: a Debian base, and ten layers of some 500 MB on it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

_LAYERS = 9  # on the base
_BYTES = 36 << 20  # of each, at least


def write_archives(folder: Path, debian: Path, mark: str) -> tuple[Path, Path]:
    """Write both.

    Args:
        folder: where to; is made.
        debian: tar of a Debian file system.
        mark: makes all layers different from those of other marks.

    Returns:
        The archive of the base, and of the ten layers.
    """
    folder.mkdir()
    base = folder / "base.layer"
    _marked(debian, base, mark)
    upper = [folder / f"{number}.layer" for number in range(_LAYERS)]
    with tarfile.open(debian) as archive:
        files = _files(archive)
        for number, path in enumerate(upper):
            _layer(path, files, f"opt/{number}", f"{mark}-{number}")
    archives = folder / "base.tar", folder / "layers.tar"
    _docker_archive(archives[0], [base], f"bench-base:{mark}")
    _docker_archive(archives[1], [base, *upper], f"bench-layers:{mark}")
    for path in (base, *upper):
        path.unlink()
    return archives


def _marked(debian: Path, target: Path, mark: str) -> None:
    """The base with one file more."""
    target.write_bytes(debian.read_bytes())
    with tarfile.open(target, "a") as archive:
        _add(archive, "etc/benchmark", mark.encode())


def _files(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes, int]]:
    """Name, content and mode of the regular files, over and over again."""
    members = [member for member in archive.getmembers() if member.isreg()]
    while True:
        for member in members:
            content = archive.extractfile(member)
            assert content is not None
            yield member.name.lstrip("./"), content.read(), member.mode


def _layer(path: Path, files: Iterator[tuple[str, bytes, int]], prefix: str, mark: str) -> None:
    """A layer as BuildKit writes one: ustar, in order, directories before what is in them, nothing after the end."""
    found: dict[str, tuple[bytes | None, int]] = {f"{prefix}/mark": (mark.encode(), 0o644)}
    size = 0
    while size < _BYTES:
        name, content, mode = next(files)
        if not name.isascii() or len(name) > 90:
            continue  # BuildKit has PAX records for some of these
        found[f"{prefix}/{name}"] = (content, mode)
        size += len(content)
    for name in list(found):
        for parent in list(Path(name).parents)[:-1]:
            found[str(parent)] = (None, 0o755)
    with path.open("wb") as sink:
        for name in sorted(found, key=lambda name: name.split("/")):
            data, mode = found[name]
            sink.write(_header(name, mode, data))
            if data is not None:
                sink.write(data + bytes(-len(data) % 512))
        sink.write(bytes(1024))


def _header(name: str, mode: int, data: bytes | None) -> bytes:
    """As Go's archive/tar writes it: Python's writer leaves the numbers of devices empty."""
    info = tarfile.TarInfo(name if data is not None else name + "/")
    info.type, info.mode, info.mtime = tarfile.REGTYPE if data is not None else tarfile.DIRTYPE, mode, 1_700_000_000
    info.size = len(data or b"")
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[329:345] = b"0000000\0" * 2
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(data), 1_700_000_000
    archive.addfile(info, io.BytesIO(data))


def _docker_archive(path: Path, layers: list[Path], name: str) -> None:
    digests = [hashlib.sha256(layer.read_bytes()).hexdigest() for layer in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "benchmark"} for _ in digests],
        }
    ).encode()
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    item = {"Config": named, "RepoTags": [name], "Layers": [f"{digest}.tar" for digest in digests]}
    with tarfile.open(path, "w") as archive:
        _add(archive, named, config)
        for layer, digest in zip(layers, digests, strict=True):
            archive.add(layer, f"{digest}.tar")
        _add(archive, "manifest.json", json.dumps([item]).encode())
