"""The outputs of a build, one by one (BuildKit's ``exporter/*``)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from contextkernel.build.finished import Finished
from contextkernel.build.ports import BuildStore
from contextkernel.build.pushed import names_to_push
from contextkernel.build.request import BuildRequest
from contextkernel.errors import InvalidInput
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.layers import ExportRequest, ExtraFile
from contextkernel.model.oci import Descriptor
from contextkernel.model.outputs import ArchiveOutput, CacheOutput, ImageOutput, LocalOutput, Statement, TarOutput
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import ImageRef
from contextkernel.plan.image import timestamp
from contextkernel.store.extras import Extras
from contextkernel.store.layout import DirectoryLayout, Layout, TarLayout
from contextkernel.store.manifests import (
    FinishedImage,
    WrittenImages,
    indented,
    named_descriptors,
    statement_document,
    write_images,
)
from contextkernel.store.outfile import opened
from contextkernel.store.packing import Packer

_SECOND = 1_000_000_000
_STDOUT = "-"


def check_outputs(request: BuildRequest, platforms: int = 1) -> None:
    """Refuse what cannot come out right, before anything runs.

    Args:
        request: whose outputs are looked at.
        platforms: how many are built for.

    Raises:
        InvalidInput: an output that cannot be written, a combination that cannot be.
    """
    to_stdout = 0
    for output in request.outputs:
        match output:
            case ImageOutput():
                if output.push:
                    names_to_push(output, request.tags)
                elif platforms > 1:
                    raise InvalidInput(
                        f"the store keeps an image of one platform under a name, not of {platforms}",
                        hint="use --push or -o type=oci,dest=FILE, or build for one platform at a time",
                    )
            case ArchiveOutput(dest=dest, tar=tar):
                if output.docker and platforms > 1:
                    raise InvalidInput(
                        "docker exporter does not currently support exporting manifest lists", hint="use type=oci"
                    )
                if tar:
                    _check_file(dest)
                elif os.path.lexists(dest) and not os.path.isdir(dest):
                    raise InvalidInput(f"cannot write the image layout {dest}: it is not a directory")
                to_stdout += dest == _STDOUT and tar
            case TarOutput(dest=dest):
                _check_file(dest)
                to_stdout += dest == _STDOUT
            case LocalOutput(dest=dest):
                if os.path.lexists(dest) and not os.path.isdir(dest):
                    raise InvalidInput(f"cannot write files to {dest}: it is not a directory")
            case CacheOutput():
                pass
        form = getattr(output, "form", None)
        if form is None:
            continue
        annotations = (*request.annotations, *form.annotations)
        if platforms == 1 and not request.attests and any(one.level.startswith("index") for one in annotations):
            raise InvalidInput(
                "index annotations not supported for single platform export",
                hint="an index is made for several platforms, and with --provenance or --sbom",
            )
        if not form.oci_types and request.attests:
            raise InvalidInput('cannot export attestations with "oci-mediatypes=false"')
    if to_stdout and request.stdout is None:
        raise InvalidInput(
            "an output is to go to standard output, which is a screen here", hint="name a file: dest=FILE"
        )
    if to_stdout > 1:
        raise InvalidInput("only one output can go to standard output", hint="name a file for the others: dest=FILE")


def _check_file(dest: str) -> None:
    if dest == _STDOUT:
        return
    folder = os.path.dirname(dest) or "."
    if os.path.isdir(dest):
        raise InvalidInput(f"cannot write {dest}: it is a directory", hint="name a file: dest=FILE")
    if not os.path.isdir(folder):
        raise InvalidInput(f"cannot write {dest}: no such directory", hint="make it first, or name another file")
    if not os.access(folder, os.W_OK):
        raise InvalidInput(f"cannot write {dest}: permission denied", hint="name another file")


class Outputs:
    """Writes outputs of one build.

    Args:
        store: has the layers.
        worker: packs them and writes files.
        request: what was asked for.
        epoch: SOURCE_DATE_EPOCH in seconds, if there is one.
    """

    def __init__(self, store: BuildStore, worker: LayerWorker, request: BuildRequest, epoch: int | None) -> None:
        self._store = store
        self._worker = worker
        self._request = request
        self._epoch = epoch

    def image(
        self, output: ImageOutput, image: FinishedImage, note: Callable[[str], None]
    ) -> tuple[Digest, dict[str, Any]]:
        """Record an image and its names in the store.

        Returns:
            Its id, and docker's metadata.
        """
        tags = tuple(dict.fromkeys((*self._request.tags, *output.names)))
        digest = Digest.of(image.config)
        further = [ImageRef.parse(f"{tag.name}@{digest}") for tag in tags if output.canonical]
        if output.dangling_prefix and not (output.dangling_only_empty and tags):
            further.append(ImageRef.parse(f"{output.dangling_prefix}@{digest}"))
        stored = self._store.add_image(image.config, origin="build", names=(*tags, *further))
        annotations = (*self._request.annotations, *output.form.annotations)
        self._store.set_extras(stored, Extras(statements=image.statements, annotations=annotations))
        for tag in tags:
            note(f"naming to {shown(tag)}")
        # as docker's own store has it: an image is its configuration there, a manifest is made when it leaves
        metadata: dict[str, Any] = {
            "containerimage.config.digest": str(stored),
            "containerimage.digest": str(stored),
        }
        if tags:
            metadata["image.name"] = ",".join(str(tag) for tag in tags)
        return stored, metadata

    def archive(
        self, output: ArchiveOutput, images: Sequence[FinishedImage], note: Callable[[str], None]
    ) -> dict[str, Any]:
        """Write images as an image layout, to a file or into a directory.

        Returns:
            Docker's metadata.
        """
        if not output.tar:
            return self._layout(output, DirectoryLayout(output.dest), images, note)
        place: str | int = output.dest
        if output.dest == _STDOUT and self._request.stdout is not None:
            place = self._request.stdout
        with opened(place) as sink:
            return self._layout(output, TarLayout(sink, place), images, note)

    def _layout(
        self, output: ArchiveOutput, layout: Layout, images: Sequence[FinishedImage], note: Callable[[str], None]
    ) -> dict[str, Any]:
        names = output.names or self._request.tags
        written = write_images(
            layout,
            Packer(self._store, self._worker, output.form.compression),
            images,
            names=names,
            annotations=(*self._request.annotations, *output.form.annotations),
            oci_types=output.form.oci_types,
            oci_artifact=output.form.oci_artifact,
        )
        several = written.descriptor not in written.manifests
        for manifest in written.manifests:
            note(f"exporting manifest {manifest.digest}")
        for image in images:
            note(f"exporting config {Digest.of(image.config)}")
        if several:
            note(f"exporting manifest list {written.descriptor.digest}")
        created = timestamp((int(time.time()) if self._epoch is None else self._epoch) * _SECOND)
        entries = named_descriptors(written.descriptor, names, created)
        layout.finish(entries, {"manifest.json": _docker_manifest(images, names, written)} if output.docker else None)
        return _metadata(named_descriptors(written.descriptor, (), created)[0], images, names, index=several)

    def files(
        self, output: LocalOutput | TarOutput, finished: Sequence[tuple[Finished, tuple[Statement, ...]]]
    ) -> None:
        """Write the files of the result: into a directory, or as one tar.

        A tar of several platforms always has a directory for each, in the order of their names.

        Raises:
            InvalidInput: it cannot be written, or two platforms have a file of the same name in one directory.
        """
        several = len(finished) > 1
        split = several if output.split is None or (several and isinstance(output, TarOutput)) else output.split
        if several and not split:
            _check_apart([one for one, _ in finished])
        requests = [
            self._export_request(output, one, statements, split=split, several=several) for one, statements in finished
        ]
        if isinstance(output, TarOutput):
            place: str | int = output.dest
            if output.dest == _STDOUT and self._request.stdout is not None:
                place = self._request.stdout
            with opened(place) as sink:
                *others, last = sorted(requests, key=lambda request: request.prefix)
                for request in others:
                    self._worker.export_tar(msgspec.structs.replace(request, more=True), sink.fileno())
                self._worker.export_tar(last, sink.fileno())
            return
        try:
            os.makedirs(output.dest, 0o700, exist_ok=True)
            target = os.open(output.dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as problem:
            raise InvalidInput(
                f"cannot write files to {output.dest}: {(problem.strerror or str(problem)).lower()}",
                hint="choose another directory",
            ) from problem
        try:
            for request in requests:
                self._worker.export_tree(request, target)
        finally:
            os.close(target)

    def _export_request(
        self,
        output: LocalOutput | TarOutput,
        finished: Finished,
        statements: Sequence[Statement],
        *,
        split: bool,
        several: bool,
    ) -> ExportRequest:
        platform = str(finished.platform).replace("/", "_")
        mtime = None if self._epoch is None else self._epoch * _SECOND
        subjects = _files(finished) if statements else []
        return ExportRequest(
            layers=tuple(layer.directory for layer in finished.layers),
            prefix=platform if split else "",
            mtime=mtime,
            extras=tuple(
                ExtraFile(
                    path=output.prefix + _named(statement.name, platform if several and not split else ""),
                    data=msgspec.json.format(statement_document(statement, subjects), indent=2),
                    mtime=int(time.time()) * _SECOND if mtime is None else mtime,
                )
                for statement in statements
            ),
            delete=isinstance(output, LocalOutput) and output.delete,
        )


def _named(name: str, platform: str) -> str:
    """The file name of a statement, with the platform in it if there is one (``exporter/local/fs.go``)."""
    base, extension = os.path.splitext(name)
    return f"{base}.{platform}{extension}" if platform else name


def _check_apart(finished: Sequence[Finished]) -> None:
    """Refuse platforms whose files would replace each other's, before any is written (``exporter/local/export.go``)."""
    owners: dict[str, Platform] = {}
    for one in finished:
        for path, entry in one.files().items():
            if entry.kind == "dir":
                continue
            first = owners.setdefault(path, one.platform)
            if first != one.platform:
                raise InvalidInput(
                    f"cannot overwrite {path} from {first} with {one.platform} when split option is disabled",
                    hint="leave platform-split=false out: each platform gets a directory of its own",
                )


