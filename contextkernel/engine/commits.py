"""The verb that makes an image of a container (docker's ``commit``)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.engine.box_files import BoxFiles
from contextkernel.errors import Conflict, ImageNotFound, InvalidReference
from contextkernel.model.codec import to_json
from contextkernel.model.given import several
from contextkernel.model.oci import History, ImageConfig, RootFS, RunConfig
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.digest import Digest
    from contextkernel.model.layers import Layer
    from contextkernel.model.ports import RunningContainer


_DEFAULT_SIGNAL = "SIGTERM"


class Commits(BoxFiles):
    """Images from containers."""

    def commit(
        self,
        container: str,
        repository: str | None = None,
        tag: str | None = None,
        *,
        message: str = "",
        author: str = "",
        changes: str | Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """Make an image of a container's files and configuration. Keyword names follow docker-py.

        Args:
            container: name or id.
            repository: name for the image; may have the tag in it.
            tag: ``latest`` by default.
            message: comment of the history entry.
            author: for the image.
            changes: instructions such as ``CMD ["app"]``: see :data:`contextkernel.plan.changes.ALLOWED`.
            pause: let its processes stand still meanwhile, where this host can.

        Returns:
            The image's id.

        Raises:
            InvalidInput: a name or change that cannot be. ContainerNotFound: no such container.
        """
        from contextkernel.plan.changes import apply_changes

        name = None
        if repository:
            try:
                name = ImageRef.parse(f"{repository}:{tag}" if tag else repository)
            except InvalidReference as problem:
                raise InvalidReference(f"invalid reference format: {problem.problem}", hint=problem.hint) from None
        spec = self._containers.find(container)
        config = apply_changes(self._running_config(spec), several(changes))
        leased: list[Digest] = []
        try:
            with self._writing():
                layer = self._committed_layer(spec, pause=pause)
            leased.append(layer.diff_id)
            document = self._committed(spec, layer, config, message=message, author=author)
            image = self._store.add_image(to_json(document), origin="commit", names=(name,) if name else ())
        except BaseException:
            self._store.release(leased)
            self._empty_trash()
            raise
        self._containers.tell(
            spec, "commit", comment=message, imageID=str(image), imageRef=name.familiar if name else ""
        )
        return str(image)

    def _running_config(self, spec: ContainerSpec) -> RunConfig:
        """What the container runs with, as an image's configuration."""
        base = self._base_config(spec).config
        env = [item for item in spec.env if item != f"HOSTNAME={spec.hostname}"]
        below = [item for item in base.env or () if item in env]  # docker has them after the container's own
        targets = {*(base.volumes or {}), *spec.mounts.anonymous}
        ports = {*(base.exposed_ports or {}), *spec.networking.exposed}
        return msgspec.structs.replace(
            base,
            user=spec.user,
            env=(*(item for item in env if item not in below), *below) or None,
            entrypoint=spec.entrypoint,
            cmd=spec.cmd,
            working_dir=spec.working_dir if spec.working_dir != "/" or base.working_dir else "",
            exposed_ports={port: {} for port in sorted(ports)} or None,
            healthcheck=spec.life.healthcheck,
            stop_signal=spec.stop_signal if spec.stop_signal != _DEFAULT_SIGNAL else base.stop_signal,
            volumes={target: {} for target in sorted(targets)} or None,
            labels=dict(sorted(spec.labels.items())) or None,
        )

    def _base_config(self, spec: ContainerSpec) -> ImageConfig:
        """What its image says; nothing if that was removed by force since."""
        try:
            return self._store.config(spec.image_id)
        except ImageNotFound:
            return ImageConfig()

    def _committed_layer(self, spec: ContainerSpec, *, pause: bool) -> Layer:
        view = self._view(spec)
        path = self._store.temporary_path()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            held = self._held(spec) if pause else None
            try:
                self._worker().write_changes(view, descriptor)
            finally:
                if held is not None:
                    with suppress(Conflict):
                        held.unpause()
                    held.close()
            directory = self._store.new_layer_dir()
            try:
                facts = self._worker().unpack(path, directory)
                return self._store.add_layer(directory, facts)
            except BaseException:
                self._store.discard_layer_dir(directory)
                raise
        finally:
            os.close(descriptor)
            os.unlink(path)

    def _held(self, spec: ContainerSpec) -> RunningContainer | None:
        """The container, paused by us; ``None`` if it does not run, is paused already, or cannot be."""
        process = self._containers.connect(spec)
        if process is None:
            return None
        try:
            process.pause()
        except Conflict:
            process.close()
            return None
        return process

    def _committed(
        self, spec: ContainerSpec, layer: Layer, config: RunConfig, *, message: str, author: str
    ) -> ImageConfig:
        from contextkernel.plan.image import timestamp

        base = self._base_config(spec)
        now = timestamp(time.time_ns())
        below = tuple(one.diff_id for one in self._store.layers_of(spec.image_id))
        line = History(
            created=now,
            created_by=" ".join(spec.cmd or ()),
            author=author,
            comment=message,
            empty_layer=layer.entries == 0,
        )
        return msgspec.structs.replace(
            base,
            created=now,
            author=author,
            config=config,
            rootfs=RootFS("layers", (*below, *(() if layer.entries == 0 else (layer.diff_id,)))),
            history=(*base.history, line),
        )
