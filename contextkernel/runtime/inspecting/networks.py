"""The document that ``network inspect`` shows, in docker's shape (Engine API, NetworkInspect)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from contextkernel.model.networks import Pool
from contextkernel.runtime.inspecting.times import rfc3339

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.networks import Endpoint, NetworkRecord


def network_document(record: NetworkRecord, users: Sequence[tuple[ContainerSpec, Endpoint]]) -> dict[str, Any]:
    """Describe one network.

    Args:
        record: as created, with the subnets it has.
        users: containers that run and are connected, with their connections.
    """
    return {
        "Name": record.name,
        "Id": record.id,
        "Created": rfc3339(record.created),
        "Scope": "local",
        "Driver": record.driver,
        "EnableIPv4": record.ipv4,
        "EnableIPv6": record.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None if record.is_default or record.driver != "bridge" else {},
            "Config": [_pool(pool) for pool in _actual(record, users)] or None,
        },
        "Internal": record.internal,
        "Attachable": record.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            spec.id: {
                "Name": spec.name,
                "EndpointID": one.id,
                "MacAddress": one.mac,
                "IPv4Address": f"{one.ip}/{one.bits}" if one.ip else "",
                "IPv6Address": f"{one.ip6}/{one.bits6}" if one.ip6 else "",
            }
            for spec, one in sorted(users, key=lambda user: user[0].id)
        },
        "Options": _options(record),
        "Labels": dict(record.labels),
    }


def _actual(record: NetworkRecord, users: Sequence[tuple[ContainerSpec, Endpoint]]) -> list[Pool]:
    """The subnets: those of the containers that are connected, where another one had to be chosen on this host."""
    pools = list(record.pools)
    if record.given or not users:
        return pools
    one = users[0][1]
    for place, pool in enumerate(pools):
        subnet = ipaddress.ip_network(pool.subnet)
        ip, bits, gateway = (
            (one.ip, one.bits, one.gateway) if subnet.version == 4 else (one.ip6, one.bits6, one.gateway6)
        )
        if ip and ipaddress.ip_address(ip) not in subnet:
            actual = ipaddress.ip_interface(f"{ip}/{bits}").network
            pools[place] = Pool(subnet=str(actual), gateway=gateway or str(actual.network_address + 1))
    return pools


def _pool(pool: Pool) -> dict[str, Any]:
    found: dict[str, Any] = {"Subnet": pool.subnet}
    if pool.ip_range:
        found["IPRange"] = pool.ip_range
    if not pool.gateway_chosen:
        found["Gateway"] = pool.gateway
    if pool.auxiliary:
        found["AuxiliaryAddresses"] = dict(pool.auxiliary)
    return found


def _options(record: NetworkRecord) -> dict[str, str]:
    if not record.is_default:
        return dict(record.options)
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104 - shown
        "com.docker.network.bridge.name": record.bridge,
        "com.docker.network.driver.mtu": "1500",
        **record.options,
    }
