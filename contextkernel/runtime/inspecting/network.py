"""What ``inspect`` says of networks, in docker's shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from contextkernel.runtime.network_rules import split_link

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec, RunState
    from contextkernel.model.networking import PortBinding
    from contextkernel.model.networks import BoundPort, Endpoint, Joining


def host_config(spec: ContainerSpec) -> dict[str, Any]:
    """Its part of ``HostConfig``."""
    asked = spec.networking
    bindings: dict[str, list[dict[str, str]]] = {}
    for one in asked.ports:
        bindings.setdefault(f"{one.container_port}/{one.protocol}", []).append(
            {"HostIp": one.host_ip, "HostPort": _host_port(one)}
        )
    return {
        "NetworkMode": "bridge" if spec.network == "default" else spec.network,
        "PortBindings": bindings,
        "PublishAllPorts": asked.publish_all,
        "Dns": list(asked.servers),
        "DnsOptions": list(asked.options),
        "DnsSearch": list(asked.search),
        "ExtraHosts": list(asked.hosts) or None,
        "Links": [_link(spec, link) for link in asked.links] or None,
    }


def config(spec: ContainerSpec) -> dict[str, Any]:
    """Its part of ``Config``; docker leaves out what was not asked for."""
    asked = spec.networking
    exposed = [*asked.exposed, *(f"{one.container_port}/{one.protocol}" for one in asked.ports)]
    found: dict[str, Any] = {"Domainname": asked.domainname}
    if exposed:
        found["ExposedPorts"] = {port: {} for port in sorted(exposed)}
    if asked.mac:
        found["MacAddress"] = asked.mac
    return found


def settings(spec: ContainerSpec, state: RunState) -> dict[str, Any]:
    """``NetworkSettings``."""
    network = state.network
    known = {one.network_id: one.network for one in network.endpoints}
    shared = network.mode == "host" or spec.network == "host"
    if not state.alive:  # addresses and ports are given back at the end
        network = type(network)()
    by_name = {one.network: one for one in network.endpoints}
    default = by_name.get("bridge")
    networks: dict[str, Any] = {}
    if shared:
        networks["host"] = _endpoint(None, None)
    elif spec.network == "none":
        networks["none"] = _endpoint(None, None)
    elif not spec.network.startswith("container:"):
        wanted = {one.network: one for one in spec.networking.joins}
        for name, joining in wanted.items():
            called = next((title for identity, title in known.items() if identity.startswith(name)), name)
            networks[called] = _endpoint(by_name.get(called), joining)
        for name, one in by_name.items():
            networks.setdefault(name, _endpoint(one, None))
    return {
        "Bridge": "",
        "SandboxID": spec.id if network.mode else "",
        "SandboxKey": f"/proc/{state.pid}/ns/net" if network.mode and state.pid else "",
        "Ports": ports(spec, network.ports) if network.mode else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": default.id if default else "",
        "Gateway": default.gateway if default else "",
        "GlobalIPv6Address": default.ip6 if default else "",
        "GlobalIPv6PrefixLen": default.bits6 if default else 0,
        "IPAddress": default.ip if default else "",
        "IPPrefixLen": default.bits if default else 0,
        "IPv6Gateway": default.gateway6 if default else "",
        "MacAddress": default.mac if default else "",
        "Networks": networks,
    }


def ours(spec: ContainerSpec, state: RunState) -> dict[str, Any]:
    """What docker has no word for: what network it really has, and why, if that is not what was asked for.

    Before the first start nobody knows; then it is what was asked for.
    """
    mode = state.network.mode
    asked = "bridge" if spec.network == "default" else spec.network.partition(":")[0]
    actual = mode or asked
    return {
        "Network": actual,
        "NetworkIsolated": actual != "host",
        "NetworkReason": state.network.reason,
        "NetworkOutbound": way_out(state.network.outbound),
    }


def way_out(word: str) -> str:
    """How a container reaches the outside, for people; the same words as those of ``doctor``."""
    known = {
        "": "",
        "routed": "routed, under the host's address",
        "relay": "TCP and names by relay; no UDP, no ICMP",
        "none": "names only, and between containers; --network host has the host's network",
    }
    return known.get(word, f"by {word}")


def ports(spec: ContainerSpec, bound: Iterable[BoundPort]) -> dict[str, list[dict[str, str]] | None]:
    """``NetworkSettings.Ports``: published ports with their addresses, exposed ones without."""
    found: dict[str, list[dict[str, str]] | None] = {}
    for one in bound:
        known = found.setdefault(f"{one.container_port}/{one.protocol}", [])
        if known is not None:
            known.append({"HostIp": one.host_ip, "HostPort": str(one.host_port)})
    for port in spec.networking.exposed:
        found.setdefault(port, None)
    return {port: found[port] for port in sorted(found)}


def _endpoint(one: Endpoint | None, joining: Joining | None) -> dict[str, Any]:
    fixed = {}
    if joining is not None and joining.ip:
        fixed["IPv4Address"] = joining.ip
    if joining is not None and joining.ip6:
        fixed["IPv6Address"] = joining.ip6
    return {
        "IPAMConfig": fixed or None,
        "Links": list(joining.links) or None if joining else None,
        "Aliases": list(joining.aliases) or None if joining else None,
        "MacAddress": one.mac if one else joining.mac if joining else "",
        "DriverOpts": dict(joining.options) or None if joining else None,
        "GwPriority": joining.priority if joining else 0,
        "NetworkID": one.network_id if one else "",
        "EndpointID": one.id if one else "",
        "Gateway": one.gateway if one else "",
        "IPAddress": one.ip if one else "",
        "IPPrefixLen": one.bits if one else 0,
        "IPv6Gateway": one.gateway6 if one else "",
        "GlobalIPv6Address": one.ip6 if one else "",
        "GlobalIPv6PrefixLen": one.bits6 if one else 0,
        "DNSNames": list(one.names) or None if one else None,
    }


def _host_port(one: PortBinding) -> str:
    if not one.host_port:
        return ""
    if one.host_port_end > one.host_port:
        return f"{one.host_port}-{one.host_port_end}"
    return str(one.host_port)


def _link(spec: ContainerSpec, link: str) -> str:
    alias, name = split_link(link)
    return f"/{name}:/{spec.name}/{alias}"
