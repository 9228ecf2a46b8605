"""The files of whatever a build copies from: directories, images, stages and what was fetched."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from contextkernel.build.board import Board, StackLayer
from contextkernel.build.context import DirectoryContext
from contextkernel.build.copying import ResolvedCopy, resolve_copy, resolve_several
from contextkernel.build.layer_index import read_index
from contextkernel.build.trees import MergedTree, SourceTree
from contextkernel.plan.remote import GitOrigin, HttpOrigin, redacted
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.steps import ContextOrigin, CopyStep, ImageOrigin, Origin, StageOrigin


class OriginFiles:
    """Finds layers, trees and COPY sources of origins; several stages may ask at the same time.

    Args:
        contexts: the directories, which may still grow.
        layers: of everything else but stages, which may still grow.
        board: knows the layers of stages that have come to their end.
    """

    def __init__(
        self,
        contexts: Mapping[Origin, DirectoryContext],
        layers: Mapping[Origin, tuple[StackLayer, ...]],
        board: Board,
    ) -> None:
        self._contexts = contexts
        self._layers = layers
        self._board = board
        self._trees: dict[Origin, MergedTree] = {}
        self._merging = threading.Lock()

    def layers_of(self, origin: Origin) -> tuple[StackLayer, ...]:
        """The layers of an image, of what is fetched (now, if it was not), or of a stage that has come to its end."""
        return self._board.layers(origin.index) if isinstance(origin, StageOrigin) else self._layers[origin]

    def files(self, origin: Origin, plans: Mapping[int, StagePlan]) -> SourceTree:
        """The files of any origin: a directory, or layers.

        Args:
            origin: whose files.
            plans: of all stages; they name the origin in messages.
        """
        return self._contexts.get(origin) or self._tree(origin, plans)

    def copy(self, step: CopyStep, plans: Mapping[int, StagePlan]) -> ResolvedCopy:
        """What ``step`` copies.

        Args:
            step: a COPY or ADD.
            plans: of all stages; they name the origins in messages.

        Raises:
            SourceNotFound: a source is missing.
        """
        return resolve_several(step, lambda one: resolve_copy(one, self.files(one.origin, plans)))

    def _tree(self, origin: Origin, plans: Mapping[int, StagePlan]) -> MergedTree:
        """What an image or stage looks like, from the indexes of its layers."""
        layers = self.layers_of(origin)  # not under the lock: it may have to be fetched
        with self._merging:
            found = self._trees.get(origin)
            if found is None:
                from contextkernel.layer.merge import merge

                found = self._trees[origin] = MergedTree(
                    merge(read_index(f"{layer.directory}/index") for layer in layers),
                    _label(origin, plans),
                )
            return found


def _label(origin: Origin, plans: Mapping[int, StagePlan]) -> str:
    match origin:
        case StageOrigin(index=index):
            return f"stage {plans[index].node.name or index}"
        case ImageOrigin(ref=ref):
            return f"image {ref.familiar}"
        case ContextOrigin(name=name):
            return f"the build context {name!r}" if name else "the build context"
        case HttpOrigin(url=url) | GitOrigin(remote=url):
            return redacted(url)
        case _:
            return "scratch, which is empty"
