"""The verbs of the fake engine about registries of our own: canned rows, recorded calls."""

from __future__ import annotations

from contextkernel.errors import NotFound
from contextkernel.model.serving import DEFAULT_NAME, RegistryImageRow, RegistryRow
from contextkernel.testing.fake_calls import FakeCalls

_NOON = 1_795_608_000 * 10**9


def registry_rows() -> tuple[RegistryRow, ...]:
    """One that can be pushed to, and a stopped one that shows the store with a password."""
    return (
        RegistryRow(name="registry", address="127.0.0.1:5000", running=True, tags=2, size=7_300_000, created=_NOON),
        RegistryRow(
            name="show", address="127.0.0.1:5001", running=False, read_only=True, user="student", created=_NOON
        ),
    )


def registry_image_rows() -> tuple[RegistryImageRow, ...]:
    """An image and an index."""
    return (
        RegistryImageRow(
            registry="127.0.0.1:5000",
            repository="greet",
            tag="latest",
            digest=f"sha256:{'ab' * 32}",
            kind="image",
            size=7_300_000,
            pushed=_NOON,
        ),
        RegistryImageRow(
            registry="127.0.0.1:5000",
            repository="team/demo",
            tag="v1",
            digest=f"sha256:{'cd' * 32}",
            kind="index",
            size=14_600_000,
            pushed=_NOON,
        ),
    )


class FakeServing(FakeCalls):
    """Has the methods of :class:`contextkernel.engine.serving.Serving`.

    Attributes:
        registries_known: what there is.
    """

    registries_known: tuple[RegistryRow, ...] = registry_rows()

    def start_registry(
        self,
        name: str = DEFAULT_NAME,
        *,
        port: int | None = None,
        images: bool | None = None,
        user: str | None = None,
        password: str = "",
    ) -> RegistryRow:
        """Answers a row of what was asked for; starts nothing."""
        self._note("start_registry", name=name, port=port, images=images, user=user, password=password)
        self._fail()
        return RegistryRow(
            name=name, address=f"127.0.0.1:{port or 5000}", running=True, read_only=bool(images), user=user or ""
        )

    def stop_registry(self, name: str = DEFAULT_NAME) -> bool:
        """Whether it was running; an unknown name is an error."""
        self._note("stop_registry", name=name)
        return self._registry(name).running

    def remove_registry(self, name: str, *, force: bool = False) -> None:
        """Changes nothing; an unknown name is an error."""
        self._note("remove_registry", name=name, force=force)
        self._registry(name)

    def registries(self) -> tuple[RegistryRow, ...]:
        """All of :attr:`registries_known`."""
        return self.registries_known

    def registry_images(self, name: str = DEFAULT_NAME) -> tuple[RegistryImageRow, ...]:
        """Two tags; an unknown name is an error."""
        self._note("registry_images", name=name)
        self._registry(name)
        return registry_image_rows()

    def _registry(self, name: str) -> RegistryRow:
        for row in self.registries_known:
            if row.name == name:
                return row
        raise NotFound(f"no such registry: {name}", hint="registry ls lists those there are, registry start makes one")
