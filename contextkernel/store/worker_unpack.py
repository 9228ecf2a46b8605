"""Unpacking a layer archive into a layer directory."""

from __future__ import annotations

import os

from contextkernel.layer import names
from contextkernel.layer.index import layer_size, pack_index
from contextkernel.layer.tree import LayerTree
from contextkernel.layer.untar import read_layer
from contextkernel.model.layers import LayerFacts
from contextkernel.store.worker_commit import Check
from contextkernel.store.worker_extract import Extractor, open_source
from contextkernel.store.worker_marks import make_opaque, white_out
from contextkernel.store.worker_tree import Ids, Tree, write_file


def unpack(source: str, directory: str, limit: int | None, ids: Ids, check: Check) -> LayerFacts:
    """See ports.LayerWorker. Device nodes that a user namespace may not make are in the index only."""
    diff = f"{directory}/diff"
    os.makedirs(diff, 0o755, exist_ok=True)
    layer = LayerTree()
    with open(source, "rb") as stream, Tree(diff) as tree:
        archive = open_source(stream, limit, check=check)
        extractor = Extractor(tree, ids)
        for member in read_layer(archive, layer):
            check()
            found = extractor.write(member)
            if found is not None:
                layer.replace_content(member.entry.path, *found)
        diff_id = archive.finish()
        whiteouts, opaques = layer.hide()
        hidden = frozenset(opaques)
        for path in whiteouts:
            # in an opaque directory nothing is left to hide
            white_out(tree, path, ids, needless=names.split(path)[0] in hidden)
        for path in opaques:
            make_opaque(tree, path, ids)
        entries = layer.entries()
        extractor.finish(entry for entry in reversed(entries) if entry.kind == "dir")
    write_file(f"{directory}/index", pack_index(entries))
    return LayerFacts(diff_id=diff_id, size=layer_size(entries), entries=len(entries))
