"""Which subnets a network gets, and whether what was asked for can be: docker's rules. Pure but for one reader.

Source of the rules: moby, daemon/libnetwork/ipamutils (the default pools) and daemon/network.go, ipam (the checks).
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import struct
from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias

import msgspec

from contextkernel.errors import Conflict, InvalidInput
from contextkernel.model.networks import Endpoint, NetworkRecord, Pool

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: docker's default-address-pools: each network with the size of the parts that are given away
_POOLS = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)
_LOOPBACK_INTERFACE = "lo"


def host_networks(route: str, ipv6_route: str = "", *, without: Collection[str] = ()) -> tuple[Network, ...]:
    """Networks that this host has routes to, without the default routes.

    Args:
        route, ipv6_route: texts of ``/proc/net/route`` and ``/proc/net/ipv6_route`` (proc_pid_net(5)).
        without: names of links whose routes do not count.
    """
    found: list[Network] = []
    for line in route.splitlines()[1:]:
        words = line.split()
        if len(words) < 8 or words[0] in without:
            continue
        # the kernel prints addresses as numbers in its own byte order
        address, mask = (socket.inet_ntoa(struct.pack("=I", int(words[place], 16))) for place in (1, 7))
        network = ipaddress.IPv4Network(f"{address}/{mask}", strict=False)
        if network.prefixlen:
            found.append(network)
    for line in ipv6_route.splitlines():
        words = line.split()
        if len(words) < 10 or words[9] == _LOOPBACK_INTERFACE or words[9] in without:
            continue
        wide = ipaddress.IPv6Network((int(words[0], 16), int(words[1], 16)), strict=False)
        if wide.prefixlen and not (wide.is_link_local or wide.is_multicast):
            found.append(wide)
    return tuple(dict.fromkeys(found))


def read_host_networks(*, without: Collection[str] = ()) -> tuple[Network, ...]:
    """:func:`host_networks` of this process's network namespace, as it is now."""
    return host_networks(_text("/proc/net/route"), _text("/proc/net/ipv6_route"), without=without)


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def actual_pools(record: NetworkRecord, endpoint: Endpoint | None) -> tuple[Pool, ...]:
    """The subnets of a network as one of its containers has them: another one may have been chosen on this host."""
    if endpoint is None or record.given:
        return record.pools
    found = []
    for pool in record.pools:
        first = ipaddress.ip_network(pool.subnet).version == 4
        ip, bits = (endpoint.ip, endpoint.bits) if first else (endpoint.ip6, endpoint.bits6)
        gateway = endpoint.gateway if first else endpoint.gateway6
        if not ip or ipaddress.ip_address(ip) in ipaddress.ip_network(pool.subnet):
            found.append(pool)
            continue
        subnet = ipaddress.ip_interface(f"{ip}/{bits}").network
        found.append(Pool(subnet=str(subnet), gateway=gateway or str(subnet.network_address + 1)))
    return tuple(found)


def overlapping(subnet: Network, taken: Iterable[Network]) -> Network | None:
    """The first of ``taken`` that shares addresses with ``subnet``."""
    for other in taken:
        if other.version == subnet.version and subnet.overlaps(other):
            return other
    return None


def placed(record: NetworkRecord, taken: Sequence[Network]) -> NetworkRecord:
    """A network with subnets that share no addresses with others of this host.

    Args:
        record: the network.
        taken: what the host has routes to, and what the store's other networks have.

    Returns:
        The same, or with another IPv4 subnet where nobody asked for that one.

    Raises:
        Conflict: others would not be what was asked for. InvalidInput: none is left.
    """
    clash = next((other for pool in record.pools if (other := overlapping(parse_subnet(pool.subnet), taken))), None)
    if clash is None:
        return record
    if record.given:
        raise Conflict(
            f"network {record.name} cannot be used now: this host has a route to {clash}",
            hint="remove the network and create it again, for instance with another --subnet",
        )
    others = tuple(pool for pool in record.pools if parse_subnet(pool.subnet).version == 6)
    return msgspec.structs.replace(record, pools=(choose_pool(taken), *others))


def choose_pool(taken: Sequence[Network]) -> Pool:
    """The first of docker's default subnets that overlaps nothing in ``taken``.

    Raises:
        InvalidInput: all are in use.
    """
    for text, bits in _POOLS:
        for subnet in ipaddress.IPv4Network(text).subnets(new_prefix=bits):
            if overlapping(subnet, taken) is None:
                return Pool(subnet=str(subnet), gateway=str(subnet.network_address + 1))
    raise InvalidInput(
        "all predefined address pools have been fully subnetted", hint="remove a network, or give --subnet"
    )


