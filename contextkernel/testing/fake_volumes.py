"""The verbs of the fake engine about volumes: canned rows, recorded calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contextkernel.errors import VolumeNotFound
from contextkernel.model.given import Filters
from contextkernel.model.volumes import ANONYMOUS_LABEL, Volume, VolumeRow
from contextkernel.testing.fake_calls import FakeCalls

_NOON = 1_795_608_000 * 10**9
_ANONYMOUS = "9a5b62f31fcceceb97e4bec955c837706ffc07a808c8698779540f4d85fc8601"


def volume_rows() -> tuple[VolumeRow, ...]:
    """An anonymous volume, and one with a name that a container uses."""
    blank = Volume(name=_ANONYMOUS, created=_NOON, labels={ANONYMOUS_LABEL: ""}, anonymous=True)
    data = Volume(name="data", created=_NOON + 10**9, labels={"tier": "back", "keep": ""})
    return (
        VolumeRow(volume=blank, mountpoint=f"/var/lib/contextkernel/volumes/{_ANONYMOUS}/_data"),
        VolumeRow(volume=data, mountpoint="/var/lib/contextkernel/volumes/data/_data", containers=("c" * 64,)),
    )


class FakeVolumes(FakeCalls):
    """Has the methods of :class:`contextkernel.engine.volumes.Volumes`.

    Attributes:
        volumes_known: what there is.
    """

    volumes_known: tuple[VolumeRow, ...] = volume_rows()

    def create_volume(
        self,
        name: str | None = None,
        *,
        driver: str = "local",
        driver_opts: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Answers ``name``, or a long one."""
        self._note("create_volume", name=name, driver=driver, driver_opts=driver_opts, labels=labels)
        self._fail()
        return name or _ANONYMOUS

    def volumes(self, *, filters: Filters | None = None) -> tuple[VolumeRow, ...]:
        """All of :attr:`volumes_known`; filters are only noted."""
        self._note("volumes", filters=dict(filters or {}))
        return self.volumes_known

    def inspect_volume(self, name: str) -> dict[str, Any]:
        """Docker's document."""
        from contextkernel.runtime.inspecting.volumes import volume_document

        for row in self.volumes_known:
            if row.volume.name == name:
                return volume_document(row)
        raise VolumeNotFound(f"get {name}: no such volume")

    def remove_volume(self, name: str, *, force: bool = False) -> None:
        """Changes nothing; an unknown name is an error without ``force``."""
        self._note("remove_volume", name=name, force=force)
        if not force:
            self.inspect_volume(name)

    def prune_volumes(self, *, all: bool = False, filters: Filters | None = None) -> tuple[tuple[str, ...], int]:
        """Says that those went which nothing uses."""
        self._note("prune_volumes", all=all, filters=dict(filters or {}))
        return tuple(row.volume.name for row in self.volumes_known if not row.containers), 4096
