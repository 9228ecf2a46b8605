"""Packet filter rules as nf_tables messages, written with pyroute2's message types."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, assert_never

from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import nft_chain_msg, nft_rule_msg, nft_table_msg

from contextkernel.errors import SyscallFailed
from contextkernel.network import rules
from contextkernel.network.plan import AddRules, LeadNames

Message = tuple[int, int, Any]

_INET, _IPV4, _IPV6 = 1, 2, 10
#: the families that iptables and ip6tables keep apart
FAMILIES = (_IPV4, _IPV6)
_SUBSYSTEM = 10 << 8
_BEGIN, _END = 16, 17
_NEW_TABLE, _DEL_TABLE, _NEW_CHAIN, _NEW_RULE, _GET_RULE, _DEL_RULE = (
    _SUBSYSTEM | number for number in (0, 2, 3, 6, 7, 8)
)
_CREATE, _APPEND = 0x400, 0x800
_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
_META_IIFNAME, _META_OIFNAME, _META_NFPROTO, _META_L4PROTO = 6, 7, 15, 16
_CT_STATE = 0
_ESTABLISHED_OR_RELATED = 2 | 4
_EQUAL, _DIFFERENT = 0, 1
_NF_DROP, _NF_ACCEPT = 0, 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_NAME_SIZE = 16
_NAMES = "ck-names"
_NFGEN_SIZE = 4


def batch_begin() -> Message:
    """What opens a transaction."""
    return _BEGIN, 1, _generic()


def batch_end() -> Message:
    """What closes one, and makes it happen."""
    return _END, 1, _generic()


def _generic() -> Any:
    message = nfgen_msg()
    message["res_id"] = 10
    return message


def table_messages(wanted: AddRules) -> list[Message]:
    """The table of a bridge with its chains and rules."""
    return _table_with(wanted.table, rules.rules_of(wanted))


def guard_messages(link: str) -> list[Message]:
    """The table of a link to the outside."""
    return _table_with(link, rules.rules_at(link))


def names_messages(wanted: LeadNames) -> list[Message]:
    """The table of a container whose questions are led to a resolver."""
    return [*table_removal(_NAMES, certain=True), *_table_with(_NAMES, rules.rules_for_names(wanted))]


def _table_with(table: str, wanted: Sequence[rules.Rule]) -> list[Message]:
    found: list[Message] = [(_NEW_TABLE, _CREATE, _table(table))]
    used = {rule.chain for rule in wanted}
    found += [(_NEW_CHAIN, _CREATE, _chain(table, chain)) for chain in rules.CHAINS if chain.name in used]
    for rule in wanted:
        expressions = [expression for part in rule.parts for expression in _expressions(part)]
        found.append((_NEW_RULE, _CREATE | _APPEND, _rule(_INET, table, rule.chain, expressions)))
    return found


def table_removal(table: str, *, certain: bool = False) -> list[Message]:
    """Remove a table.

    Args:
        table: its name.
        certain: make it first, so that removing it succeeds in any case.
    """
    made: list[Message] = [(_NEW_TABLE, _CREATE, _table(table))] if certain else []
    return [*made, (_DEL_TABLE, 0, _table(table))]


def accept_link(link: str, family: int, chain: str) -> list[Message]:
    """At the beginning of a chain of iptables' filter table: accept what comes from a link, or goes there."""
    return [
        (_NEW_RULE, _CREATE, _rule(family, "filter", chain, [*_link(key, link), *_verdict(_NF_ACCEPT)]))
        for key in (_META_IIFNAME, _META_OIFNAME)
    ]


def find_link_rules(dump: Callable[[int, Any], Iterator[bytes]], link: str, family: int) -> list[list[Message]]:
    """Removals of what :func:`accept_link` added for a link."""
    message = nft_rule_msg()
    message["nfgen_family"] = family
    message["attrs"] = [("NFTA_RULE_TABLE", "filter")]
    name = _padded(link)
    removals: list[list[Message]] = []
    try:
        found = list(dump(_GET_RULE, message))
    except SyscallFailed as problem:
        if problem.number == errno.ENOENT:
            return []
        raise
    for body in found:
        if name not in body:
            continue
        rule = _attributes(body[_NFGEN_SIZE:])
        chain = rule.get(2, b"").rstrip(b"\0").decode()
        handle = rule.get(3)
        if handle is None or chain not in ("DOCKER-USER", "FORWARD"):
            continue
        removal = nft_rule_msg()
        removal["nfgen_family"] = family
        removal["attrs"] = [
            ("NFTA_RULE_TABLE", "filter"),
            ("NFTA_RULE_CHAIN", chain),
            ("NFTA_RULE_HANDLE", struct.unpack(">Q", handle)[0]),
        ]
        removals.append([(_DEL_RULE, 0, removal)])
    return removals


def _attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by their numbers; those of the kernel's answer that are needed here are few."""
    found: dict[int, bytes] = {}
    place = 0
    while place + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, place)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[place + 4 : place + length]
        place += (length + 3) & ~3
    return found


def _table(name: str) -> Any:
    message = nft_table_msg()
    message["nfgen_family"] = _INET
    message["attrs"] = [("NFTA_TABLE_NAME", name)]
    return message


