"""Searching: Docker Hub by its index (version 1 of the protocol), other registries by that or by their catalog.

Source: moby's ``registry/search.go`` for limits and for how a term names a registry.
"""

from __future__ import annotations

import json
from urllib.parse import quote

import msgspec

from contextkernel.errors import ImageNotFound, InvalidInput, RegistryRefused
from contextkernel.model.logins import SearchRow
from contextkernel.registry.connection import Connection
from contextkernel.registry.retrying import Tries
from contextkernel.registry.settings import endpoints
from contextkernel.registry.whole import Registry

_INDEX = "https://index.docker.io"
_MOST = 100
_MAX_ANSWER = 4 << 20
_MAX_NAMES = 20_000


def search(term: str, *, limit: int = 25, tries: Tries | None = None) -> tuple[SearchRow, ...]:
    """Repositories whose name has ``term`` in it.

    Args:
        term: words, maybe with a registry before them: ``localhost:5000/demo``.
        limit: 1 to 100 rows.
        tries: patience.

    Raises:
        InvalidInput: a term or limit that is none. RegistryProblem: the registry cannot be asked.
    """
    if not 1 <= limit <= _MOST:
        raise InvalidInput(f"limit {limit} is outside the range of 1 to {_MOST}")
    if "://" in term or not term.strip():
        raise InvalidInput(
            f"cannot search for {term!r}", hint="give words, maybe with a registry before them: HOST/TERM"
        )
    head, slash, rest = term.partition("/")
    named = slash and ("." in head or ":" in head or head == "localhost")
    name, words = (head, rest) if named else ("docker.io", term.removeprefix("library/"))
    endpoint = endpoints(name, access="pull,push")[0]
    hub = name in ("docker.io", "index.docker.io")
    if hub:
        endpoint = msgspec.structs.replace(endpoint, url=_INDEX) if endpoint.url.endswith("docker.io") else endpoint
    connection = Connection(endpoint, name, tries=tries)
    url = f"{connection.base}/v1/search?q={quote(words, safe='')}&n={limit}"
    try:
        return _rows(connection.document("GET", url, "search", _MAX_ANSWER), name, hub=hub)[:limit]
    except ImageNotFound:
        pass
    except RegistryRefused as problem:
        if problem.status not in (400, 401, 403, 405, 406):
            raise
    # the index is of the old protocol; most registries have a catalog instead
    found: list[SearchRow] = []
    for count, repository in enumerate(Registry(endpoint, name, tries=tries).catalog()):
        if words.lower() in repository.lower():
            found.append(SearchRow(name=repository if hub else f"{name}/{repository}"))
        if len(found) >= limit or count >= _MAX_NAMES:
            break
    return tuple(found)


def _rows(data: bytes, registry: str, *, hub: bool) -> tuple[SearchRow, ...]:
    try:
        results = json.loads(data)["results"] or []
        return tuple(
            SearchRow(
                name=str(one["name"]) if hub else f"{registry}/{one['name']}",
                description=str(one.get("description") or ""),
                stars=int(one.get("star_count") or 0),
                official=bool(one.get("is_official")),
            )
            for one in results
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RegistryRefused(f"{registry}: its answer to the search cannot be understood") from None
