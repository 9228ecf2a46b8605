"""Docker's rules of what may be asked of networks, and what it comes to. Pure.

Source: docker/cli, cli/command/container/opts.go; moby, daemon/container_operations.go and
runconfig/hostconfig_unix.go.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from contextkernel.errors import Conflict, InvalidInput
from contextkernel.model.networking import Networking, PortBinding
from contextkernel.model.networks import Joining

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.networks import NetworkRecord

_PREDEFINED = ("bridge", "host", "none", "default")
_DRIVERS = ("bridge", "default", "")


def is_predefined(name: str) -> bool:
    """Whether a network of this name is always there."""
    return name in _PREDEFINED


def is_user_defined(mode: str) -> bool:
    """Whether ``ContainerSpec.network`` names a network that somebody made."""
    return not is_predefined(mode) and not mode.startswith("container:")


def check_network_name(name: str) -> None:
    """Check that a network may be called so.

    Raises:
        InvalidInput: it may not.
    """
    if is_predefined(name):
        raise InvalidInput(f"operation is not permitted on predefined {name} network", hint="choose another name")
    if not name.strip():
        raise InvalidInput("network name cannot be empty", hint="give a name")


def check_driver(driver: str) -> None:
    """Check that networks of a driver can be made.

    Raises:
        InvalidInput: they cannot.
    """
    if driver in ("host", "null", "none"):
        raise InvalidInput(f'only one instance of "{driver}" network is allowed')
    if driver not in _DRIVERS:
        raise InvalidInput(f'plugin "{driver}" not found', hint="networks are bridges: --driver bridge")


def check_asked(mode: str, asked: Networking, *, hostname: bool) -> None:
    """Check that what was asked for goes together.

    Args:
        mode: ``ContainerSpec.network``.
        asked: the rest.
        hostname: a host name was given.

    Raises:
        InvalidInput: it does not; the messages are docker's.
    """
    if mode.startswith("container:"):
        _check_shared(asked, hostname=hostname)
    if mode == "host" and asked.links:
        raise InvalidInput(
            "conflicting options: host type networking can't be used with links. This would result in undefined "
            "behavior"
        )
    for joining in asked.joins:
        if is_user_defined(joining.network):
            continue
        if joining.ip or joining.ip6:
            raise InvalidInput(
                f"invalid config for network {joining.network}: invalid endpoint settings:\n"
                "user specified IP address is supported on user defined networks only",
                hint="make a network with a subnet: network create --subnet 10.5.0.0/24 NAME",
            )
        if joining.aliases:
            raise InvalidInput("network-scoped aliases are only supported for user-defined networks")
    if len(asked.joins) > 1 or (asked.joins and not _joins(mode)):
        for name in [mode, *(joining.network for joining in asked.joins)]:
            if name in ("host", "none") or name.startswith("container:"):
                raise InvalidInput(
                    "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                )


def check_addresses(joining: Joining, record: NetworkRecord, *, prefix: str = "") -> None:
    """Check that addresses asked for can be had on a network.

    Args:
        joining: what is asked for.
        record: the network.
        prefix: what the message begins with.

    Raises:
        InvalidInput: they cannot; the messages are docker's.
    """
    begin = prefix or f"invalid config for network {joining.network}: invalid endpoint settings:"
    problems = []
    for text, version in ((joining.ip, 4), (joining.ip6, 6)):
        if not text:
            continue
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            problems.append(f"invalid IPv{version} address: {text}")
            continue
        if address.version != version:
            problems.append(f"invalid IPv{version} address: {text}")
        elif not record.given:
            problems.append(
                "user specified IP address is supported only when connecting to networks with user configured subnets"
            )
        elif not any(address in ipaddress.ip_network(pool.subnet) for pool in record.pools):
            problems.append(f"no configured subnet or ip-range contain the IP address {text}")
    if problems:
        listed = problems[0] if len(problems) == 1 else "\n".join(f"* {problem}" for problem in problems)
        raise InvalidInput(f"{begin}\n{listed}", hint="network inspect shows the subnets of a network")


def check_joining(spec: ContainerSpec, record: NetworkRecord) -> None:
    """Check that a container may be connected to one more network.

    Raises:
        Conflict: it may not; the messages are docker's.
    """
    if record.driver == "host":
        raise Conflict(
            "cannot connect container to host network - container must be created in host network mode",
            hint="run it with --network host",
        )
    if record.driver == "null" or spec.network == "none":
        raise Conflict(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )
    if not _joins(spec.network):
        raise Conflict(
            "container sharing network namespace with another container or host cannot be connected to any other "
            "network"
        )


def _check_shared(asked: Networking, *, hostname: bool) -> None:
    if hostname:
        raise InvalidInput("conflicting options: hostname and the network mode")
    if asked.links:
        raise InvalidInput(
            "conflicting options: container type network can't be used with links. This would result in undefined "
            "behavior"
        )
    if asked.servers:
        raise InvalidInput("conflicting options: dns and the network mode")
    if asked.hosts:
        raise InvalidInput("conflicting options: custom host-to-IP mapping and the network mode")
    if asked.mac:
        raise InvalidInput("conflicting options: mac-address and the network mode")
    if asked.ports or asked.publish_all:
        raise InvalidInput("conflicting options: port publishing and the container type network mode")
    if asked.exposed:
        raise InvalidInput("conflicting options: port exposing and the container type network mode")


def _joins(mode: str) -> bool:
    return mode not in ("host", "none") and not mode.startswith("container:")


def joins_of(spec: ContainerSpec) -> tuple[Joining, ...]:
    """The networks a container is connected to when it runs."""
    return spec.networking.joins if _joins(spec.network) else ()


def first_join(mode: str, asked: Networking) -> tuple[Joining, ...]:
    """The connections to record for a new container: those asked for, else the one that ``mode`` names."""
    if asked.joins or not _joins(mode):
        return asked.joins
    return (Joining(network="bridge" if mode == "default" else mode, mac=asked.mac),)


def dns_names(spec: ContainerSpec, joining: Joining) -> tuple[str, ...]:
    """What others find a container by: its name, its aliases, the short id, its host name."""
    return tuple(dict.fromkeys([spec.name, *joining.aliases, spec.id[:12], spec.hostname]))


def split_link(link: str) -> tuple[str, str]:
    """``CONTAINER[:ALIAS]`` as alias and container."""
    name, _, alias = link.partition(":")
    return alias or name, name


def split_host(text: str) -> tuple[str, str]:
    """``NAME:ADDRESS`` or ``NAME=ADDRESS`` of ``--add-host``.

    Raises:
        InvalidInput: neither.
    """
    match = re.match(r"([^:=]+)[:=](.+)\Z", text)
    if match is None:
        raise InvalidInput(f'bad format for add-host: "{text}"', hint="NAME:ADDRESS")
    return match[1], match[2].removeprefix("[").removesuffix("]")


def published(asked: Networking) -> tuple[PortBinding, ...]:
    """The ports to publish: those named, and with ``publish_all`` the exposed ones that are not among them."""
    if not asked.publish_all:
        return asked.ports
    named = {(one.container_port, one.protocol) for one in asked.ports}
    more = []
    for text in asked.exposed:
        port, _, protocol = text.partition("/")
        match protocol or "tcp":
            case ("tcp" | "udp" | "sctp") as known if (int(port), known) not in named:
                more.append(PortBinding(container_port=int(port), protocol=known))
            case _:
                pass
    return (*asked.ports, *more)
