"""Unpacking a layer archive into a layer directory."""

from __future__ import annotations

import os
import stat

from contextkernel.layer import names
from contextkernel.layer.index import layer_size, pack_index
from contextkernel.layer.tree import LayerTree
from contextkernel.layer.untar import read_layer
from contextkernel.model.layers import LayerFacts
from contextkernel.store.worker_commit import Check
from contextkernel.store.worker_extract import Extractor, open_source
from contextkernel.store.worker_tree import Ids, Tree, write_file


def unpack(source: str, directory: str, limit: int | None, ids: Ids, check: Check) -> LayerFacts:
    """See ports.LayerWorker. Device nodes that a user namespace may not make are in the index only."""
    diff = f"{directory}/diff"
    os.makedirs(diff, 0o755, exist_ok=True)
    layer = LayerTree()
    with open(source, "rb") as stream, Tree(diff) as tree:
        archive = open_source(stream, limit)
        extractor = Extractor(tree, ids)
        for member in read_layer(archive, layer):
            check()
            found = extractor.write(member)
            if found is not None:
                layer.replace_content(member.entry.path, *found)
        diff_id = archive.finish()
        whiteouts, opaques = layer.hide()
        for path in whiteouts:
            _white_out(tree, path, ids)
        for path in opaques:
            _make_opaque(tree, path, ids)
        entries = layer.entries()
        extractor.finish(entry for entry in reversed(entries) if entry.kind == "dir")
    write_file(f"{directory}/index", pack_index(entries))
    return LayerFacts(diff_id=diff_id, size=layer_size(entries), entries=len(entries))


def _white_out(tree: Tree, path: str, ids: Ids) -> None:
    """Make overlay hide ``path`` of the layers below."""
    directory, name = tree.parent(path)
    try:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory)
    except PermissionError:
        # the store lies on an overlay, which keeps 0:0 devices to itself: use the form for nested overlays (Linux 6.7)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            os.setxattr(descriptor, f"{ids.xattr}whiteout", b"y")
        finally:
            os.close(descriptor)
        _mark(tree, names.split(path)[0], ids, b"x")


def _make_opaque(tree: Tree, path: str, ids: Ids) -> None:
    """Make overlay hide everything below the directory ``path`` of lower layers."""
    _mark(tree, path, ids, b"y")


def _mark(tree: Tree, path: str, ids: Ids, value: bytes) -> None:
    descriptor = tree.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.setxattr(descriptor, f"{ids.xattr}opaque", value)
    finally:
        os.close(descriptor)