def _chain(table: str, chain: rules.Chain) -> Any:
    message = nft_chain_msg()
    message["nfgen_family"] = _INET
    hook = {"attrs": [("NFTA_HOOK_HOOKNUM", _HOOKS[chain.name]), ("NFTA_HOOK_PRIORITY", chain.priority)]}
    message["attrs"] = [
        ("NFTA_CHAIN_TABLE", table),
        ("NFTA_CHAIN_NAME", chain.name),
        ("NFTA_CHAIN_HOOK", hook),
        ("NFTA_CHAIN_POLICY", _NF_ACCEPT),
        ("NFTA_CHAIN_TYPE", chain.kind),
    ]
    return message


def _rule(family: int, table: str, chain: str, expressions: list[dict[str, Any]]) -> Any:
    message = nft_rule_msg()
    message["nfgen_family"] = family
    message["attrs"] = [
        ("NFTA_RULE_TABLE", table),
        ("NFTA_RULE_CHAIN", chain),
        ("NFTA_RULE_EXPRESSIONS", expressions),
    ]
    return message


def _expressions(part: rules.Part) -> list[dict[str, Any]]:
    match part:
        case rules.Entered(link, other):
            return _link(_META_IIFNAME, link, _DIFFERENT if other else _EQUAL)
        case rules.Leaves(link, other):
            return _link(_META_OIFNAME, link, _DIFFERENT if other else _EQUAL)
        case rules.From(subnet):
            return _end(subnet, source=True)
        case rules.To(subnet, other):
            return _end(subnet, source=False, operator=_DIFFERENT if other else _EQUAL)
        case rules.Known():
            return _known()
        case rules.Tcp(version):
            return [
                *_meta(_META_NFPROTO, bytes([socket.AF_INET if version == 4 else socket.AF_INET6])),
                *_meta(_META_L4PROTO, bytes([socket.IPPROTO_TCP])),
            ]
        case rules.ToPort(protocol, port):
            kind = socket.IPPROTO_TCP if protocol == "tcp" else socket.IPPROTO_UDP
            return [
                *_meta(_META_L4PROTO, bytes([kind])),
                _expression("payload", DREG=1, BASE=_TRANSPORT_HEADER, OFFSET=2, LEN=2),
                _expression("cmp", SREG=1, OP=_EQUAL, DATA=_value(struct.pack("!H", port))),
            ]
        case rules.Accept():
            return _verdict(_NF_ACCEPT)
        case rules.Drop():
            return _verdict(_NF_DROP)
        case rules.Masquerade():
            return [_expression("masq")]
        case rules.Redirect(port):
            number = _expression("immediate", DREG=1, DATA=_value(struct.pack("!H", port)))
            return [number, _expression("redir", REG_PROTO_MIN=1)]
        case _:
            assert_never(part)


def _link(key: int, name: str, operator: int = _EQUAL) -> list[dict[str, Any]]:
    return _meta(key, _padded(name), operator)


def _padded(name: str) -> bytes:
    return name.encode().ljust(_NAME_SIZE, b"\0")


def _meta(key: int, value: bytes, operator: int = _EQUAL) -> list[dict[str, Any]]:
    return [
        _expression("meta", DREG=1, KEY=key),
        _expression("cmp", SREG=1, OP=operator, DATA=_value(value)),
    ]


def _end(subnet: str, *, source: bool, operator: int = _EQUAL) -> list[dict[str, Any]]:
    """Source or destination lies in a subnet, or not; RFC 791 and RFC 8200 have the offsets."""
    network = ipaddress.ip_network(subnet)
    offset = (12 if network.version == 4 else 8) if source else (16 if network.version == 4 else 24)
    size = len(network.network_address.packed)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    return [
        *_meta(_META_NFPROTO, bytes([family])),
        _expression("payload", DREG=1, BASE=_NETWORK_HEADER, OFFSET=offset, LEN=size),
        _expression("bitwise", SREG=1, DREG=1, LEN=size, MASK=_value(network.netmask.packed), XOR=_value(bytes(size))),
        _expression("cmp", SREG=1, OP=operator, DATA=_value(network.network_address.packed)),
    ]


def _known() -> list[dict[str, Any]]:
    mask = struct.pack("=I", _ESTABLISHED_OR_RELATED)
    return [
        _expression("ct", DREG=1, KEY=_CT_STATE),
        _expression("bitwise", SREG=1, DREG=1, LEN=4, MASK=_value(mask), XOR=_value(bytes(4))),
        _expression("cmp", SREG=1, OP=_DIFFERENT, DATA=_value(bytes(4))),
    ]


def _verdict(code: int) -> list[dict[str, Any]]:
    verdict = {"attrs": [("NFTA_DATA_VERDICT", {"attrs": [("NFTA_VERDICT_CODE", code)]})]}
    return [_expression("immediate", DREG=0, DATA=verdict)]


def _value(data: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _expression(name: str, **values: object) -> dict[str, Any]:
    prefix = f"NFTA_{name.upper()}_"
    data = {"attrs": [(f"{prefix}{key}", value) for key, value in values.items()]}
    return {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", data)]}
