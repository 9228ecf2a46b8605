"""The part of the store about containers and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.volumes import Volume, VolumeRow
    from contextkernel.store.containers import Containers
    from contextkernel.store.paths import Paths
    from contextkernel.store.volumes import Volumes


class ContainerRecords:
    """What a store knows of containers and volumes; see :class:`contextkernel.store.Store`."""

    _paths: Paths
    _containers: Containers
    _volumes: Volumes

    # ---- containers

    def add_container(
        self, spec: ContainerSpec, volumes: Sequence[Volume] = ()
    ) -> tuple[ContainerSpec, tuple[str, ...]]:
        """Make a container known, with its directory and ``upper/`` and ``work/`` in it.

        Args:
            spec: of the container.
            volumes: made with it, those that are not there.

        Returns:
            The spec as stored: an empty name is replaced by a generated one; and the volumes that were made.

        Raises:
            NameInUse: the name is taken. InvalidInput: not a container name, or a volume's name or options.
                ImageNotFound: no such image. VolumeNotFound: one that it refers to.
        """
        return self._containers.add(spec, volumes)

    def replace_container(self, spec: ContainerSpec) -> None:
        """Record another name or other options for the container of this id; errors as :meth:`add_container`."""
        self._containers.replace(spec)

    def container(self, text: str) -> ContainerSpec:
        """The container that ``text`` names: an id, a name, or a unique part of an id from its start.

        Raises:
            ContainerNotFound: with names that are near. InvalidInput: more than one id starts so.
        """
        return self._containers.get(text)

    def containers(self) -> tuple[ContainerSpec, ...]:
        """All containers, newest first."""
        return self._containers.all()

    def remove_container(self, id: str, *, volumes: bool = False) -> tuple[str, ...]:
        """Forget a container; its directory becomes trash. Fine for one that is gone.

        Args:
            id: of the container.
            volumes: also remove its anonymous volumes that no other container uses.

        Returns:
            The names of the volumes that went.
        """
        return self._containers.remove(id, volumes=volumes)

    def container_dir(self, id: str) -> str:
        """The directory of a container: ``upper/``, ``work/``, log and state."""
        return self._paths.container(id)

    # ---- volumes

    def add_volume(self, volume: Volume) -> tuple[Volume, bool]:
        """Make a volume, unless one of its name is there; returns what is there, and whether it was made.

        Raises:
            InvalidInput: not a volume's name, or options that cannot be.
        """
        return self._volumes.create(volume, self._containers.forget_removed)

    def volume(self, name: str) -> VolumeRow:
        """The volume of this name.

        Raises:
            VolumeNotFound: there is none.
        """
        return self._volumes.get(name)

    def volumes(self) -> tuple[VolumeRow, ...]:
        """All volumes, by name."""
        return self._volumes.rows(self._containers.forget_removed)

    def volume_lock(self, name: str) -> AbstractContextManager[None]:
        """Keep others who ask for the same out of a volume while it is being filled."""
        return self._volumes.lock(name)

    def volume_dir(self, name: str) -> str:
        """What a volume shows, a directory; absolute."""
        return self._paths.volume(name)

    def remove_volume(self, name: str) -> None:
        """Forget a volume; its directory becomes trash.

        Raises:
            VolumeNotFound: there is none. Conflict: a container refers to it.
        """
        self._volumes.remove(name, self._containers.forget_removed)
