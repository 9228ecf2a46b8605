"""Verbs of volumes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from contextkernel.engine.composition import Composition
from contextkernel.engine.filters import all_labels, check_keys, flags, named, unknown
from contextkernel.errors import Conflict, VolumeNotFound
from contextkernel.model.given import Filters, filter_values

if TYPE_CHECKING:
    from contextkernel.model.volumes import VolumeRow

#: docker's keys of ``volume ls --filter``
VOLUME_FILTERS = ("dangling", "driver", "label", "name")
#: and of ``volume prune --filter``
VOLUME_PRUNE_FILTERS = ("all", "label", "label!")


class Volumes(Composition):
    """Directories that outlive containers."""

    def create_volume(
        self,
        name: str | None = None,
        *,
        driver: str = "local",
        driver_opts: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Make a volume, unless there is one of this name. Keyword names follow docker-py.

        Args:
            name: letters, digits, ``_ . -``; a long random one by default, which makes the volume anonymous.
            driver: ``local`` is the only one.
            driver_opts: ``type``, ``device`` and ``o`` as of mount(8): a tmpfs, a directory of the host
                (``type=none,o=bind,device=PATH``), or what else this host allows to mount.
            labels: for people and filters.

        Returns:
            Its name.

        Raises:
            InvalidInput: not a name, another driver, or options that cannot be.
        """
        import msgspec

        from contextkernel.model.volumes import Volume, check_driver
        from contextkernel.store.volumes import anonymous_volume

        check_driver(name or "volume", driver)
        wanted, options = dict(labels or {}), dict(driver_opts or {})
        if name:
            volume = Volume(name=name, created=time.time_ns(), labels=wanted, options=options)
        else:
            blank = anonymous_volume()
            volume = msgspec.structs.replace(blank, labels={**blank.labels, **wanted}, options=options)
        volume, made = self._store.add_volume(volume)
        if made:
            self._tell_volume("create", volume.name)
        return volume.name

    def volumes(self, *, filters: Filters | None = None) -> tuple[VolumeRow, ...]:
        """Volumes by name.

        Args:
            filters: ``dangling`` (no container refers to it), ``driver``, ``label``, ``name`` (a part of it, or a
                pattern); any value of a key but ``label``, all keys.

        Raises:
            InvalidInput: an unknown filter, or a value that is none.
        """
        rows = self._store.volumes()
        for key, values in filter_values(filters).items():
            rows = tuple(row for row in rows if _passes(row, key, values))
        return rows

    def inspect_volume(self, name: str) -> dict[str, Any]:
        """Docker's document of a volume.

        Raises:
            VolumeNotFound: there is none of this name.
        """
        from contextkernel.runtime.inspecting.volumes import volume_document

        return volume_document(self._store.volume(name))

    def remove_volume(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and its files.

        Args:
            name: of the volume.
            force: it need not exist.

        Raises:
            VolumeNotFound: there is none. Conflict: containers refer to it.
        """
        try:
            self._store.remove_volume(name)
        except VolumeNotFound:
            if force:
                return
            raise
        self._empty_trash()
        self._tell_volume("destroy", name)

    def prune_volumes(self, *, all: bool = False, filters: Filters | None = None) -> tuple[tuple[str, ...], int]:
        """Remove volumes that no container refers to.

        Args:
            all: those with a name too, not the anonymous ones alone.
            filters: ``label`` and ``label!``, which all must hold; ``all`` as the argument.

        Returns:
            The names of those that went, and the bytes that are free now.

        Raises:
            InvalidInput: an unknown filter.
        """
        wanted = filter_values(filters)
        everything = any(flags("all", wanted.pop("all", ()))) or all
        check_keys(wanted, VOLUME_PRUNE_FILTERS)
        gone, freed = [], 0
        for row in self._store.volumes():
            if row.containers or not (everything or row.volume.anonymous):
                continue
            if not all_labels(row.volume.labels, wanted):
                continue
            (size,) = self._worker().measure([row.mountpoint])  # whoever owns the files
            try:
                self._store.remove_volume(row.volume.name)
            except (Conflict, VolumeNotFound):
                continue  # used, or gone, meanwhile
            gone.append(row.volume.name)
            freed += size
            self._empty_trash()  # at once: on a full disk the next one needs the room
            self._tell_volume("destroy", row.volume.name)
        return tuple(gone), freed

    def _tell_volume(self, action: str, name: str, **attributes: str) -> None:
        self._events.write("volume", action, name, {"driver": "local", **attributes})


def _passes(row: VolumeRow, key: str, values: Sequence[str]) -> bool:
    match key:
        case "dangling":
            return any(flags(key, values)) == (not row.containers)
        case "driver":
            return "local" in values
        case "label":
            return all_labels(row.volume.labels, {"label": values})
        case "name":
            return any(named(row.volume.name, value) for value in values)
    raise unknown(key, VOLUME_FILTERS)
