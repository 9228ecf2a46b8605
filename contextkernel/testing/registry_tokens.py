"""Bearer tokens for the registry of tests: Docker's token authentication, by ``GET`` and by ``POST`` (OAuth 2)."""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qs

from tornado.httputil import HTTPServerRequest

from contextkernel.model.codec import to_json
from contextkernel.registry_server.refusals import Refusal
from contextkernel.registry_server.requests import Canned, Instead

_JSON = {"Content-Type": "application/json"}


@dataclass
class Tokens:
    """Who gets tokens, for what, and for how long.

    Attributes:
        users: passwords by user name.
        anonymous: whoever has no password may pull.
        lifetime: seconds for which a token is good, and which is told.
        uses: requests that a token is good for; ``None``: any number. Tells nobody, as a revoked token does.
        refresh: a refresh token ("identity token") that is taken in a ``POST`` instead of a password, and given to who
            asks for ``access_type=offline``.
        given: scopes of the tokens given out, in order.
        clock: seconds.
    """

    users: dict[str, str] = field(default_factory=dict)
    anonymous: bool = True
    lifetime: float = 300.0
    uses: int | None = None
    refresh: str = ""
    given: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    _good: dict[str, _Token] = field(default_factory=dict)

    def asked(self, request: HTTPServerRequest) -> Instead:
        """Answer a request for a token: ``GET`` with a query and maybe basic authentication, or ``POST`` of a form."""
        if request.method == "POST":
            return lambda body: self._form(parse_qs(body.decode("utf-8", "replace")))
        user = self._user(request.headers.get("Authorization", ""))
        return self._answer(user, parse_qs(request.query).get("scope", []))

    def _form(self, form: dict[str, list[str]]) -> Canned:
        """OAuth 2, as Docker has it: ``grant_type`` password or refresh_token."""
        given = {key: values[0] for key, values in form.items()}
        user: str | None = None
        match given.get("grant_type"):
            case "refresh_token" if self.refresh and given.get("refresh_token") == self.refresh:
                user = "<token>"
            case "password":
                user = self._checked(given.get("username", ""), given.get("password", ""))
        more = {"refresh_token": self.refresh} if self.refresh and given.get("access_type") == "offline" else {}
        return self._answer(user, form.get("scope", []), more)

    def _answer(
        self, user: str | None, wanted: Sequence[str], more: Mapping[str, str] = MappingProxyType({})
    ) -> Canned:
        if user is None:
            return Canned(401, _JSON, b'{"details":"incorrect username or password"}')
        scopes = [part for text in wanted for part in text.split()]
        if not user:  # whoever is nobody gets what nobody may, whatever was asked for
            scopes = [f"{scope.rpartition(':')[0]}:pull" for scope in scopes] if self.anonymous else []
        token = secrets.token_urlsafe(24)
        self._good[token] = _Token(tuple(scopes), self.clock() + self.lifetime, self.uses)
        self.given.append(" ".join(scopes))
        body = {"token": token, "access_token": token, "expires_in": int(self.lifetime), **more}
        return Canned(200, _JSON, to_json(body))

    def _user(self, authorization: str) -> str | None:
        """Who asks; empty for nobody, ``None`` for a wrong password."""
        if not authorization:
            return ""
        try:
            user, _, password = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")
        except ValueError:
            return None
        return self._checked(user, password)

    def _checked(self, user: str, password: str) -> str | None:
        known = self.users.get(user)
        return user if known is not None and hmac.compare_digest(known.encode(), password.encode()) else None

    def allows(self, token: str, scope: str, action: str) -> bool:
        """Whether a token is good for one more request."""
        found = self._good.get(token)
        if found is None or self.clock() >= found.until or found.uses == 0:
            return False
        if found.uses is not None:
            found.uses -= 1
        return not scope or any(
            one.rpartition(":")[0] == scope and action in one.rpartition(":")[2].split(",") for one in found.scopes
        )


@dataclass
class _Token:
    scopes: tuple[str, ...]
    until: float
    uses: int | None


class TokenGuard:
    """Wants a token of ``tokens`` for every request.

    Args:
        tokens: which are good.
        realm: URL that gives them.
        service: name of this registry.
    """

    def __init__(self, tokens: Tokens, realm: str, service: str) -> None:
        self._tokens = tokens
        self._realm = realm
        self._service = service

    def check(self, authorization: str, method: str, name: str) -> None:
        """See ``contextkernel.registry_server.access.Guard``."""
        scope = f"repository:{name}" if name else ""
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(method, "push")
        kind, _, token = authorization.partition(" ")
        if kind.lower() == "bearer" and self._tokens.allows(token, scope, action):
            return
        wanted = {"pull": "pull", "push": "pull,push", "delete": "delete"}[action]
        challenge = f'Bearer realm="{self._realm}",service="{self._service}"'
        if scope:
            challenge += f',scope="{scope}:{wanted}"'
        raise Refusal(401, "UNAUTHORIZED", "authentication required", headers={"WWW-Authenticate": challenge})
