"""Rows about images: the table and the history."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from contextkernel.errors import InvalidReference
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Layer
from contextkernel.model.oci import ImageConfig
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import HistoryRow, ImageRow
from contextkernel.store.times import parse_time, to_datetime

_NONE = "<none>"


def image_rows(sql: sqlite3.Connection, reference: str | None) -> tuple[ImageRow, ...]:
    """Rows of the images table, newest first.

    An image has one row per tag; one that only has repository digests a row with the repository and no tag; one
    without any name a row of ``<none>``. With ``reference`` nameless images are left out, as docker does.
    """
    tags: dict[str, list[tuple[str, ImageRef]]] = {}
    for image, registry, repository, tag in sql.execute(
        "SELECT image, registry, repository, tag FROM tags ORDER BY registry, repository, tag"
    ):
        tags.setdefault(image, []).append((tag, ImageRef(registry, repository, tag)))
    digests: dict[str, dict[str, tuple[str, ImageRef]]] = {}
    for image, registry, repository, digest in sql.execute(
        "SELECT image, registry, repository, digest FROM repo_digests ORDER BY registry, repository, digest DESC"
    ):
        ref = ImageRef(registry, repository, None, Digest(digest))
        digests.setdefault(image, {})[ref.name] = (digest, ref)
    rows = []
    for image, origin, created, size, layers in sql.execute(
        "SELECT id, origin, created, size, (SELECT count(*) FROM image_layers WHERE image = id)"
        " FROM images ORDER BY created DESC, added DESC, id"
    ):
        known = digests.get(image, {})
        names: list[tuple[str, str, ImageRef | None]] = [
            (tag, known.get(ref.name, (_NONE, ref))[0], ref) for tag, ref in tags.get(image, [])
        ]
        tagged = {ref.name for _, ref in tags.get(image, [])}
        names += [(_NONE, digest, ref) for name, (digest, ref) in known.items() if name not in tagged]
        for tag, digest, name in names or [(_NONE, _NONE, None)]:
            if reference is not None and (name is None or not matches(reference, name)):
                continue
            rows.append(
                ImageRow(
                    repository=name.familiar_name if name else _NONE,
                    tag=tag,
                    id=Digest(image),
                    created=to_datetime(created),
                    size=size,
                    origin=origin,
                    layers=layers,
                    digest=digest,
                )
            )
    return tuple(rows)


def matches(pattern: str, ref: ImageRef) -> bool:
    """Whether a reference filter takes ``ref``: pattern of the familiar name, or of name and tag.

    Full names are understood too (``docker.io/library/greet``); ``*`` and ``?`` do not match ``/`` (Go's path.Match).
    """
    wanted = [pattern]
    try:
        parsed = ImageRef.parse(pattern)
    except InvalidReference:
        pass
    else:
        wanted.append(parsed.familiar if ":" in pattern.rpartition("/")[2] else parsed.familiar_name)
    return any(_glob(text).match(name) for text in wanted for name in (ref.familiar, ref.familiar_name))


def _glob(pattern: str) -> re.Pattern[str]:
    out = []
    for piece in re.findall(r"\[[^\]]+\]|\\.|.", pattern, re.DOTALL):
        if piece == "*":
            out.append("[^/]*")
        elif piece == "?":
            out.append("[^/]")
        elif len(piece) > 1 and piece[0] == "[":
            body = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[{body}]")
        else:
            out.append(re.escape(piece[-1]))
    try:
        return re.compile("".join(out) + r"\Z")
    except re.error:
        return re.compile(re.escape(pattern) + r"\Z")


def history_rows(image: Digest, config: ImageConfig, layers: Sequence[Layer]) -> tuple[HistoryRow, ...]:
    """The history, newest first; sizes go to the entries that made layers."""
    rows = []
    remaining = iter(layers)
    for entry in config.history:
        layer = None if entry.empty_layer else next(remaining, None)
        rows.append(
            HistoryRow(
                id=None,
                created=to_datetime(parse_time(entry.created)),
                created_by=entry.created_by,
                size=layer.size if layer else 0,
                comment=entry.comment,
            )
        )
    if rows:
        last = rows[-1]
        rows[-1] = HistoryRow(
            id=image, created=last.created, created_by=last.created_by, size=last.size, comment=last.comment
        )
    return tuple(reversed(rows))
