"""Whatever a registry says, looking at it ends in one clear error or in rows that can be shown."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextkernel.commands.imagetools import overview, template_data
from contextkernel.engine.remote_document import remote_document
from contextkernel.errors import ContextKernelError
from contextkernel.model.digest import Digest
from contextkernel.model.indexes import platform_of
from contextkernel.model.oci import (
    MEDIA_CONFIG,
    MEDIA_INDEX,
    MEDIA_LAYER_GZIP,
    MEDIA_MANIFEST,
    Descriptor,
    PlatformField,
)
from contextkernel.model.reference import ImageRef
from contextkernel.notebook.indexview import index_html, index_text
from contextkernel.registry.remote import listed_platforms, look, source_of, statements

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


class _Liar:
    """A repository with three documents, one of them changed."""

    where = "r.example/a"

    def __init__(self, part: str, path: tuple[str, ...], value: object) -> None:
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-03-01T10:00:00Z",
            "config": {"Cmd": ["a"], "Labels": {"a": "b"}},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(b"x"))]},
            "history": [{"created_by": "ADD"}, {"created_by": "CMD", "empty_layer": True}],
        }
        self._config = self._dumped("config", config, part, path, value)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "config": {"mediaType": MEDIA_CONFIG, "digest": str(Digest.of(self._config)), "size": len(self._config)},
            "layers": [{"mediaType": MEDIA_LAYER_GZIP, "digest": str(Digest.of(b"l")), "size": 9}],
        }
        self._manifest = self._dumped("manifest", manifest, part, path, value)
        index = {
            "schemaVersion": 2,
            "mediaType": MEDIA_INDEX,
            "manifests": [
                {
                    "mediaType": MEDIA_MANIFEST,
                    "digest": str(Digest.of(self._manifest)),
                    "size": len(self._manifest),
                    "platform": {"architecture": "amd64", "os": "linux"},
                    "annotations": {"a": "b"},
                }
            ],
        }
        self._index = self._dumped("index", index, part, path, value)

    def _dumped(self, name, document, part, path, value):
        if name == part:
            here = document
            for step in path[:-1]:
                here = here[int(step) if isinstance(here, list) else step]
            here[int(path[-1]) if isinstance(here, list) else path[-1]] = value
        return json.dumps(document).encode()

    def manifest(self, reference):
        if reference == str(Digest.of(self._manifest)):
            return MEDIA_MANIFEST, self._manifest
        return MEDIA_INDEX, self._index

    def abort(self):
        """Nobody waits."""

    @contextmanager
    def blob(self, _digest):
        yield io.BytesIO(self._config)


_PLACES = [
    ("config", ("os",)),
    ("config", ("created",)),
    ("config", ("config",)),
    ("config", ("config", "Labels")),
    ("config", ("rootfs", "diff_ids")),
    ("config", ("history",)),
    ("config", ("history", "0")),
    ("config", ("history", "0", "created")),
    ("manifest", ("config",)),
    ("manifest", ("config", "size")),
    ("manifest", ("config", "mediaType")),
    ("manifest", ("layers",)),
    ("manifest", ("layers", "0")),
    ("manifest", ("layers", "0", "size")),
    ("index", ("manifests",)),
    ("index", ("manifests", "0")),
    ("index", ("manifests", "0", "platform")),
    ("index", ("manifests", "0", "platform", "os")),
    ("index", ("manifests", "0", "platform", "os.features")),
    ("index", ("manifests", "0", "annotations")),
    ("index", ("manifests", "0", "mediaType")),
]


@settings(max_examples=300, deadline=None, database=None)
@given(place=st.sampled_from(_PLACES), value=_JSON)
def test_any_value_anywhere(place, value):
    repository = _Liar(*place, value)
    name = ImageRef.parse("r.example/a:1")
    shown: list[str] = []
    for ask in (
        lambda: look(lambda *_: [repository], name, every=True),
        lambda: listed_platforms(lambda *_: [repository], name),
        lambda: source_of(lambda *_: [repository], name),
        lambda: statements(lambda *_: [repository], name),
    ):
        try:
            found = ask()
        except ContextKernelError:
            continue
        shown.append(str(found))
    try:
        remote = look(lambda *_: [repository], name, every=True)
        shown += [index_text(remote), overview(remote)]
        for view in (index_html, remote_document, lambda it: template_data("a", it, {}), lambda it: it.history()):
            try:
                shown.append(str(view(remote)))
            except ContextKernelError:
                continue
    except ContextKernelError:
        pass
    assert all(isinstance(text, str) for text in shown)


def test_nothing_wrong_gives_everything():
    remote = look(lambda *_: [_Liar("", (), None)], ImageRef.parse("r.example/a:1"), every=True)
    assert [row.platform for row in remote.platforms()] == ["linux/amd64"]
    assert len(remote.history("linux/amd64")) == 2


@pytest.mark.parametrize(
    "field",
    [
        PlatformField("a/b/c", "linux", variant="x"),
        PlatformField("amd64\x1b[2J", "linux"),
        PlatformField("", "linux"),
        PlatformField("unknown", "unknown"),
    ],
)
def test_a_platform_that_is_none(field):
    assert platform_of(Descriptor(MEDIA_MANIFEST, Digest.of(b""), 0, platform=field)) is None
