"""Verbs about the room that everything takes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from contextkernel.engine.caches import Caches
from contextkernel.engine.containers import ContainerVerbs
from contextkernel.engine.images import Images
from contextkernel.engine.serving import Serving
from contextkernel.engine.volumes import Volumes

if TYPE_CHECKING:
    from contextkernel.model.cache import UsageRow
    from contextkernel.model.room import StoreRoom
    from contextkernel.model.usage import DiskUsage
    from contextkernel.model.volumes import VolumeRow

#: docker's (docker/cli, cli/command/formatter/disk_usage.go, ``isActive``)
_ACTIVE = ("running", "paused", "restarting")


class Usage(ContainerVerbs, Caches, Images, Serving, Volumes):
    """What takes how much room."""

    def store_room(self) -> StoreRoom:
        """What the store takes in all, what it may take (``CONTEXTKERNEL_MAX_SIZE``), and what its disk has left."""
        room = self._store.bound.room()
        if room.containers or room.volumes or room.caches:
            self._worker()  # it may look everywhere
            room = self._store.bound.room()
        return room

    def disk_usage(self) -> tuple[UsageRow, ...]:
        """What images, containers, volumes and the build cache take; docker's lines of ``system df``.

        Registries of the store's own have a line below them, if there are any; those that run are active.
        """
        import msgspec

        from contextkernel.model.cache import UsageRow

        rows = self.build_cache()
        private = [row for row in rows if not row.shared]
        cache = UsageRow(
            type="Build Cache",
            total=len(rows),
            active=sum(not row.reclaimable for row in rows),
            size=sum(row.size for row in private),
            reclaimable=sum(row.size for row in private if row.reclaimable),
        )
        found = self._sized_volumes()
        volumes = UsageRow(
            type="Local Volumes",
            total=len(found),
            active=sum(bool(row.containers) for row in found),
            size=sum(row.size for row in found),
            reclaimable=sum(row.size for row in found if not row.containers),
        )
        left = self._store.downloads.size()
        images = self._store.sizes.usage()
        if left:  # of interrupted pulls: `system prune` removes it
            images = msgspec.structs.replace(images, size=images.size + left, reclaimable=images.reclaimable + left)
        return (images, self._container_usage(), volumes, cache, *self._registry_usage())

    def _registry_usage(self) -> tuple[UsageRow, ...]:
        """One line, or none; what a registry keeps goes with ``registry rm``, of one that is stopped at once."""
        from contextkernel.model.cache import UsageRow

        rows = self.registries()
        if not rows:
            return ()
        row = UsageRow(
            type="Registries",
            total=len(rows),
            active=sum(one.running for one in rows),
            size=sum(one.size for one in rows),
            reclaimable=sum(one.size for one in rows if not one.running),
        )
        return (row,)

    def _container_usage(self) -> UsageRow:
        """What containers have written; all of it of those that do not run can be reclaimed."""
        from contextkernel.model.cache import UsageRow

        rows = self.containers(all=True, size=True)
        idle = [row for row in rows if row.state not in _ACTIVE]
        return UsageRow(
            type="Containers",
            total=len(rows),
            active=len(rows) - len(idle),
            size=sum(row.size for row in rows),
            reclaimable=sum(row.size for row in idle),
        )

    def disk_usage_details(self) -> DiskUsage:
        """The same, one by one; docker's ``system df -v``."""
        from contextkernel.model.usage import DiskUsage, ImageUsage

        shares = self._store.sizes.shares()
        users = Counter(spec.image_id for spec in self._store.containers())
        images = []
        for row in self.images():
            shared, unique = shares.get(str(row.id), (0, row.size))
            images.append(ImageUsage(image=row, shared=shared, unique=unique, containers=users[row.id]))
        return DiskUsage(
            images=tuple(images),
            containers=self.containers(all=True, size=True),
            volumes=self._sized_volumes(),
            cache=self.build_cache(),
            registries=self.registries(),
        )

    def _sized_volumes(self) -> tuple[VolumeRow, ...]:
        import msgspec

        rows = self.volumes()
        # the layer worker counts: files may belong to ids that this user is not
        sizes = self._worker().measure([row.mountpoint for row in rows]) if rows else ()
        return tuple(msgspec.structs.replace(row, size=size) for row, size in zip(rows, sizes, strict=True))
