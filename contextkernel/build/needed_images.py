"""The images that a build needs: found, held until the build ends, and known by what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from contextkernel.build.board import Board, StackLayer
from contextkernel.build.crew import together
from contextkernel.build.fetching import OriginLayers
from contextkernel.build.means import Means
from contextkernel.build.reporting import BuildReport
from contextkernel.build.request import BuildRequest
from contextkernel.dockerfile.instructions import Dockerfile
from contextkernel.dockerfile.suggest import nearest
from contextkernel.errors import ImageNotFound, StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.oci import ImageConfig
from contextkernel.plan.stages import StageGraph
from contextkernel.plan.steps import Base, ImageOrigin

_TRIES = 3  # to keep a base image, where somebody prunes again and again


class NeededImages:
    """The images that stages start from, copy from or mount.

    Args:
        means: finds them, and has the store.
        request: says for which platform, and whether registries are asked for newer ones.
        layers: gets the layers of each.
        board: stops what is under way.
        report: receives a step for each.
        stack: they are held until it is closed.

    Attributes:
        ids: of those that were found.
        configs: of them.
        fetched: those that had to be fetched.
    """

    def __init__(
        self,
        means: Means,
        request: BuildRequest,
        layers: OriginLayers,
        *,
        board: Board,
        report: BuildReport,
        stack: ExitStack,
    ) -> None:
        self._means = means
        self._request = request
        self._layers = layers
        self._board = board
        self._report = report
        self._stack = stack
        self.ids: dict[ImageOrigin, Digest] = {}
        self.configs: dict[ImageOrigin, ImageConfig] = {}
        self.fetched: set[Base] = set()

    def bring(self, missing: Sequence[ImageOrigin], graph: StageGraph, dockerfile: Dockerfile) -> None:
        """Find images, several at the same time.

        Args:
            missing: which.
            graph: has the places that name them.
            dockerfile: has its text.

        Raises:
            ImageNotFound: one cannot be had; it names the place, and a stage whose name is near.
        """
        first = self._report.reserve(len(missing))
        works = [partial(self._resolve, image, first + place, graph, dockerfile) for place, image in enumerate(missing)]
        if len(works) == 1:
            works[0]()
        else:
            together(works, self._board, self._report)

    def _resolve(self, image: ImageOrigin, number: int, graph: StageGraph, dockerfile: Dockerfile) -> None:
        with self._report.step(f"[internal] load metadata for {image.ref}", number=number) as step:

            def nested(event: object) -> None:
                self._board.check()
                step.nested(event)

            def find() -> Digest:
                platform = image.platform or self._request.platform
                if image.layout:
                    return self._means.resolve_layout(image.layout, platform=platform, report=nested)
                return self._means.resolve_base(image.ref, pull=self._request.pull, platform=platform, report=nested)

            try:
                self.ids[image] = self._held_base(image, find)
            except ImageNotFound as problem:
                near = nearest(image.ref.familiar_name, graph.names())
                problem.span, problem.source = problem.span or graph.place(image), dockerfile.source
                problem.hint = f"did you mean the stage {near!r}?" if near else problem.hint
                raise
            if step.transferred:
                self.fetched.add(image)

    def _held_base(self, image: ImageOrigin, find: Callable[[], Digest]) -> Digest:
        """Find an image and keep what it is made of; once more if it was removed in between (``prune`` beside it)."""
        for left in reversed(range(_TRIES)):
            found = find()
            try:
                ids = [layer.diff_id for layer in self._means.store.layers_of(found)]
                self._stack.enter_context(self._means.store.hold(ids))
                layers = self._means.store.layers_of(found)  # as they are, now that they stay
                self.configs[image] = self._means.store.config(found)
            except (ImageNotFound, StoreProblem):
                if not left:
                    raise
                continue
            self._layers[image] = tuple(StackLayer(layer.diff_id, layer.directory) for layer in layers)
            return found
        raise AssertionError  # the last try returns or raises
