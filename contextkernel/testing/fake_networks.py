"""The verbs of the fake engine about networks: canned rows, recorded calls."""

from __future__ import annotations

from typing import Any

from contextkernel.errors import NetworkNotFound
from contextkernel.model.given import Filters
from contextkernel.model.networks import NetworkRecord, NetworkRow, Pool
from contextkernel.testing.fake_calls import FakeCalls

_NOON = 1_700_000_000_000_000_000


def network_rows() -> tuple[NetworkRow, ...]:
    """The predefined networks, and one that a container is connected to."""
    web = NetworkRecord(
        id="b" * 64,
        name="web",
        pools=(Pool(subnet="10.5.0.0/24", gateway="10.5.0.1"),),
        given=True,
        labels={"tier": "front"},
        created=_NOON + 10**9,
    )
    bridge = NetworkRecord(
        id="a" * 64, name="bridge", pools=(Pool(subnet="172.17.0.0/16", gateway="172.17.0.1"),), created=_NOON
    )
    return (
        NetworkRow(network=bridge),
        NetworkRow(network=NetworkRecord(id="c" * 64, name="host", driver="host", created=_NOON)),
        NetworkRow(network=NetworkRecord(id="d" * 64, name="none", driver="null", created=_NOON)),
        NetworkRow(network=web, containers=("c" * 64,)),
    )


class FakeNetworks(FakeCalls):
    """Has the methods of :class:`contextkernel.engine.networks.Networks`.

    Attributes:
        networks_known: what there is.
    """

    networks_known: tuple[NetworkRow, ...] = network_rows()

    def create_network(self, name: str, **wanted: Any) -> str:
        """Always succeeds."""
        self._note("create_network", name=name, **wanted)
        return "e" * 64

    def networks(self, *, filters: Filters | None = None) -> tuple[NetworkRow, ...]:
        """All of :attr:`networks_known`; filters are only noted."""
        self._note("networks", filters=dict(filters or {}))
        return self.networks_known

    def inspect_network(self, name: str) -> dict[str, Any]:
        """One of :attr:`networks_known`."""
        from contextkernel.runtime.inspecting.networks import network_document

        for row in self.networks_known:
            if row.network.name == name:
                return network_document(row.network, ())
        raise NetworkNotFound(f"network {name} not found")

    def remove_network(self, name: str, *, force: bool = False) -> None:
        """Only one of :attr:`networks_known`."""
        self._note("remove_network", name=name, force=force)
        if not force:
            self.inspect_network(name)

    def connect_network(self, network: str, container: str, **wanted: Any) -> None:
        """Always succeeds."""
        self._note("connect_network", network=network, container=container, **wanted)

    def disconnect_network(self, network: str, container: str, *, force: bool = False) -> None:
        """Always succeeds."""
        self._note("disconnect_network", network=network, container=container, force=force)

    def prune_networks(self, *, filters: Filters | None = None) -> tuple[str, ...]:
        """The one that is not predefined."""
        self._note("prune_networks", filters=dict(filters or {}))
        return ("web",)
