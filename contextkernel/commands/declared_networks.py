"""The declaration of the commands about networks."""

from __future__ import annotations

from contextkernel.commands.declared_options import FILTER, FORCE, FORMAT, INSPECT_FORMAT, NO_TRUNC, PRUNE_FILTER
from contextkernel.commands.grammar import Command, Option
from contextkernel.commands.run_network import IP, IP6, LINK

LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")

_JOINING = (
    Option(name="alias", kind="list", metavar="strings", help="One more name for it on the network"),
    Option(name="driver-opt", kind="list", metavar="strings", help="Option of the driver: KEY=VALUE"),
    Option(name="gw-priority", kind="int", metavar="int", help="The network with the highest gives the way out"),
    IP,
    IP6,
    LINK,
    Option(name="link-local-ip", kind="list", metavar="strings", help="One more address of the link"),
)

NETWORKS = (
    Command(
        path=("network", "connect"),
        arguments="NETWORK CONTAINER",
        summary="Connect a container to a network",
        options=_JOINING,
        minimum=2,
        maximum=2,
        subjects=("network", "container"),
        verb="verbs_network:connect",
    ),
    Command(
        path=("network", "create"),
        arguments="NETWORK",
        summary="Make a network",
        description="Its bridge is there while a container needs it. Without a subnet one is chosen that overlaps "
        "nothing this host has a route to. Options of the driver: `com.docker.network.driver.mtu`, "
        "`com.docker.network.bridge.name`, `com.docker.network.bridge.enable_icc`, "
        "`com.docker.network.bridge.enable_ip_masquerade`.",
        options=(
            Option(name="attachable", help="Only kept and shown"),
            Option(name="aux-address", kind="list", metavar="map", help="Address that is never given: NAME=ADDRESS"),
            Option(name="driver", short="d", kind="string", metavar="string", default="bridge", help="Driver: bridge"),
            Option(name="gateway", kind="list", metavar="strings", help="Address of the bridge"),
            Option(name="internal", help="No way out"),
            Option(name="ip-range", kind="list", metavar="strings", help="Part of the subnet to give addresses from"),
            Option(name="ipam-driver", kind="string", metavar="string", default="default", hidden=True),
            Option(name="ipam-opt", kind="list", metavar="map", hidden=True),
            Option(name="ipv4", default="true", help="Give IPv4 addresses"),
            Option(name="ipv6", help="Give IPv6 addresses too"),
            Option(name="label", kind="list", metavar="list", help="Label for the network: KEY=VALUE"),
            Option(name="opt", short="o", kind="list", metavar="map", help="Option of the driver: KEY=VALUE"),
            Option(name="scope", kind="string", metavar="string", hidden=True),
            Option(name="subnet", kind="list", metavar="strings", help="Addresses of the network: ADDRESS/BITS"),
        ),
        minimum=1,
        maximum=1,
        verb="verbs_network:create",
    ),
    Command(
        path=("network", "disconnect"),
        arguments="NETWORK CONTAINER",
        summary="Take a container off a network",
        options=(Option(name="force", short="f", help="Do not mind that it does not run"),),
        minimum=2,
        maximum=2,
        subjects=("network", "container"),
        verb="verbs_network:disconnect",
    ),
    Command(
        path=("network", "inspect"),
        arguments="NETWORK [NETWORK...]",
        summary="Show all there is to know of networks",
        options=(INSPECT_FORMAT, Option(name="verbose", short="v", hidden=True)),
        minimum=1,
        subjects=("network",),
        verb="verbs_network:inspect",
    ),
    Command(
        path=("network", "ls"),
        aliases=(("network", "list"),),
        summary="List networks",
        description="Filters: `dangling=true|false` (no container is connected), `driver=`, `id=`, "
        "`label=KEY[=VALUE]`, `name=`, `scope=`, `type=custom|builtin`.",
        options=(
            FILTER,
            FORMAT,
            NO_TRUNC,
            Option(name="quiet", short="q", help="Print nothing but ids"),
        ),
        maximum=0,
        verb="verbs_network:list_networks",
    ),
    Command(
        path=("network", "prune"),
        summary="Remove networks that no container is connected to",
        description="Filters: `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`, `until=TIME`.",
        options=(
            PRUNE_FILTER,
            FORCE,
        ),
        maximum=0,
        verb="verbs_network:prune",
    ),
    Command(
        path=("network", "rm"),
        aliases=(("network", "remove"),),
        arguments="NETWORK [NETWORK...]",
        summary="Remove networks",
        options=(Option(name="force", short="f", help="Do not mind networks that do not exist"),),
        minimum=1,
        subjects=("network",),
        verb="verbs_network:remove",
    ),
)
