"""Verbs for images as files: save, load, import."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition, silent
from contextkernel.errors import ImageNotFound, InvalidInput, InvalidReference
from contextkernel.model.given import several
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.model.digest import Digest
    from contextkernel.model.oci import ImageConfig
    from contextkernel.model.ports import Reporter

_URLS = ("http://", "https://")


class Archives(Composition):
    """Images go in and out as files."""

    def save(
        self, names: str | Sequence[str], output: str | int, *, platform: str | Sequence[str] | None = None
    ) -> None:
        """Write images to a docker-archive that is an OCI layout too.

        Args:
            names: images, or a single one.
            output: path, or open descriptor.
            platform: only images for this one; several give each name an index.

        Raises:
            ImageNotFound: one is not here, or not for the platform. InvalidInput: the output cannot be written.
        """
        from contextkernel.store.archive import save

        for image in save(self._store, self._worker(), several(names), output, platforms=platforms_of(platform)):
            self._tell_image.tell("save", image)

    def load(
        self, source: str | int, *, platform: str | None = None, report: Reporter | None = None
    ) -> tuple[str, ...]:
        """Read images from a docker-archive or an OCI layout.

        Args:
            source: path of a tar file, plain or compressed, or of a directory; or an open descriptor.
            platform: only images for this one; by default of each index the one for this machine, and all others.
            report: receives the progress of each layer, and a note where a name is taken from another image.

        Returns:
            The names of the images, or the id of one without a name.

        Raises:
            InvalidArchive, DigestMismatch, SizeMismatch: it is refused; nothing was loaded.
        """
        from contextkernel.store.archive import load

        wanted = Platform.parse(platform) if platform else None
        with self._writing():
            names = load(self._store, self._worker(), source, report or silent, platform=wanted)
        self._empty_trash()
        for name in names:
            with suppress(ImageNotFound):  # somebody has removed it meanwhile: it was loaded all the same
                self._tell_image.tell("load", self._loaded(name, wanted))
        return names

    def _loaded(self, name: str, wanted: Platform | None) -> Digest:
        if wanted is None or name.startswith("sha256:"):
            return self._store.resolve(name)
        return self._store.for_platform(ImageRef.parse(name), wanted)

    def import_image(
        self,
        source: str | int,
        name: str | None = None,
        *,
        message: str = "",
        changes: str | Sequence[str] = (),
        platform: str | None = None,
        report: Reporter | None = None,
    ) -> Digest:
        """Make an image of one layer from a tar of a root file system.

        Args:
            source: path of the tar, plain or compressed; its URL (``http://``, ``https://``); or an open descriptor.
            name: for the image; without a tag ``latest`` is meant.
            message: comment of the history entry; docker's by default.
            changes: instructions such as ``CMD ["app"]``: see :data:`contextkernel.plan.changes.ALLOWED`.
            platform: that the image is for; by default this machine's.
            report: receives the progress of a download.

        Returns:
            The image's id.

        Raises:
            InvalidInput: a name, change or platform that cannot be, or a file that cannot be read.
            InvalidArchive: it is no tar of a root file system. FetchFailed: the URL did not give it.
        """
        ref = None if name is None else ImageRef.parse(name)
        if ref is not None and ref.digest is not None:
            raise InvalidReference(f"cannot import digest reference {name!r}", hint="give a name and a tag: NAME:TAG")
        config = self._imported_config(several(changes), platform)
        with self._writing():
            image = self._import(source, ref, config, message, report or silent)
        self._tell_image.tell("import", image)
        return image

    def _imported_config(self, changes: Sequence[str], platform: str | None) -> ImageConfig:
        from contextkernel.model.oci import ImageConfig, RunConfig
        from contextkernel.plan.changes import apply_changes

        made_for = Platform.parse(platform) if platform else Platform.host()
        if made_for.os != "linux":
            raise InvalidInput(f"operating system {made_for.os!r} is not supported", hint="images are for linux here")
        return ImageConfig(
            architecture=made_for.architecture,
            os=made_for.os,
            variant=made_for.variant or "",
            config=apply_changes(RunConfig(), changes),
        )

    def _import(
        self, source: str | int, ref: ImageRef | None, config: ImageConfig, message: str, report: Reporter
    ) -> Digest:
        from contextkernel.store.archive import import_tar

        if not isinstance(source, str) or not source.startswith(_URLS):
            return import_tar(self._store, self._worker(), source, ref, config=config, message=message)
        from contextkernel.fetch import Limits, NetworkFetcher
        from contextkernel.model.fetching import Credentials
        from contextkernel.model.urls import shown

        limits = Limits.from_environment()
        path = self._store.temporary_path()
        try:
            NetworkFetcher(limits).download(source, path, Credentials(), report=report)
            return import_tar(
                self._store,
                self._worker(),
                path,
                ref,
                config=config,
                message=message or f"Imported from {shown(source)}",
                shown=shown(source),
                limit=limits.size,
            )
        finally:
            if os.path.exists(path):
                os.unlink(path)


def platforms_of(given: str | Sequence[str] | None) -> tuple[Platform, ...]:
    """Each platform once, in order; words may hold several with commas, ``local`` is this machine's.

    Raises:
        InvalidInput: one that is none.
    """
    texts = [given] if isinstance(given, str) else given or ()
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    return tuple(dict.fromkeys(Platform.host() if word == "local" else Platform.parse(word) for word in words))
