"""Verbs about networks."""

from __future__ import annotations

from collections.abc import Iterable

from contextkernel.commands.call import Call, for_each_name
from contextkernel.commands.declared_networks import LIST_FILTERS
from contextkernel.commands.declared_options import PRUNE_FILTERS
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.inspected import inspect_each
from contextkernel.commands.outcome import Nothing, Outcome, Table, TableOptions, Text
from contextkernel.commands.pruned import deleted
from contextkernel.commands.values import parse_filters, parse_labels, parse_pairs
from contextkernel.commands.verbs_image import shown
from contextkernel.errors import NetworkNotFound


def create(call: Call) -> Outcome:
    """Make a network; prints its id."""
    parsed = call.parsed
    identity = call.engine.create_network(
        parsed.arguments[0],
        driver=parsed.text("driver"),
        options=parse_pairs(parsed.texts("opt")),
        subnets=_split(parsed.texts("subnet")),
        ip_ranges=_split(parsed.texts("ip-range")),
        gateways=_split(parsed.texts("gateway")),
        aux_addresses=parse_pairs(parsed.texts("aux-address")),
        internal=parsed.flag("internal"),
        attachable=parsed.flag("attachable"),
        enable_ipv4=parsed.flag("ipv4"),
        enable_ipv6=parsed.flag("ipv6"),
        labels=parse_labels(parsed.texts("label")),
    )
    return Outcome(value=Text(f"{identity}\n"))


def _split(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(part for word in words for part in word.split(","))


def list_networks(call: Call) -> Outcome:
    """List networks."""
    filters = parse_filters(call.parsed.texts("filter"), LIST_FILTERS)
    options = TableOptions(no_trunc=call.parsed.flag("no-trunc"))
    return shown(call, Table("networks", call.engine.networks(filters=filters), options))


def inspect(call: Call) -> Outcome:
    """Documents of networks."""
    return inspect_each(call, call.engine.inspect_network)


def remove(call: Call) -> Outcome:
    """Remove networks."""
    # docker says nothing of one that is not there
    skip = NetworkNotFound if call.parsed.flag("force") else ()
    return for_each_name(call.parsed.arguments, call.engine.remove_network, skip=skip)


def connect(call: Call) -> Outcome:
    """Connect a container to a network."""
    parsed = call.parsed
    network, container = parsed.arguments
    for word in parsed.texts("driver-opt"):
        if "=" not in word:
            raise usage_problem("invalid key/value pair format in driver options", exit_code=1)
    call.engine.connect_network(
        network,
        container,
        aliases=_split(parsed.texts("alias")),
        links=parsed.texts("link"),
        ipv4_address=parsed.text("ip"),
        ipv6_address=parsed.text("ip6"),
        link_local_ips=_split(parsed.texts("link-local-ip")),
        driver_opt=parse_pairs(parsed.texts("driver-opt")),
        gw_priority=parsed.number("gw-priority") or 0,
    )
    return Outcome(value=Nothing())


def disconnect(call: Call) -> Outcome:
    """Take a container off a network."""
    network, container = call.parsed.arguments
    call.engine.disconnect_network(network, container, force=call.parsed.flag("force"))
    return Outcome(value=Nothing())


def prune(call: Call) -> Outcome:
    """Remove networks that no container is connected to."""
    parsed = call.parsed
    filters = parse_filters(parsed.texts("filter"), PRUNE_FILTERS)
    question = (
        "WARNING! This will remove all custom networks not used by at least one container.\n"
        "Are you sure you want to continue?"
    )
    if not parsed.flag("force") and not call.face.confirm(question):
        return Outcome(value=Nothing())
    return Outcome(value=Text(deleted("Deleted Networks:", call.engine.prune_networks(filters=filters))))
