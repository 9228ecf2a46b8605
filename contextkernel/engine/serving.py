"""Verbs of the registries of our own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition
from contextkernel.model.serving import DEFAULT_NAME

if TYPE_CHECKING:
    from contextkernel.model.serving import RegistryImageRow, RegistryRow
    from contextkernel.registry_server.places import Place


class Serving(Composition):
    """Small registries on loopback, one process each, that live on when this one ends."""

    def start_registry(
        self,
        name: str = DEFAULT_NAME,
        *,
        port: int | None = None,
        images: bool | None = None,
        user: str | None = None,
        password: str = "",
    ) -> RegistryRow:
        """Start a registry, or find the one that runs already.

        Without a password it answers programs of this user and of root only. What is pushed stays when it ends.

        Args:
            name: of the registry, unique in the store.
            port: of loopback; 0 for any that is free. Default: the one it had before, else 5000, else any.
            images: show the images of this store, read-only, instead of what is pushed; default as it was before.
            user: who is let in with ``password``, from any user of this machine; empty: no password; default as it was.
            password: see there.

        Returns:
            The registry; ``address`` stands before the names of its images.

        Raises:
            Conflict: it runs otherwise, or the port is taken. InvalidInput: a name or port that is none.
            HostUnsupported: this host does not let other users be kept out without a password.
        """
        from contextkernel.errors import InvalidInput
        from contextkernel.registry_server.places import Wanted, row_of

        if user and (not password or ":" in user):
            raise InvalidInput(
                "a user needs a password" if not password else f"a user name cannot have a colon: {user!r}",
                hint="--user NAME --password-stdin",
            )
        place = self._registry_place(name)
        place.start(Wanted(port=port, read_only=images, user=user, password=password))
        return row_of(place)

    def stop_registry(self, name: str = DEFAULT_NAME) -> bool:
        """End a registry and wait until it has ended; what was pushed stays.

        Returns:
            Whether it ran.

        Raises:
            NotFound: there is no such registry. LaunchFailed: it does not end.
        """
        return self._registry_place(name).stop()

    def remove_registry(self, name: str, *, force: bool = False) -> None:
        """Remove a registry with everything that was pushed to it.

        Args:
            name: of the registry.
            force: stop it first.

        Raises:
            NotFound: there is no such registry. Conflict: it runs, and ``force`` was not given.
        """
        place = self._registry_place(name)
        if force:
            place.stop()
        place.remove()

    def registries(self) -> tuple[RegistryRow, ...]:
        """The registries of this store, by name."""
        import msgspec

        from contextkernel.errors import NotFound
        from contextkernel.registry_server.places import places, row_of
        from contextkernel.registry_server.storage import Storage

        rows = []
        for place in places(self._store.root):
            try:
                row = row_of(place)
            except NotFound:
                continue  # removed meanwhile
            tags = len(self._shown(row)) if row.read_only else len(Storage(place.layout).listing())
            rows.append(msgspec.structs.replace(row, tags=tags, size=Storage(place.layout).size()))
        return tuple(rows)

    def registry_images(self, name: str = DEFAULT_NAME) -> tuple[RegistryImageRow, ...]:
        """The tags in a registry, by repository and tag, whether it runs or not.

        Raises:
            NotFound: there is no such registry.
        """
        from contextkernel.registry_server.listing import image_rows
        from contextkernel.registry_server.places import row_of
        from contextkernel.registry_server.storage import Storage

        place = self._registry_place(name)
        row = row_of(place)
        return self._shown(row) if row.read_only else image_rows(row.address, Storage(place.layout))

    def _shown(self, row: RegistryRow) -> tuple[RegistryImageRow, ...]:
        from contextkernel.registry_server.images import shown_rows

        return shown_rows(row.address, self._store)

    def _registry_place(self, name: str) -> Place:
        from contextkernel.registry_server.places import Place

        return Place(os.path.abspath(self._store.root), name)
