"""URLs as they may be shown, whom credentials are for, and which proxy a host is reached through."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_TEXT = 200


def shown(url: str) -> str:
    """A URL for a message: without user information, query and fragment, which may hold secrets; not endless."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the URL"
    text = urlunsplit((parts.scheme, host, parts.path, "", ""))
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: who credentials are for.

    Raises:
        ValueError: the URL has a port that is none.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: ``localhost``, 127.0.0.0/8 or ``::1``, with or without brackets."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for a URL.

    Args:
        url: http or https.
        environment: with ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, or the same in capitals.
            ``HTTP_PROXY`` is not believed where ``REQUEST_METHOD`` is set: a web server's caller could have set it.

    Returns:
        The proxy's URL, or ``None``. This machine is always reached without one, as with docker.
    """
    scheme, host, port = origin(url)
    value = environment.get(f"{scheme}_proxy", "")
    if not value and not (scheme == "http" and "REQUEST_METHOD" in environment):
        value = environment.get(f"{scheme.upper()}_PROXY", "")
    value = value or environment.get("all_proxy", "") or environment.get("ALL_PROXY", "")
    if not value or is_loopback(host):
        return None
    if _without_proxy(host, port, environment.get("no_proxy", "") or environment.get("NO_PROXY", "")):
        return None
    return value if "://" in value else f"http://{value}"


def _without_proxy(host: str, port: int, listed: str) -> bool:
    """Whether ``no_proxy`` lists a host; forms as Go's ``httpproxy``: names, domains, addresses, ranges."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for part in listed.split(","):
        item = part.strip().lower()
        if item == "*":
            return True
        if address is not None and "/" in item:
            try:
                if address in ipaddress.ip_network(item, strict=False):
                    return True
            except ValueError:
                continue
        name, colon, number = item.rpartition(":")
        if colon and number.isdigit() and "]" not in number and (":" not in name or name.endswith("]")):
            if int(number) != port:
                continue
        else:
            name = item
        name = name.strip("[]").removeprefix("*")
        if name and (host.lower() == name or (address is None and host.lower().endswith(f".{name.removeprefix('.')}"))):
            return True
    return False
