"""``--network`` in words: a name, or ``name=NET,alias=A,ip=...`` (docker/cli, opts/network.go). Pure."""

from __future__ import annotations

import csv
import re

from contextkernel.commands.grammar import usage_problem
from contextkernel.model.networks import Joining

_LONG = re.compile(r"\w+=\w+(,\w+=\w+)*")


def parse_network(text: str) -> Joining:
    """One ``--network``.

    Raises:
        UsageProblem: a field that is none, or no name; the messages are docker's.
    """
    if not text:
        raise usage_problem("no name set for network", exit_code=125)
    if not _LONG.search(text):
        return Joining(network=text)
    name, mac, ip, ip6, priority = "", "", "", "", 0
    aliases: list[str] = []
    link_local: list[str] = []
    options: dict[str, str] = {}
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        if not equals:
            raise _wrong(text, f"invalid field {field}")
        value = value.strip()
        match key.strip().lower():
            case "name":
                name = value
            case "alias":
                aliases.append(value)
            case "ip":
                ip = value
            case "ip6":
                ip6 = value
            case "mac-address":
                mac = value
            case "link-local-ip":
                link_local.append(value)
            case "gw-priority":
                if not re.fullmatch(r"[+-]?\d+", value):
                    raise _wrong(text, f"invalid gw-priority: strconv.Atoi: parsing {value!r}: invalid syntax")
                priority = int(value)
            case "driver-opt":
                option, equals, setting = value.partition("=")
                if not equals:
                    raise _wrong(text, "invalid key value pair format in driver options")
                options[option.strip().lower()] = setting.strip()
            case other:
                raise _wrong(text, f"invalid field key {other}")
    if not name:
        raise _wrong(text, "network name/id is not specified")
    return Joining(
        network=name,
        aliases=tuple(aliases),
        ip=ip,
        ip6=ip6,
        mac=mac,
        link_local=tuple(link_local),
        options=options,
        priority=priority,
    )


def _wrong(text: str, what: str) -> Exception:
    return usage_problem(f'invalid argument "{text}" for "--network" flag: {what}')
