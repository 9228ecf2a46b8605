"""The part of the fake engine that tells what takes how much room."""

from __future__ import annotations

from contextkernel.model.cache import UsageRow
from contextkernel.model.given import Filters
from contextkernel.model.room import StoreRoom
from contextkernel.model.usage import Cleaned, DiskUsage, ImageUsage
from contextkernel.model.volumes import Volume, VolumeRow
from contextkernel.testing.fake_calls import FakeCalls

_MOMENT = 1_785_000_000 * 10**9


class FakeUsage(FakeCalls):
    """Canned figures.

    Attributes:
        bound: bytes that the store may take.
    """

    bound = 5 * 1000**3

    def store_room(self) -> StoreRoom:
        """What a small pod has."""
        self._note("store_room")
        gb = 1000**3
        return StoreRoom(layers=3 * gb, containers=gb // 10, bound=self.bound, free=20 * gb, disk=100 * gb)

    def disk_usage(self) -> tuple[UsageRow, ...]:
        """Two lines."""
        self._note("disk_usage")
        return (
            UsageRow(type="Images", total=3, active=1, size=72_776_453, reclaimable=36_000_000),
            UsageRow(type="Build Cache", total=2, active=0, size=5_000_000, reclaimable=5_000_000),
        )

    def disk_usage_details(self) -> DiskUsage:
        """Everything there is, and one volume; images share nothing."""
        self._note("disk_usage_details")
        return DiskUsage(
            images=tuple(
                ImageUsage(image=row, shared=0, unique=row.size, containers=number)
                for number, row in enumerate(self.image_rows)
            ),
            containers=self.container_rows,
            volumes=(VolumeRow(volume=Volume(name="notes", created=_MOMENT), mountpoint="/v/notes", size=2048),),
            cache=self.cache_rows,
        )

    def system_prune(self, *, all: bool = False, volumes: bool = False, filters: Filters | None = None) -> Cleaned:
        """A container, a network and, when asked for, a volume."""
        self._note("system_prune", all=all, volumes=volumes, filters=dict(filters or {}))
        gone = ("notes",) if volumes else ()
        return Cleaned(containers=("0" * 64,), networks=("course",), volumes=gone, images=(), cache=(), freed=2048)
