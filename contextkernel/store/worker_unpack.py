"""Unpacking a layer archive into a layer directory, in one pass over the archive."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from contextkernel.layer import names
from contextkernel.layer.echo import Echo
from contextkernel.layer.index import layer_size, pack_index
from contextkernel.layer.source import Source
from contextkernel.layer.tree import LayerTree
from contextkernel.layer.untar import read_layer
from contextkernel.model.layers import Entry, LayerFacts
from contextkernel.store.worker_ahead import Ahead
from contextkernel.store.worker_commit import Check
from contextkernel.store.worker_extract import Extractor
from contextkernel.store.worker_marks import make_opaque, white_out
from contextkernel.store.worker_tree import Ids, Tree, write_file


def unpack(source: str | int, directory: str, limit: int | None, ids: Ids, check: Check) -> LayerFacts:
    """See ports.LayerWorker. Device nodes that a user namespace may not make are in the index only."""
    diff = f"{directory}/diff"
    os.makedirs(diff, 0o755, exist_ok=True)
    layer = LayerTree()
    with _opened(source) as descriptor, Ahead(descriptor, check) as packed, Tree(diff) as tree:
        archive = Source(packed.read, limit, packed.plain_digest)
        echo = Echo(archive)
        extractor = Extractor(tree, ids)
        for member in read_layer(archive, layer, echo):
            check()
            found = extractor.write(member)
            if found is not None:
                layer.replace_content(member.entry.path, *found)
        whiteouts, opaques = layer.hide()
        hidden = frozenset(opaques)
        for path in whiteouts:
            # in an opaque directory nothing is left to hide
            white_out(tree, path, ids, needless=names.split(path)[0] in hidden)
        for path in opaques:
            make_opaque(tree, path, ids)
        entries = layer.entries()
        extractor.finish(entry for entry in reversed(entries) if entry.kind == "dir")
        facts = facts_of(archive, echo, packed, entries)
    write_file(f"{directory}/index", pack_index(entries))
    return facts


def facts_of(archive: Source, echo: Echo, packed: Ahead, entries: Sequence[Entry]) -> LayerFacts:
    """What is known of a layer when the last of its archive's entries was read.

    Args:
        archive: what follows the entries is read to its end.
        echo: has seen the entries.
        packed: what the archive was read from.
        entries: of the layer, in order.
    """
    reproducible = echo.matches(entries)
    return LayerFacts(
        diff_id=archive.finish(),
        size=layer_size(entries),
        entries=len(entries),
        reproducible=reproducible,
        packed=packed.packed_digest(),
        packed_size=packed.packed_size,
        compression=packed.compression,
    )


@contextmanager
def _opened(source: str | int) -> Iterator[int]:
    if isinstance(source, int):
        yield source
        return
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
