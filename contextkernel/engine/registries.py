"""Verbs about registries: logins and searching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition
from contextkernel.model.given import Filters, filter_values

if TYPE_CHECKING:
    from contextkernel.model.logins import LoginResult, SearchRow

_TRUE, _FALSE = ("1", "true"), ("0", "false")


class Registries(Composition):
    """Who one is at registries, and what is there."""

    def login(self, username: str = "", password: str = "", *, registry: str = "") -> LoginResult:
        """Show a registry who one is, and keep that if it believes it.

        Kept is what docker keeps, in the same place: with the credential helper that ``config.json`` names, else in
        that file. Where the registry gives a token of its own, that is kept instead of the password.

        Args:
            username: with ``password``; without both, what is kept is shown again.
            password: password or access token.
            registry: host, or URL; by default Docker Hub.

        Raises:
            RegistryUnauthorized: it does not believe it. InvalidInput: nothing is given, and nothing is kept; or
                ``config.json`` cannot be read or understood, and stays as it is.
            RegistryProblem: no answer, or the credential helper fails.
        """
        import msgspec

        from contextkernel.errors import InvalidInput
        from contextkernel.model.logins import LoginResult
        from contextkernel.registry.credentials import Credentials, check_config, find_credentials, keep_credentials
        from contextkernel.registry.settings import endpoints
        from contextkernel.registry.whole import Registry

        name = registry_name(registry)
        check_config()
        known: Credentials | None = Credentials(username=username, password=password)
        if not username and not password:
            known = find_credentials(name)
        if not known:
            raise InvalidInput(f"there are no credentials for {name}", hint="give a user name and a password")
        token = Registry(endpoints(name, access="pull,push")[0], name, credentials=known).login()
        if token:
            known = msgspec.structs.replace(known, password="", identity_token=token)
        kept = keep_credentials(name, known)
        return LoginResult(
            registry=name,
            username=known.username,
            path=kept.path,
            helper=kept.helper,
            token=bool(known.identity_token),
        )

    def logout(self, registry: str = "") -> bool:
        """Forget who one is at a registry.

        Args:
            registry: as for :meth:`login`.

        Returns:
            Whether there was something to forget.

        Raises:
            InvalidInput: ``config.json`` cannot be understood or written. RegistryProblem: the helper fails.
        """
        from contextkernel.registry.credentials import erase_credentials

        return erase_credentials(registry)

    def known_user(self, registry: str = "") -> str | None:
        """Who one is at a registry; ``None`` if nothing is kept, empty with a token alone."""
        from contextkernel.registry.credentials import find_credentials

        known = find_credentials(registry_name(registry))
        return known.username if known else None

    def search(self, term: str, *, limit: int = 25, filters: Filters | None = None) -> tuple[SearchRow, ...]:
        """Repositories by a part of their name.

        Args:
            term: words; with a registry before them (``localhost:5000/demo``) it is asked, else Docker Hub.
            limit: 1 to 100 rows.
            filters: ``is-official`` (true or false), ``stars`` (at least so many).

        Raises:
            InvalidInput: a limit, term or filter that is none. RegistryProblem: the registry cannot be asked.
        """
        from contextkernel.registry.searching import search

        fits = _filter(filter_values(filters))
        return tuple(row for row in search(term, limit=limit) if fits(row))


def registry_name(server: str) -> str:
    """A registry as in references, from what ``login`` is given: nothing, a host, or a URL."""
    from contextkernel.registry.credentials import HUB, key_of

    key = key_of(server)
    return "docker.io" if key == HUB else key


class _Wanted:
    def __init__(self, official: bool | None, stars: int) -> None:
        self._official = official
        self._stars = stars

    def __call__(self, row: SearchRow) -> bool:
        return (self._official is None or row.official == self._official) and row.stars >= self._stars


def _filter(filters: Mapping[str, Sequence[str]]) -> _Wanted:
    from contextkernel.errors import InvalidInput

    official, stars = None, 0
    for key, values in filters.items():
        for value in values:
            if key == "is-official" and value.lower() in _TRUE + _FALSE:
                official = value.lower() in _TRUE
            elif key == "stars" and value.isdigit():
                stars = max(stars, int(value))
            elif key == "is-automated" and value.lower() in _TRUE + _FALSE:
                stars = stars if value.lower() in _FALSE else 1 << 62  # docker: nothing is any more
            else:
                raise InvalidInput(f"invalid filter '{key}={value}'", hint="is-official=true|false, stars=NUMBER")
    return _Wanted(official, stars)
