"""Digests of what a COPY --from would copy: content and metadata, times left out (as BuildKit's contenthash)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from contextkernel.errors import SourceNotFound
from contextkernel.layer.merge import below, resolve
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Entry

_VERSION = "content/1"
_ENCODER = msgspec.msgpack.Encoder()


def content_digest(merged: Mapping[str, Entry], paths: Iterable[str]) -> Digest:
    """One digest over everything at and below ``paths``.

    Two images that hold the same files there, with the same types, modes, owners, contents, link targets and
    attributes, give the same digest, whatever their layers are. Symbolic links in ``paths`` themselves are followed;
    hard links count as the files they are.

    Args:
        merged: the image's merged view (``merge.merge``).
        paths: relative to its root, in the order of the instruction.

    Raises:
        SourceNotFound: there is nothing at a path.
    """
    sha = hashlib.sha256(_VERSION.encode())
    for path in paths:
        place = resolve(merged, path)
        if place is None:
            raise SourceNotFound(f"{path!r} does not exist in the source")
        base = 0 if place == "." else len(place) + 1
        for row in below(merged, place):
            entry = merged[row.link] if row.kind == "hardlink" else row
            name = "" if row.path == place else row.path[base:]
            sha.update(_ENCODER.encode(_canonical(name, entry)))
        sha.update(b"\0")
    return Digest.from_hex(sha.hexdigest())


def _canonical(name: str, entry: Entry) -> list[object]:
    """What counts of an entry, as plain values."""
    attributes = sorted(
        (key.encode("utf-8", "surrogateescape"), value)
        for key, value in entry.xattrs.items()
        if key == "security.capability" or not key.startswith(("security.", "system."))
    )
    return [
        name.encode("utf-8", "surrogateescape"),
        entry.kind,
        0o777 if entry.kind == "symlink" else entry.mode,
        entry.uid,
        entry.gid,
        entry.size,
        entry.link.encode("utf-8", "surrogateescape"),
        entry.digest,
        attributes,
        entry.major,
        entry.minor,
    ]
