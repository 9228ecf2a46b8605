"""A target that is built, on its way to the outputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import msgspec

from contextkernel.build.board import StackLayer
from contextkernel.build.layer_index import read_index
from contextkernel.build.ports import BuildStore
from contextkernel.errors import DigestMismatch, StoreProblem
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Entry
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker
from contextkernel.plan.image import MadeLayer, image_config
from contextkernel.plan.keys import rewrite_key
from contextkernel.plan.stage import StageState

_SECOND = 1_000_000_000


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """What a build for one platform has come to.

    Attributes:
        state: of the target at its end.
        base: configuration of the image at its bottom; ``None`` for scratch.
        layers: base first; those that this build made have ``made``.
        platform: that it is for.
        inline_cache: the build's cache, to stand in the configuration.
    """

    state: StageState
    base: ImageConfig | None
    layers: tuple[StackLayer, ...]
    platform: Platform
    inline_cache: str | None = None

    def document(self, labels: dict[str, str], epoch: int | None) -> bytes:
        """The configuration document.

        Args:
            labels: added to the image.
            epoch: SOURCE_DATE_EPOCH in seconds, if there is one.
        """
        config = image_config(
            self.state,
            base=self.base,
            made=[layer.made for layer in self.layers if layer.made is not None],
            labels=labels,
            platform=self.platform,
            epoch=epoch,
        )
        return to_json(msgspec.structs.replace(config, inline_cache=self.inline_cache))

    def files(self) -> dict[str, Entry]:
        """What the result looks like, by path, from the indexes of its layers."""
        from contextkernel.layer.merge import merge

        return merge(read_index(f"{layer.directory}/index") for layer in self.layers)


def rewritten(
    finished: Finished,
    epoch: int,
    store: BuildStore,
    worker: LayerWorker,
    keep: Callable[[Digest], bool],
    added: list[Digest],
) -> Finished:
    """The same with no file younger than ``epoch`` in the layers that the build made (``rewrite-timestamp=true``).

    Layers of the base image stay what they are, so that they are still shared with it.

    Args:
        finished: what was built.
        epoch: seconds since 1970.
        store: where layers are, and where it is remembered what was rewritten before.
        worker: renders and unpacks them.
        keep: keeps a layer until the build ends; false if it is gone.
        added: gets the layers that were added; the caller releases them when an image refers to them.

    Raises:
        StoreProblem: no space left, or the store is damaged.
    """

    def rewrite(layer: StackLayer) -> StackLayer:
        if layer.made is None:
            return layer
        from contextkernel.store.steps import StepRecord

        key = rewrite_key(layer.diff_id, epoch)
        record = store.step(key)
        if record is None or not keep(record.diff_id):
            diff_id = _clamped(layer, epoch, store, worker, added)
            store.add_step(key, StepRecord(diff_id=diff_id, created=layer.made.created))
        else:
            diff_id = record.diff_id
        return StackLayer(diff_id, store.layer(diff_id).directory, MadeLayer(diff_id, layer.made.created))

    return msgspec.structs.replace(finished, layers=tuple(rewrite(layer) for layer in finished.layers))


def _clamped(layer: StackLayer, epoch: int, store: BuildStore, worker: LayerWorker, added: list[Digest]) -> Digest:
    path = store.temporary_path()
    try:
        with open(path, "xb", buffering=0) as sink:
            facts = worker.write_tar(layer.directory, sink.fileno(), latest=epoch * _SECOND)
        if facts.diff_id == layer.diff_id:
            return layer.diff_id
        directory = store.new_layer_dir()
        try:
            found = worker.unpack(path, directory)
            if found.diff_id != facts.diff_id:
                raise DigestMismatch(f"layer {facts.diff_id} unpacks to {found.diff_id}")
            store.add_layer(directory, found)
        except BaseException:
            with suppress(StoreProblem):
                store.discard_layer_dir(directory)
            raise
        added.append(found.diff_id)
        return found.diff_id
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
