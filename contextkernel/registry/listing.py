"""Lists that come in pages (OCI distribution-spec v1.1, "Listing Tags"; ``Link`` headers, RFC 8288)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from contextkernel.errors import RegistryRefused
from contextkernel.model.urls import origin
from contextkernel.registry.connection import Connection

_MAX_LIST = 16 << 20  # bytes of one page of names
_MAX_PAGES = 10_000
_PAGE = 1000
_NEXT = re.compile(r'<([^<>]*)>\s*;[^,]*\brel\s*=\s*"?next"?', re.IGNORECASE)


def names(connection: Connection, url: str, what: str, field: str, scopes: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of a list that comes in pages (``Link`` headers).

    Raises:
        RegistryRefused: the pages never end, lead elsewhere, or cannot be understood.
    """
    seen: set[str] = set()
    here = f"{url}?n={_PAGE}"
    while here not in seen and len(seen) < _MAX_PAGES:
        seen.add(here)

        def once(page: str = here) -> tuple[bytes, str]:
            with connection.request("GET", page, f"the list of {what}", scopes=scopes) as response:
                return connection.read(response, what, _MAX_LIST), response.headers.get("Link", "")

        data, link = connection.tries.run(once)
        try:
            found = json.loads(data)[field] or []
            page = [str(name) for name in found]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RegistryRefused(f"{connection.where}: the registry's list of {what} cannot be understood") from None
        yield from page
        here = next_page(connection, url, link, what)
        if not here:
            return
    raise RegistryRefused(f"{connection.where}: the registry's list of {what} does not end")


def next_page(connection: Connection, url: str, link: str, what: str) -> str:
    """Where a list goes on; empty at its end.

    Args:
        connection: to the registry.
        url: of the list.
        link: ``Link`` of the page before.
        what: it is a list of, for messages.

    Raises:
        RegistryRefused: it is not the same list.
    """
    following = _NEXT.search(link)
    if following is None:
        return ""
    path, link = urlsplit(url).path, following[1]
    if "//" not in link and not link.startswith("/"):
        link = path + (link if link.startswith("?") else "")
    here = connection.absolute(link)
    # not the origin of `url`: only the first request found out which scheme the registry speaks
    if origin(here) != origin(connection.base) or urlsplit(here).path != path:
        raise RegistryRefused(f"{connection.where}: the registry's list of {what} goes on elsewhere")
    return here