def _files(finished: Finished) -> list[tuple[str, Digest]]:
    """Regular files of the result with their digests: what statements about files are about."""
    merged = finished.files()
    found = []
    for path, entry in merged.items():
        file = merged[entry.link] if entry.kind == "hardlink" else entry
        if file.kind == "file":
            found.append(
                (path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), Digest.from_hex(file.digest))
            )
    return found


def _docker_manifest(images: Sequence[FinishedImage], names: Sequence[ImageRef], written: WrittenImages) -> bytes:
    from contextkernel.store.archive_save import docker_item

    items = [
        docker_item(Digest.of(image.config), names, layers)
        for image, layers in zip(images, written.layers, strict=True)
    ]
    return to_json(items)


def _metadata(
    descriptor: Descriptor, images: Sequence[FinishedImage], names: Sequence[ImageRef], *, index: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "containerimage.descriptor": msgspec.json.decode(indented(descriptor)),
        "containerimage.digest": str(descriptor.digest),
    }
    if not index:
        found["containerimage.config.digest"] = str(Digest.of(images[0].config))
    if names:
        found["image.name"] = ",".join(str(name) for name in names)
    return found


def shown(tag: ImageRef) -> str:
    """As docker says what it names: the default tag is left out."""
    return tag.name if tag.tag == "latest" else str(tag)
