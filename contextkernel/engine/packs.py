"""The verb that packs a course's images, for rooms without a network."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.archives import platforms_of
from contextkernel.engine.builds import Builds
from contextkernel.engine.composition import silent
from contextkernel.errors import ContextKernelError, ImageNotFound, InvalidInput, InvalidReference, RegistryProblem
from contextkernel.model.events import StepDone, StepNote, StepStarted
from contextkernel.model.given import several
from contextkernel.model.outputs import Compression
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.model.digest import Digest
    from contextkernel.model.outputs import CompressionKind
    from contextkernel.model.ports import Reporter
    from contextkernel.model.results import BaseRow

_TAR = ".tar"


class Packs(Builds):
    """Course packs."""

    def pack(
        self,
        names: str | Sequence[str],
        output: str,
        *,
        platform: str | Sequence[str] | None = None,
        compression: CompressionKind = "gzip",
        report: Reporter | None = None,
    ) -> tuple[BaseRow, ...]:
        """Write images into one OCI image layout that ``load`` and ``base ensure`` take.

        What is not in the store is pulled first; an image of several platforms becomes an index.

        Args:
            names: the images, e.g. ``ubuntu:20.04``.
            output: a directory, which keeps what it has already; or a file whose name ends in ``.tar``.
            platform: which ones; by default this machine's.
            compression: ``gzip``, ``zstd`` or ``uncompressed``, of layers that did not come packed.
            report: receives events, one step for each image.

        Returns:
            One row per image that says where it came from; stand-ins are marked.

        Raises:
            ImageNotFound: some cannot be had; all of them are named, and nothing is written.
            InvalidInput: nothing to pack, a name by digest, or an output that cannot be written.
        """
        from contextkernel.model.results import BaseRow
        from contextkernel.store.archive_save import save, save_layout

        refs = tuple(dict.fromkeys(_packable(name) for name in several(names)))
        if not refs:
            raise InvalidInput("no image to pack", hint="name images, or files that name some")
        platforms = platforms_of(platform) or (Platform.host(),)
        report = report or silent
        rows, lacking = [], []
        with self._writing():
            for number, ref in enumerate(refs, 1):
                began = time.monotonic()
                report(StepStarted(number, f"[pack {number}/{len(refs)}] {ref.familiar}"))
                try:
                    images, pulled = self._gathered(ref, platforms, report)
                except (ImageNotFound, RegistryProblem) as problem:
                    lacking.append(problem)
                    report(StepNote(number, f"lacking: {problem.problem}"))
                    continue
                origins = {self._origin_of(image) for image in images}
                stand_in = next((origin for origin in origins if origin.startswith("stand-in")), "")
                come = "pulled" if pulled else "from the store"
                detail = f"{come}: {', '.join(map(str, platforms))}" + (f" ({stand_in})" if stand_in else "")
                size = sum({layer.diff_id: layer.size for i in images for layer in self._store.layers_of(i)}.values())
                rows.append(
                    BaseRow(image=ref.familiar, action="packed", stand_in=bool(stand_in), size=size, detail=detail)
                )
                report(StepNote(number, detail))
                report(StepDone(number, time.monotonic() - began))
            if lacking:
                raise _all_lacking(lacking)
            packing = Compression(kind=compression)
            texts = [str(ref) for ref in refs]
            step = len(refs) + 1
            began = time.monotonic()
            report(StepStarted(step, f"writing {output}"))
            if output.endswith(_TAR):
                if os.path.isdir(output):
                    raise InvalidInput(f"cannot write {output}: it is a directory", hint="choose another name")
                save(self._store, self._worker(), texts, output, platforms=platforms, compression=packing)
            else:
                save_layout(self._store, self._worker(), texts, output, platforms=platforms, compression=packing)
            report(StepDone(step, time.monotonic() - began))
        self._empty_trash()
        return tuple(rows)

    def _gathered(
        self, ref: ImageRef, platforms: Sequence[Platform], report: Reporter
    ) -> tuple[tuple[Digest, ...], bool]:
        """The images of a name, one for each platform, and whether one had to be pulled."""
        images, pulled = [], False
        for wanted in platforms:
            try:
                images.append(self._store.for_platform(ref, wanted))
            except ImageNotFound:
                images.append(self._resolve_base(ref, pull=False, platform=wanted, report=report))
                pulled = True
        return tuple(dict.fromkeys(images)), pulled

    def _origin_of(self, image: Digest) -> str:
        return next((row.origin for row in self._store.image_rows() if row.id == image), "")


def _packable(name: str) -> ImageRef:
    ref = ImageRef.parse(name)
    if ref.digest is not None:
        raise InvalidReference(
            f"{name!r} cannot be packed: layers are packed anew, so the image would have another digest",
            hint="name it by a tag, in the files that use it too",
        )
    return ref


def _all_lacking(problems: Sequence[ContextKernelError]) -> ImageNotFound:
    texts = "; ".join(problem.problem for problem in problems)
    hints = [problem.hint for problem in problems if problem.hint]
    return ImageNotFound(f"nothing was packed: {texts}", hint=hints[0] if hints else None)
