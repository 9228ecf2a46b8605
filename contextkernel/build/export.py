"""What finished targets become: an image in the store, an archive, a layout, files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from contextkernel.build.finished import Finished, rewritten
from contextkernel.build.outputs import Outputs
from contextkernel.build.ports import BuildStore
from contextkernel.build.reporting import BuildReport, StepReport
from contextkernel.build.request import BuildRequest
from contextkernel.model.digest import Digest
from contextkernel.model.events import BuildFinished
from contextkernel.model.outputs import (
    ArchiveOutput,
    CacheOutput,
    ImageForm,
    ImageOutput,
    LocalOutput,
    Output,
    Statement,
    TarOutput,
)
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker
from contextkernel.model.results import BuildResult
from contextkernel.store.manifests import FinishedImage

StatementMaker = Callable[[Finished], tuple[Statement, ...]]
"""Makes the statements that go with a finished target."""


class Exporter:
    """Turns what was built into what was asked for.

    Args:
        store: where layers are and images go.
        worker: packs, rewrites and writes files.
        report: of the build.
        request: what was asked for.
        epoch: SOURCE_DATE_EPOCH in seconds, if there is one.
        keep: keeps a layer until the build ends; false if it is gone.
        stack: ends with the build.
        statements: makes attestations.
        metadata: further entries of the result's metadata.
    """

    def __init__(
        self,
        store: BuildStore,
        worker: LayerWorker,
        report: BuildReport,
        request: BuildRequest,
        *,
        epoch: int | None,
        keep: Callable[[Digest], bool],
        stack: ExitStack,
        statements: StatementMaker,
        metadata: dict[str, Any],
    ) -> None:
        self._store = store
        self._worker = worker
        self._report = report
        self._request = request
        self._epoch = epoch
        self._keep = keep
        self._statements = statements
        self._metadata = metadata
        self._rewritten: dict[Platform, Finished] = {}
        self._stated: dict[tuple[Digest, ...], tuple[Statement, ...]] = {}
        self._added: list[Digest] = []
        stack.callback(lambda: store.release(self._added) if self._added else None)

    def export(self, finished: Sequence[Finished]) -> BuildResult:
        """Do all outputs.

        Args:
            finished: one, or one for each platform.

        Raises:
            InvalidInput: an output cannot be written; those before it are there.
            StoreProblem: no space left, or the store is damaged.
        """
        outputs = Outputs(self._store, self._worker, self._request, self._epoch)
        stored: Digest | None = None
        for output in self._request.outputs:
            match output:
                case ImageOutput():
                    stored = self._image(outputs, output, finished) or stored
                case ArchiveOutput():
                    kind = "docker" if output.docker else "oci"
                    with self._report.step(f"exporting to {kind} image format") as step:
                        step.note("exporting layers")
                        chosen = self._in_form(finished, output.form)
                        images = [self._finished_image(one) for one in chosen]
                        self._metadata |= outputs.archive(output, images, step.note)
                case LocalOutput() | TarOutput():
                    place = "client directory" if isinstance(output, LocalOutput) else "client tarball"
                    with self._report.step(f"exporting to {place}") as step:
                        step.note("copying files" if isinstance(output, LocalOutput) else "sending tarball")
                        outputs.files(output, [(one, self._made_statements(one)) for one in finished])
                case CacheOutput():
                    pass
        image = stored or Digest.of(self._document(self._in_form(finished, _form(self._request.outputs))[0]))
        names = tuple(tag.familiar for tag in self._request.tags) if stored else ()
        seconds = self._report.seconds
        self._report.emit(BuildFinished(image, names, seconds))
        return BuildResult(
            image=image,
            names=names,
            steps=tuple(self._report.steps),
            seconds=seconds,
            warnings=tuple(self._report.warnings),
            stored=stored is not None,
            metadata=dict(sorted(self._metadata.items())),
        )

    def _image(self, outputs: Outputs, output: ImageOutput, finished: Sequence[Finished]) -> Digest | None:
        """Keep an image, push it, or both; its id if it is kept."""
        with self._report.step("exporting to image") as step:
            step.note("exporting layers")
            images = [self._finished_image(one) for one in self._in_form(finished, output.form)]
            stored = None
            if output.store and len(images) == 1:
                step.note(f"writing image {Digest.of(images[0].config)}")
                stored, metadata = outputs.image(output, images[0], step.note)
                self._metadata |= metadata
            if output.push:
                self._push(output, images, step, stored)
            return stored

    def _push(
        self, output: ImageOutput, images: Sequence[FinishedImage], step: StepReport, stored: Digest | None
    ) -> None:
        from contextkernel.build.pushed import push_images, pushed_names

        metadata = push_images(
            self._store,
            self._worker,
            output,
            images,
            self._request.tags,
            (*self._request.annotations, *output.form.annotations),
            note=step.note,
            report=self._report.emit,
            step=step.number,
        )
        self._metadata |= metadata
        if stored is not None:
            further = pushed_names(output, self._request.tags, metadata)
            self._store.add_image(images[0].config, origin="build", names=further)

    def _in_form(self, finished: Sequence[Finished], form: ImageForm) -> list[Finished]:
        if not form.rewrite_timestamp:
            return list(finished)
        if self._epoch is None:
            text = "rewrite-timestamp is specified, but no source-date-epoch was found"
            if text not in self._report.warnings:
                self._report.warn(text)
            return list(finished)
        out = []
        for one in finished:
            known = self._rewritten.get(one.platform)
            if known is None:
                known = rewritten(one, self._epoch, self._store, self._worker, self._keep, self._added)
                self._rewritten[one.platform] = known
            out.append(known)
        return out

    def _document(self, finished: Finished) -> bytes:
        return finished.document(dict(self._request.labels), self._epoch)

    def _finished_image(self, finished: Finished) -> FinishedImage:
        return FinishedImage(
            config=self._document(finished),
            layers=tuple(self._store.layer(layer.diff_id) for layer in finished.layers),
            platform=finished.platform,
            statements=self._made_statements(finished),
        )

    def _made_statements(self, finished: Finished) -> tuple[Statement, ...]:
        """The attestations; the files are the same whatever their times are, so each is made once."""
        if not self._request.attests:
            return ()
        key = tuple(layer.diff_id for layer in finished.layers)
        if key not in self._stated:
            self._stated[key] = self._statements(finished)
        return self._stated[key]


def _form(outputs: Sequence[Output]) -> ImageForm:
    """The form that an image would have: of the first output that is one."""
    for output in outputs:
        if isinstance(output, ImageOutput | ArchiveOutput):
            return output.form
    return ImageForm()
