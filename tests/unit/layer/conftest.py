"""Making small archives, good and bad."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

from contextkernel.layer.tree import LayerTree
from contextkernel.layer.untar import Source, read_layer
from contextkernel.model.layers import Entry


class Archive:
    """A tar archive under construction, with Python's own writer."""

    def __init__(self, fmt: int = tarfile.PAX_FORMAT) -> None:
        self.buffer = io.BytesIO()
        self.tar = tarfile.TarFile(fileobj=self.buffer, mode="w", format=fmt)

    def add(
        self, name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", link: str = "", **fields: object
    ) -> Archive:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = link
        info.size = len(data)
        for key, value in fields.items():
            setattr(info, key, value)
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def dir(self, name: str, mode: int = 0o755) -> Archive:
        return self.add(name, tarfile.DIRTYPE, mode=mode)

    def symlink(self, name: str, target: str) -> Archive:
        return self.add(name, tarfile.SYMTYPE, link=target)

    def hardlink(self, name: str, target: str) -> Archive:
        return self.add(name, tarfile.LNKTYPE, link=target)

    def bytes(self) -> bytes:
        self.tar.close()
        return self.buffer.getvalue()


def read(data: bytes, limit: int | None = None) -> LayerTree:
    """Read a layer as the worker does, without a disk."""
    import hashlib

    tree = LayerTree()
    source = Source(io.BytesIO(data).read, limit)
    for member in read_layer(source, tree):
        if member.entry.kind == "file":
            content = bytearray(member.entry.size)
            for offset, part in member.content():
                content[offset : offset + len(part)] = part
            tree.replace_content(member.entry.path, len(content), hashlib.sha256(content).hexdigest())
    assert source.finish() == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return tree


def paths(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    return [(entry.kind, entry.path) for entry in entries]
