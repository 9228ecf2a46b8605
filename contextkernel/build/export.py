"""What a finished target becomes: an image in the store."""

from __future__ import annotations

from collections.abc import Sequence

from contextkernel.build.board import StackLayer
from contextkernel.build.ports import BuildStore
from contextkernel.build.reporting import BuildReport
from contextkernel.build.request import BuildRequest
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.events import BuildFinished
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import BuildResult
from contextkernel.plan.image import image_config
from contextkernel.plan.stage import StageState


def export_image(
    store: BuildStore,
    report: BuildReport,
    request: BuildRequest,
    *,
    state: StageState,
    base: ImageConfig | None,
    layers: Sequence[StackLayer],
    platform: Platform,
) -> BuildResult:
    """Record the image and its names.

    Args:
        store: where it goes.
        report: of the build.
        request: what was asked for.
        state: of the target at its end.
        base: configuration of the image at its bottom; ``None`` for scratch.
        layers: of the target, base first.
        platform: that it is for.
    """
    with report.step("exporting to image") as step:
        step.note("exporting layers")
        config = image_config(
            state,
            base=base,
            made=[layer.made for layer in layers if layer.made is not None],
            labels=request.labels,
            platform=platform,
        )
        document = to_json(config)
        step.note(f"writing image {Digest.of(document)}")
        image = store.add_image(document, origin="build", names=request.tags)
        for tag in request.tags:
            step.note(f"naming to {_shown(tag)}")
    names = tuple(tag.familiar for tag in request.tags)
    seconds = report.seconds
    report.emit(BuildFinished(image, names, seconds))
    return BuildResult(
        image=image,
        names=names,
        steps=tuple(report.steps),
        seconds=seconds,
        warnings=tuple(report.warnings),
    )


def _shown(tag: ImageRef) -> str:
    """As docker says what it names: the default tag is left out."""
    return tag.name if tag.tag == "latest" else str(tag)
