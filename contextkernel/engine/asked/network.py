"""Keyword arguments of ``run`` and ``create`` about networks, and what they come to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from contextkernel.engine.asked.port_words import PortWish, parse_exposed, ports_from
from contextkernel.errors import InvalidInput
from contextkernel.model.given import several
from contextkernel.model.networking import Networking
from contextkernel.model.networks import Joining
from contextkernel.runtime.network_rules import is_user_defined, split_host

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}\Z")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?\Z")
_HOST_GATEWAY = "host-gateway"


class NetworkKeywords(TypedDict, total=False):
    """Names follow docker-py.

    Attributes:
        network, network_mode: kind of network, or the name or id of one.
        networks: connections to several networks, or one with all its settings; instead of ``network``.
        network_aliases: more names on the (first) network.
        ip_address, ip6_address, link_local_ips, mac_address: on the (first) network.
        ports: docker-py's ``{"80/tcp": 8080}`` (a port, ``(address, port)``, a list of these, or ``None`` for any), or
            words of ``-p``.
        publish_all_ports: publish all exposed ports.
        expose: ports, as words of ``--expose``.
        domainname: what follows the host name.
        dns, dns_search, dns_opt: for /etc/resolv.conf.
        extra_hosts: ``{name: address}`` or words of ``--add-host``; the address may be ``host-gateway``.
        links: ``{container: alias}`` or words of ``--link``.
    """

    network: str
    network_mode: str
    networks: Sequence[Joining]
    network_aliases: str | Sequence[str]
    ip_address: str
    ip6_address: str
    link_local_ips: str | Sequence[str]
    mac_address: str
    ports: Mapping[str, PortWish] | str | Sequence[str]
    publish_all_ports: bool
    expose: str | Sequence[str]
    domainname: str
    dns: str | Sequence[str]
    dns_search: str | Sequence[str]
    dns_opt: str | Sequence[str]
    extra_hosts: Mapping[str, str] | str | Sequence[str]
    links: Mapping[str, str] | str | Sequence[str]


def network_of(keywords: Mapping[str, Any]) -> str:
    """The kind of network: ``ContainerSpec.network``."""
    networks: Sequence[Joining] = keywords.get("networks") or ()
    if networks:
        return networks[0].network
    return keywords.get("network_mode") or keywords.get("network") or "default"


def network_from(keywords: NetworkKeywords, network: str = "default") -> Networking:
    """What the keywords ask for.

    Args:
        keywords: see there.
        network: the kind of network.

    Raises:
        InvalidInput: a value that cannot be, or two that contradict each other; the messages are docker's.
    """
    links = tuple(_link(word) for word in _pairs(keywords.get("links", ()), ":"))
    return Networking(
        joins=_joins(keywords, network, links),
        ports=ports_from(keywords.get("ports", ())),
        publish_all=keywords.get("publish_all_ports", False),
        exposed=parse_exposed(several(keywords.get("expose", ()))),
        domainname=keywords.get("domainname", ""),
        servers=tuple(_address(word, "dns") for word in several(keywords.get("dns", ()))),
        search=tuple(_domain(word) for word in several(keywords.get("dns_search", ()))),
        options=several(keywords.get("dns_opt", ())),
        hosts=tuple(_host(word) for word in _pairs(keywords.get("extra_hosts", ()), ":")),
        links=() if is_user_defined(network) else links,
        mac=_mac(keywords.get("mac_address", "")),
    )


def _joins(keywords: NetworkKeywords, network: str, links: tuple[str, ...]) -> tuple[Joining, ...]:
    given = Joining(
        network=network,
        aliases=several(keywords.get("network_aliases", ())),
        links=links if is_user_defined(network) else (),
        ip=keywords.get("ip_address", ""),
        ip6=keywords.get("ip6_address", ""),
        mac=_mac(keywords.get("mac_address", "")),
        link_local=several(keywords.get("link_local_ips", ())),
    )
    networks = list(keywords.get("networks") or (Joining(network=network),))
    seen: set[str] = set()
    for one in networks:
        if one.network in seen:
            raise InvalidInput(f'network "{one.network}" is specified multiple times')
        seen.add(one.network)
    first = _merged(networks[0], given)
    if len(networks) == 1 and first in (Joining(network=network), Joining(network=network, mac=given.mac)):
        return ()  # nothing but what ``network`` says
    return tuple(
        msgspec.structs.replace(one, network="bridge") if one.network == "default" else one
        for one in (first, *networks[1:])
    )


def _merged(one: Joining, given: Joining) -> Joining:
    """A connection with the options that stand beside it; what is said twice is a conflict."""
    for mine, other, what in (
        (one.aliases, given.aliases, "--network-alias and per-network alias"),
        (one.links, given.links, "--link and per-network links"),
        (one.ip, given.ip, "--ip and per-network IPv4 address"),
        (one.ip6, given.ip6, "--ip6 and per-network IPv6 address"),
        (one.mac, given.mac, "--mac-address and per-network MAC address"),
        (one.link_local, given.link_local, "--link-local-ip and per-network link-local IP addresses"),
    ):
        if mine and other:
            raise InvalidInput(f"conflicting options: cannot specify both {what}")
    return msgspec.structs.replace(
        one,
        aliases=one.aliases or given.aliases,
        links=one.links or given.links,
        ip=one.ip or given.ip,
        ip6=one.ip6 or given.ip6,
        mac=one.mac or given.mac,
        link_local=one.link_local or given.link_local,
    )


def _pairs(wanted: Mapping[str, str] | Iterable[str], between: str) -> list[str]:
    if isinstance(wanted, Mapping):
        return [f"{key}{between}{value}" if value else key for key, value in wanted.items()]
    return list(several(wanted))


def _link(word: str) -> str:
    name, _, alias = word.partition(":")
    if not name or ":" in alias:
        raise InvalidInput(f"bad format for links: {word}", hint="CONTAINER[:ALIAS]")
    return word


def _host(word: str) -> str:
    name, address = split_host(word)
    if address != _HOST_GATEWAY:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidInput(f'invalid IP address in add-host: "{address}"', hint="NAME:ADDRESS") from None
    return f"{name}:{address}"


def _address(word: str, what: str) -> str:
    try:
        return str(ipaddress.ip_address(word.strip()))
    except ValueError:
        raise InvalidInput(f"IP address is not correctly formatted: {word}", hint=f"an address for --{what}") from None


def _domain(word: str) -> str:
    text = word.strip()
    if text == ".":
        return text
    if not _DOMAIN.match(text) or len(text) > 255:
        raise InvalidInput(f"{text} is not a valid domain", hint="for instance example.org")
    return text


def _mac(text: str) -> str:
    text = text.strip()
    if text and not _MAC.match(text):
        raise InvalidInput(f"{text} is not a valid mac address", hint="for instance 02:42:ac:11:00:09")
    return text.lower().replace("-", ":")
