"""Options of ``run`` and ``create`` about networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import Option
from contextkernel.commands.network_words import parse_network
from contextkernel.model.networks import Joining

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.network import NetworkKeywords

IP = Option(name="ip", kind="string", metavar="string", help="IPv4 address, on a network with a given subnet")
IP6 = Option(name="ip6", kind="string", metavar="string", help="IPv6 address, on a network with a given subnet")
LINK = Option(name="link", kind="list", metavar="list", help="Name for another container: CONTAINER[:ALIAS]")

OPTIONS: tuple[Option, ...] = (
    Option(
        name="add-host", kind="list", metavar="list", help="Line for /etc/hosts: NAME:ADDRESS, or NAME:host-gateway"
    ),
    Option(name="dns", kind="list", metavar="list", help="Name server instead of the host's"),
    Option(name="dns-option", kind="list", metavar="list", help="Option of the resolver, such as ndots:2"),
    Option(name="dns-opt", kind="list", metavar="list", hidden=True),
    Option(name="dns-search", kind="list", metavar="list", help="Domain that names are looked for in"),
    Option(name="domainname", kind="string", metavar="string", help="Domain of the container"),
    Option(name="expose", kind="list", metavar="list", help="Port that the program listens at: PORT[-PORT][/PROTOCOL]"),
    IP,
    IP6,
    LINK,
    Option(name="link-local-ip", kind="list", metavar="list", help="One more address of the link"),
    Option(name="mac-address", kind="string", metavar="string", help="Address of the link"),
    Option(
        name="network",
        kind="list",
        metavar="network",
        help="Network: bridge, none, host, container:NAME, a network's name, or name=NET,alias=A,ip=ADDRESS; may be "
        "given several times",
    ),
    Option(name="net", kind="list", metavar="network", hidden=True),
    Option(name="network-alias", kind="list", metavar="list", help="One more name on the network"),
    Option(name="net-alias", kind="list", metavar="list", hidden=True),
    Option(
        name="publish",
        short="p",
        kind="list",
        metavar="list",
        help="Port of the host that leads to one of the container: [ADDRESS:][HOST_PORT:]PORT[/PROTOCOL]",
    ),
    Option(name="publish-all", short="P", help="Publish all exposed ports"),
)


def keywords(parsed: Parsed) -> NetworkKeywords:
    """The options as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    networks = tuple(parse_network(word) for word in (*parsed.texts("network"), *parsed.texts("net")))
    plain = networks[0].network if len(networks) == 1 and networks[0] == Joining(network=networks[0].network) else ""
    return {
        "network": plain or "default",
        "networks": () if plain else networks,
        "network_aliases": (*parsed.texts("network-alias"), *parsed.texts("net-alias")),
        "ports": parsed.texts("publish"),
        "publish_all_ports": parsed.flag("publish-all"),
        "expose": parsed.texts("expose"),
        "dns": parsed.texts("dns"),
        "dns_opt": (*parsed.texts("dns-option"), *parsed.texts("dns-opt")),
        "dns_search": parsed.texts("dns-search"),
        "extra_hosts": parsed.texts("add-host"),
        "links": parsed.texts("link"),
        "link_local_ips": parsed.texts("link-local-ip"),
        "ip_address": parsed.text("ip"),
        "ip6_address": parsed.text("ip6"),
        "mac_address": parsed.text("mac-address"),
        "domainname": parsed.text("domainname"),
    }
