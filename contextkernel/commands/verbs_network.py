"""Verbs about networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from contextkernel.commands.call import Call, for_each
from contextkernel.commands.declared_networks import LIST_FILTERS, PRUNE_FILTERS
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Document, Nothing, Outcome, Table, TableOptions, Text
from contextkernel.commands.tables import documents_formatted
from contextkernel.commands.values import parse_filters, parse_labels
from contextkernel.commands.verbs_image import shown
from contextkernel.errors import ContextKernelError, NetworkNotFound


def create(call: Call) -> Outcome:
    """Make a network; prints its id."""
    parsed = call.parsed
    identity = call.engine.create_network(
        parsed.arguments[0],
        driver=parsed.text("driver"),
        options=_pairs(parsed.texts("opt")),
        subnets=_split(parsed.texts("subnet")),
        ip_ranges=_split(parsed.texts("ip-range")),
        gateways=_split(parsed.texts("gateway")),
        aux_addresses=_pairs(parsed.texts("aux-address")),
        internal=parsed.flag("internal"),
        attachable=parsed.flag("attachable"),
        enable_ipv4=parsed.flag("ipv4"),
        enable_ipv6=parsed.flag("ipv6"),
        labels=parse_labels(parsed.texts("label")),
    )
    return Outcome(value=Text(f"{identity}\n"))


def _split(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(part for word in words for part in word.split(","))


def _pairs(words: Iterable[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {key: value for key, _, value in pairs}


def list_networks(call: Call) -> Outcome:
    """List networks."""
    filters = parse_filters(call.parsed.texts("filter"), LIST_FILTERS)
    options = TableOptions(no_trunc=call.parsed.flag("no-trunc"))
    return shown(call, Table("networks", call.engine.networks(filters=filters), options))


def inspect(call: Call) -> Outcome:
    """Documents of networks."""
    documents: list[dict[str, Any]] = []
    problems: list[ContextKernelError] = []
    layout = call.parsed.text("format")
    if layout not in ("", "json"):  # a template that is none must fail before anything else
        from contextkernel.commands.template import Template

        Template(layout)
    for name in call.parsed.arguments:
        try:
            documents.append(call.engine.inspect_network(name))
        except ContextKernelError as problem:
            problems.append(problem)
    value = Text(documents_formatted(documents, layout)) if layout else Document(tuple(documents))
    return Outcome(value=value, exit_code=1 if problems else 0, problems=tuple(problems))


def remove(call: Call) -> Outcome:
    """Remove networks."""
    force = call.parsed.flag("force")

    def one(name: str) -> str:
        call.engine.remove_network(name)
        return f"{name}\n"

    # docker says nothing of one that is not there
    return for_each(call.parsed.arguments, one, skip=NetworkNotFound if force else ())


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
        driver_opt=_pairs(parsed.texts("driver-opt")),
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
    gone = call.engine.prune_networks(filters=filters)
    return Outcome(value=Text("Deleted Networks:\n" + "".join(f"{name}\n" for name in gone) + "\n" if gone else ""))
