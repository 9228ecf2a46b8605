"""Values of ``build`` options that have a form of their own: secrets, agents, hosts, limits, entitlements.

The rules are those of buildx (``util/buildflags``) and docker/cli (``opts``).
"""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterable, Mapping

from contextkernel.commands.grammar import nearest, usage_problem
from contextkernel.errors import InvalidInput
from contextkernel.model.build_inputs import (
    AgentKeys,
    AgentSocket,
    AgentSource,
    SecretFromEnvironment,
    SecretFromFile,
    SecretSource,
)
from contextkernel.model.resources import ULIMITS
from contextkernel.model.step_mounts import Limit

ENTITLEMENTS = ("network.host", "security.insecure", "device")
_SECRET_KEYS = ("id", "src", "source", "env", "type")
_GATEWAY = "host-gateway"
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_secrets(words: Iterable[str], environ: Mapping[str, str]) -> dict[str, SecretSource]:
    """``--secret id=NAME[,src=FILE|,env=VARIABLE]``.

    Without a source it is the variable of that name, else the file of that name.

    Args:
        words: the values.
        environ: the caller's environment.

    Raises:
        UsageProblem: an unknown key, or no id.
    """
    found: dict[str, SecretSource] = {}
    for word in words:
        fields = _fields("secret", word, _SECRET_KEYS)
        name, kind = fields.get("id", ""), fields.get("type", "")
        if not name:
            raise usage_problem(f"invalid secret {word!r}: no id", more="use --secret id=NAME,src=FILE")
        if kind not in ("", "file", "env"):
            raise usage_problem(f"invalid secret {word!r}: unknown type {kind!r}", more="type=file or type=env")
        path, variable = fields.get("src", fields.get("source", "")), fields.get("env", "")
        if kind == "env" and not variable:
            path, variable = "", path or name
        if not path and not variable:
            path, variable = (name, "") if kind == "file" or name not in environ else ("", name)
        if variable:
            found[name] = SecretFromEnvironment(variable)
        else:
            found[name] = SecretFromFile(os.path.abspath(os.path.expanduser(path)))
    return found


def parse_agents(words: Iterable[str]) -> dict[str, AgentSource]:
    """``--ssh NAME[=SOCKET|KEY[,KEY...]]``; without a path it is the running agent.

    Raises:
        UsageProblem: no name, or a socket beside keys.
    """
    found: dict[str, AgentSource] = {}
    for word in words:
        name, _, rest = word.partition("=")
        if not name:
            raise usage_problem(f"invalid ssh {word!r}: no name", more="use --ssh default, or --ssh NAME=SOCKET|KEY")
        paths = tuple(os.path.abspath(os.path.expanduser(path)) for path in rest.split(",") if path)
        sockets = [path for path in paths if _is_socket(path)]
        if sockets and len(paths) > 1:
            raise usage_problem(f"invalid ssh {word!r}: one socket, or any number of keys", more="see --help")
        if paths:
            found[name] = AgentSocket(paths[0]) if sockets else AgentKeys(paths)
        else:
            found[name] = AgentSocket()
    return found


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def parse_hosts(words: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """``--add-host NAME:ADDRESS`` (or ``NAME=ADDRESS``, IPv6 perhaps in brackets) as ``(name, address)``.

    ``host-gateway`` is this host: containers share its network.

    Raises:
        UsageProblem: not that form, or no address.
    """
    found = []
    for word in words:
        name, separator, address = word.partition("=" if "=" in word else ":")
        address = address[1:-1] if address.startswith("[") and address.endswith("]") else address
        if not name or not separator or not address:
            raise usage_problem(f"invalid host {word!r}", more="use --add-host NAME:ADDRESS")
        try:
            shown = "127.0.0.1" if address == _GATEWAY else str(ipaddress.ip_address(address))
        except ValueError:
            raise usage_problem(f"invalid host {word!r}: {address!r} is no IP address") from None
        found.append((name, shown))
    return tuple(found)


def parse_bytes(option: str, text: str | None) -> int:
    """A size such as ``64m`` (powers of 1024; ``mb`` and ``MiB`` mean the same) in bytes; 0 for none.

    Raises:
        UsageProblem: not a size.
    """
    if not text:
        return 0
    lower = text.strip().lower().removesuffix("ib").removesuffix("b")
    number, unit = (lower[:-1], lower[-1:]) if lower[-1:].isalpha() else (lower, "")
    try:
        value = float(number)
        size = int(value * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise usage_problem(f"invalid {option} {text!r}", more=f"use --{option} 64m") from None
    if size < 0:
        raise usage_problem(f"invalid {option} {text!r}: less than nothing")
    return size


def parse_limits(words: Iterable[str]) -> tuple[Limit, ...]:
    """``--ulimit NAME=SOFT[:HARD]``; -1 is no limit. The last one of a name counts.

    Raises:
        UsageProblem: an unknown name, not numbers, or a soft limit above the hard one.
    """
    found: dict[str, Limit] = {}
    for word in words:
        name, _, values = word.partition("=")
        soft_text, _, hard_text = values.partition(":")
        if name not in ULIMITS:
            raise usage_problem(f"invalid ulimit {word!r}: unknown name {name!r}", near=nearest(name, ULIMITS))
        try:
            soft = int(soft_text)
            hard = int(hard_text) if hard_text else soft
        except ValueError:
            raise usage_problem(f"invalid ulimit {word!r}", more="use --ulimit nofile=1024:2048") from None
        if hard != -1 and (soft == -1 or soft > hard):
            raise usage_problem(f"invalid ulimit {word!r}: the soft limit is above the hard one")
        found[name] = Limit(name, soft, hard)
    return tuple(found.values())


def parse_entitlements(words: Iterable[str]) -> frozenset[str]:
    """``--allow``: what RUN instructions may ask for.

    Raises:
        InvalidInput: an entitlement that does not exist.
    """
    found = set()
    for word in words:
        if word not in ENTITLEMENTS:
            near = nearest(word, ENTITLEMENTS)
            raise InvalidInput(
                f"unknown entitlement {word!r}",
                hint=f"did you mean {near}?" if near else f"known: {', '.join(ENTITLEMENTS[:2])}",
            )
        found.add(word)
    return frozenset(found)


def _fields(option: str, word: str, known: tuple[str, ...]) -> dict[str, str]:
    """``key=value`` pairs, comma separated, with CSV's quoting.

    Raises:
        UsageProblem: not that form, or an unknown key.
    """
    import csv

    out: dict[str, str] = {}
    for item in next(csv.reader([word]), []):
        key, equals, value = item.partition("=")
        if not equals:
            raise usage_problem(f"invalid {option} {word!r}: {item!r} must be KEY=VALUE")
        if key.lower() not in known:
            raise usage_problem(f"invalid {option} {word!r}: unknown key {key!r}", near=nearest(key.lower(), known))
        out[key.lower()] = value
    return out
