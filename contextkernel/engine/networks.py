"""Verbs of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from contextkernel.engine.composition import Composition
from contextkernel.engine.filters import PRUNE_FILTERS, all_labels, check_keys, flags, named, unknown
from contextkernel.errors import Conflict, InvalidInput, NetworkNotFound
from contextkernel.model.given import Filters, filter_values, several

if TYPE_CHECKING:
    from contextkernel.model.networks import NetworkRow

#: docker's keys of ``network ls --filter``
NETWORK_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")


class Networks(Composition):
    """What containers are connected to."""

    def create_network(
        self,
        name: str,
        *,
        driver: str = "bridge",
        options: Mapping[str, str] | None = None,
        subnets: str | Sequence[str] = (),
        ip_ranges: str | Sequence[str] = (),
        gateways: str | Sequence[str] = (),
        aux_addresses: Mapping[str, str] | None = None,
        internal: bool = False,
        attachable: bool = False,
        enable_ipv4: bool = True,
        enable_ipv6: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Make a network; its bridge is there while a container needs it. Keyword names follow docker-py.

        Args:
            name: unique.
            driver: ``bridge`` is the only one.
            options: ``com.docker.network.driver.mtu``, ``com.docker.network.bridge.name``, ``...bridge.enable_icc``,
                ``...bridge.enable_ip_masquerade``; others are kept and shown.
            subnets: ``ADDRESS/BITS``, one for each family; without one it is chosen.
            ip_ranges, gateways: each in one of the subnets.
            aux_addresses: names and addresses that are never given to a container.
            internal: no way out.
            attachable: kept and shown.
            enable_ipv4, enable_ipv6: families that containers get addresses of.
            labels: for people and filters.

        Returns:
            Its id.

        Raises:
            InvalidInput: a name, address or driver that cannot be. Conflict: the name, or a subnet, is taken.
        """
        record = self._containers.networks.create(
            name,
            subnets=several(subnets),
            ranges=several(ip_ranges),
            gateways=several(gateways),
            auxiliary=tuple((aux_addresses or {}).items()),
            driver=driver,
            ipv4=enable_ipv4,
            ipv6=enable_ipv6,
            internal=internal,
            attachable=attachable,
            options=options,
            labels=labels,
        )
        return record.id

    def networks(self, *, filters: Filters | None = None) -> tuple[NetworkRow, ...]:
        """Networks by name.

        Args:
            filters: ``dangling`` (no container is connected), ``driver``, ``id``, ``label``, ``name``, ``scope``,
                ``type`` (``custom`` or ``builtin``); any value of a key but ``label``, all keys.

        Raises:
            InvalidInput: an unknown filter, or a value that is none.
        """
        rows = self._containers.networks.rows()
        for key, values in filter_values(filters).items():
            rows = tuple(row for row in rows if _passes(row, key, values))
        return rows

    def inspect_network(self, name: str) -> dict[str, Any]:
        """Docker's document of a network, with the containers that are connected just now.

        Raises:
            NetworkNotFound: there is none of this name or id.
        """
        from contextkernel.runtime.inspecting.networks import network_document

        networks = self._containers.networks
        record = networks.find(name)
        return network_document(record, networks.users(record))

    def remove_network(self, name: str, *, force: bool = False) -> None:
        """Remove a network.

        Args:
            name: or id.
            force: it need not exist.

        Raises:
            NetworkNotFound: there is none. Conflict: it is predefined, or a running container is connected.
        """
        try:
            self._containers.networks.remove(name)
        except NetworkNotFound:
            if not force:
                raise

    def connect_network(
        self,
        network: str,
        container: str,
        *,
        aliases: str | Sequence[str] = (),
        links: str | Sequence[str] = (),
        ipv4_address: str = "",
        ipv6_address: str = "",
        link_local_ips: str | Sequence[str] = (),
        driver_opt: Mapping[str, str] | None = None,
        gw_priority: int = 0,
    ) -> None:
        """Connect a container to one more network; at once if it runs, else when it is started.

        Args:
            network, container: names or ids.
            aliases: more names for it on this network.
            links: ``CONTAINER[:ALIAS]`` names for others that it alone has.
            ipv4_address, ipv6_address: on a network whose subnet was given.
            link_local_ips: more addresses of the link.
            driver_opt: kept and shown.
            gw_priority: the network with the highest gives the way out.

        Raises:
            NetworkNotFound, ContainerNotFound: there is none. Conflict: it is connected already, or cannot be.
            InvalidInput: an address that cannot be.
        """
        from contextkernel.model.networks import Joining

        containers = self._containers
        joining = Joining(
            network=network,
            aliases=several(aliases),
            links=several(links),
            ip=ipv4_address,
            ip6=ipv6_address,
            link_local=several(link_local_ips),
            options=dict(driver_opt or {}),
            priority=gw_priority,
        )
        containers.networks.connect(containers.find(container), joining)

    def disconnect_network(self, network: str, container: str, *, force: bool = False) -> None:
        """Take a container off a network; at once if it runs.

        Args:
            network, container: names or ids.
            force: the network, or the container, need not exist any more.

        Raises:
            NetworkNotFound, ContainerNotFound: there is none. Conflict: it is not connected.
        """
        containers = self._containers
        containers.networks.disconnect(containers.find(container), network, force=force)

    def prune_networks(self, *, filters: Filters | None = None) -> tuple[str, ...]:
        """Remove networks that somebody made and no running container is connected to.

        Args:
            filters: ``label`` and ``label!``, which all must hold; ``until``: made before that moment.

        Returns:
            The names of those that went.

        Raises:
            InvalidInput: an unknown filter, or no moment.
        """
        import time

        from contextkernel.engine.moments import nanoseconds
        from contextkernel.runtime.network_rules import is_predefined

        wanted = filter_values(filters)
        check_keys(wanted, PRUNE_FILTERS)
        limits = [nanoseconds(value, now=time.time_ns()) for value in wanted.get("until", ())]
        gone = []
        for row in self._containers.networks.rows():
            record = row.network
            if row.containers or is_predefined(record.name) or not all_labels(record.labels, wanted):
                continue
            if any(limit is not None and record.created >= limit for limit in limits):
                continue
            try:
                self._containers.networks.remove(record.id)
            except (Conflict, NetworkNotFound):
                continue  # used, or gone, meanwhile
            gone.append(record.name)
        return tuple(gone)


def _passes(row: NetworkRow, key: str, values: Sequence[str]) -> bool:
    from contextkernel.runtime.network_rules import is_predefined

    record = row.network
    match key:
        case "dangling":
            return any(flags(key, values)) == (not row.containers and not is_predefined(record.name))
        case "driver":
            return record.driver in values
        case "id":
            return any(value in record.id for value in values)
        case "label":
            return all_labels(record.labels, {"label": values})
        case "name":
            return any(named(record.name, value) for value in values)
        case "scope":
            return "local" in values
        case "type":
            for value in values:
                if value not in ("custom", "builtin"):
                    raise InvalidInput(f"invalid filter: 'type'='{value}'", hint="custom or builtin")
            return any((value == "builtin") == is_predefined(record.name) for value in values)
    raise unknown(key, NETWORK_FILTERS)