def choose_pool6(seed: str, taken: Sequence[Network]) -> Pool:
    """An IPv6 subnet of 64 bits out of a unique local prefix (RFC 4193) that is always the same for ``seed``."""
    prefix = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:5])
    start = (0xFD << 120) | (prefix << 80)
    for number in range(1 << 16):
        subnet = ipaddress.IPv6Network((start | (number << 64), 64))
        if overlapping(subnet, taken) is None:
            return Pool(subnet=str(subnet), gateway=str(subnet.network_address + 1))
    raise InvalidInput("no IPv6 subnet is left", hint="give --subnet")


def asked_pools(
    subnets: Sequence[str], ranges: Sequence[str], gateways: Sequence[str], auxiliary: Sequence[tuple[str, str]]
) -> tuple[Pool, ...]:
    """Pools out of ``--subnet``, ``--ip-range``, ``--gateway`` and ``--aux-address``, matched by what contains what.

    Raises:
        InvalidInput: one that cannot be read, overlaps another, or lies in no subnet.
    """
    networks = [parse_subnet(text) for text in subnets]
    for number, one in enumerate(networks):
        if overlapping(one, networks[:number]) is not None:
            raise InvalidInput("multiple overlapping subnet configuration is not supported")
    if not networks and (ranges or gateways):
        raise InvalidInput("every ip-range or gateway must have a corresponding subnet", hint="give --subnet too")
    for version in (4, 6):
        if sum(network.version == version for network in networks) > 1:
            raise InvalidInput(
                "bridge driver doesn't support multiple subnets", hint="one --subnet for IPv4, one for IPv6"
            )
    found: dict[Network, dict[str, str]] = {network: {} for network in networks}
    extra: dict[Network, dict[str, str]] = {network: {} for network in networks}
    for text in ranges:
        part = _parse_network(text)
        home = _home(part.network_address, networks, f"no matching subnet for range {text}")
        if part.prefixlen < home.prefixlen:
            raise InvalidInput(f"no matching subnet for range {text}")
        if "range" in found[home]:
            raise InvalidInput(
                f"cannot configure multiple ranges ({text}, {found[home]['range']}) on the same subnet ({home})"
            )
        found[home]["range"] = text
    for text in gateways:
        home = _home(parse_address(text, "gateway"), networks, f"no matching subnet for gateway {text}")
        if "gateway" in found[home]:
            raise InvalidInput(
                f"cannot configure multiple gateways ({text}, {found[home]['gateway']}) for the same subnet ({home})"
            )
        found[home]["gateway"] = text
    for name, text in auxiliary:
        home = _home(parse_address(text, "aux-address"), networks, f"no matching subnet for aux-address {text}")
        extra[home][name] = text
    return tuple(
        Pool(
            subnet=str(network),
            gateway=found[network].get("gateway") or str(_first(network, found[network].get("range", ""))),
            gateway_chosen="gateway" not in found[network],
            ip_range=found[network].get("range", ""),
            auxiliary=extra[network],
        )
        for network in sorted(networks, key=lambda network: network.version)
    )


def parse_subnet(text: str) -> Network:
    """``ADDRESS/BITS`` as a network.

    Raises:
        InvalidInput: it cannot be read, or the address is not the first of the network.
    """
    network = _parse_network(text)
    if str(network) != str(ipaddress.ip_interface(text)):
        raise InvalidInput(f"invalid subnet {text}: it should be {network}")
    return network


def _parse_network(text: str) -> Network:
    try:
        if "/" not in text:
            raise ValueError
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidInput(
            f"invalid subnet {text}: invalid CIDR block notation", hint="for instance 10.5.0.0/24"
        ) from None


def parse_address(text: str, what: str) -> Address:
    """An address.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(f"invalid {what} address {text!r}") from None


def _home(address: Address, networks: Sequence[Network], problem: str) -> Network:
    for network in networks:
        if network.version == address.version and address in network:
            return network
    raise InvalidInput(problem, hint="it must lie in a --subnet")


def _first(network: Network, ip_range: str) -> Address:
    """Docker's choice of gateway: the first address of the range, or of the subnet."""
    base = _parse_network(ip_range) if ip_range else network
    first: Address = base.network_address
    return first + 1 if first == network.network_address else first
