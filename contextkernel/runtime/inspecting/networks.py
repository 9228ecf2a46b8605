"""The document that ``network inspect`` shows, in docker's shape (Engine API, NetworkInspect)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from contextkernel.network.subnets import actual_pools
from contextkernel.runtime.inspecting.times import rfc3339

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.networks import Endpoint, NetworkRecord, Pool


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
            "Config": [_pool(pool) for pool in actual_pools(record, users[0][1] if users else None)] or None,
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
