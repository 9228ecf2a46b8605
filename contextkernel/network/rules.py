"""The packet filter rules of one bridge as values. Pure; ``apply`` turns them into nf_tables messages.

What docker's rules come to (moby, daemon/libnetwork/drivers/bridge): a bridge's containers reach each other and the
outside, the outside reaches them only in answer; an internal network is closed; what leaves has the host's address.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from contextkernel.network.plan import AddRules, LeadNames

ChainName = Literal["postrouting", "forward", "prerouting", "input", "output"]


class Chain(msgspec.Struct, frozen=True):
    """Where packets pass by: hook, kind and priority as in nft(8)."""

    name: ChainName
    kind: Literal["nat", "filter"]
    priority: int


class Entered(msgspec.Struct, frozen=True):
    """The packet came in by this link, or (``other``) by any other."""

    link: str
    other: bool = False


class Leaves(msgspec.Struct, frozen=True):
    """The packet goes out by this link, or (``other``) by any other."""

    link: str
    other: bool = False


class From(msgspec.Struct, frozen=True):
    """The packet's source lies in this subnet."""

    subnet: str


class To(msgspec.Struct, frozen=True):
    """The packet's destination lies in this subnet, or (``other``) not in it."""

    subnet: str
    other: bool = False


class Known(msgspec.Struct, frozen=True):
    """The packet belongs to a connection that exists, or is related to one."""


class Tcp(msgspec.Struct, frozen=True):
    """TCP over this version of IP."""

    version: Literal[4, 6]


class ToPort(msgspec.Struct, frozen=True):
    """The packet is for this port."""

    protocol: Literal["tcp", "udp"]
    port: int


class Accept(msgspec.Struct, frozen=True):
    """Let it pass."""


class Drop(msgspec.Struct, frozen=True):
    """Let it vanish."""


class Masquerade(msgspec.Struct, frozen=True):
    """Give it the address of the link that it leaves by."""


class Redirect(msgspec.Struct, frozen=True):
    """Lead it to a port of this namespace."""

    port: int


Part: TypeAlias = Entered | Leaves | From | To | Known | Tcp | ToPort | Accept | Drop | Masquerade | Redirect


class Rule(msgspec.Struct, frozen=True):
    """What a packet of a chain must be, and what then happens to it; the last part is the verdict."""

    chain: ChainName
    parts: tuple[Part, ...]


CHAINS = (
    Chain("postrouting", "nat", 100),
    Chain("forward", "filter", 0),
    Chain("prerouting", "nat", -100),
    Chain("input", "filter", 0),
    Chain("output", "nat", -100),
)


def rules_of(wanted: AddRules) -> tuple[Rule, ...]:
    """The rules of a bridge, in order."""
    bridge = wanted.bridge
    rules = [
        Rule("postrouting", (From(subnet), Leaves(bridge, other=True), Masquerade())) for subnet in wanted.masquerade
    ]
    within = Drop() if wanted.apart else Accept()
    rules.append(Rule("forward", (Entered(bridge), Leaves(bridge), within)))
    if wanted.closed:
        rules.append(Rule("forward", (Entered(bridge), Drop())))
    else:
        rules.append(Rule("forward", (Leaves(bridge), Known(), Accept())))
    rules.append(Rule("forward", (Leaves(bridge), Drop())))
    ways: tuple[tuple[Literal[4, 6], int], ...] = ((4, wanted.redirect), (6, wanted.redirect6))
    for version, port in ways:
        if port:
            # where bridged packets are shown to the filter too, those between two containers pass by here
            beyond = [To(subnet, other=True) for subnet in wanted.own if (":" in subnet) == (version == 6)]
            rules.append(Rule("prerouting", (Entered(bridge), Tcp(version), *beyond, Redirect(port))))
    return tuple(rules)


def rules_at(link: str) -> tuple[Rule, ...]:
    """The rules of a link to the outside.

    What belongs to no connection is not answered either, with a reset for instance: pasta of early 2023 sends segments
    without any flag, which a program's own TCP passes over and translation of addresses does not.
    """
    return (Rule("input", (Entered(link), Known(), Accept())), Rule("input", (Entered(link), Drop())))


def rules_for_names(wanted: LeadNames) -> tuple[Rule, ...]:
    """What a container asks of its resolver is led to where the resolver listens."""
    ways: tuple[tuple[Literal["tcp", "udp"], int], ...] = (("udp", wanted.udp), ("tcp", wanted.tcp))
    return tuple(
        Rule("output", (To(f"{wanted.address}/32"), ToPort(protocol, 53), Redirect(port))) for protocol, port in ways
    )
