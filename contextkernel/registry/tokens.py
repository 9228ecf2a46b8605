"""Answering a registry's ``WWW-Authenticate``: which token for which scope, from where, and how long it is good.

Sources: Docker's token authentication specification (``token``, ``oauth``, ``scope``), RFC 6750, RFC 9110 section 11.
Everything here is values and rules; requests are made by :mod:`contextkernel.registry.connection`.
"""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlencode

import msgspec

from contextkernel.registry.credentials import Credentials

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)(?:\s*,|\s+|\Z)")
_FIELD = re.compile(r'\s*,?\s*([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_LIFE = 60.0  # seconds; what a token is good for where its server does not say (token specification)
_EARLY = 10.0  # seconds; a token is not used any more that long before its end
_CLIENT = "contextkernel"
_MAX_HEADER = 8192


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry asks for.

    Attributes:
        scheme: ``bearer``, ``basic``, or another one, in lower case.
        realm: URL of the token server (bearer).
        service: its name for the registry.
        scopes: what the registry says the request needs.
        error: ``invalid_token`` or ``insufficient_scope``, if a token was shown.
    """

    scheme: str
    realm: str = ""
    service: str = ""
    scopes: tuple[str, ...] = ()
    error: str = ""


class Token(msgspec.Struct, frozen=True):
    """A bearer token; its text is not in what is printed of it."""

    text: str
    until: float

    def __repr__(self) -> str:
        return f"Token(until={self.until})"

    __str__ = __repr__


class TokenAnswer(msgspec.Struct, frozen=True):
    """What token servers answer; not to be printed."""

    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None
    issued_at: str | None = None
    refresh_token: str | None = None


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Read ``WWW-Authenticate``, in which there may be several challenges; what cannot be understood is left out."""
    out: list[Challenge] = []
    text = header[:_MAX_HEADER]
    while match := _SCHEME.match(text):
        text = text[match.end() :]
        fields: dict[str, str] = {}
        while found := _FIELD.match(text):
            value = re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]
            fields.setdefault(found[1].lower(), value)
            text = text[found.end() :]
        out.append(
            Challenge(
                scheme=match[1].lower(),
                realm=fields.get("realm", ""),
                service=fields.get("service", ""),
                scopes=tuple(fields.get("scope", "").split()),
                error=fields.get("error", ""),
            )
        )
        text = text.lstrip(" ,")
    return tuple(out)


def join_scopes(*groups: tuple[str, ...]) -> tuple[str, ...]:
    """One scope for each resource, with all actions that are asked for, in a fixed order."""
    actions: dict[str, set[str]] = {}
    for scope in (scope for group in groups for scope in group):
        resource, _, asked = scope.rpartition(":")
        if resource:
            actions.setdefault(resource, set()).update(action for action in asked.split(",") if action)
    return tuple(f"{resource}:{','.join(sorted(actions[resource]))}" for resource in sorted(actions))


def token_query(challenge: Challenge, scopes: tuple[str, ...], *, user: str = "", offline: bool = False) -> str:
    """The query of a GET for a token.

    Args:
        challenge: has service.
        scopes: one parameter each.
        user: the account the token is for.
        offline: ask for an identity token too (``login``).
    """
    pairs = [("service", challenge.service)] if challenge.service else []
    pairs += [("scope", scope) for scope in scopes]
    if user:
        pairs.append(("account", user))
    if offline:
        pairs += [("offline_token", "true"), ("client_id", _CLIENT)]
    return urlencode(pairs)


def token_form(challenge: Challenge, scopes: tuple[str, ...], credentials: Credentials, *, offline: bool) -> bytes:
    """The body of a POST for a token (OAuth 2): with the identity token, else with the password."""
    pairs = [("service", challenge.service), ("client_id", _CLIENT), ("scope", " ".join(scopes))]
    if credentials.identity_token:
        pairs += [("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token)]
    else:
        pairs += [("grant_type", "password"), ("username", credentials.username), ("password", credentials.password)]
    if offline:
        pairs.append(("access_type", "offline"))
    return urlencode([pair for pair in pairs if pair[1]]).encode("ascii")


def token_of(answer: TokenAnswer, now: float) -> Token | None:
    """The token of an answer, with its end by this machine's clock; ``None`` if there is none that a header can hold.

    A server's ``issued_at`` is believed only where it is not later than now: clocks differ.
    """
    text = answer.token or answer.access_token or ""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        return None
    life = max(_LIFE, min(answer.expires_in or _LIFE, 365 * 86400.0))
    issued = now
    try:
        moment = datetime.fromisoformat(answer.issued_at) if answer.issued_at else None
        if moment is not None and moment.tzinfo is not None:
            issued = min(now, max(moment.timestamp(), now - life / 2))
    except (ValueError, OverflowError):
        pass
    return Token(text, issued + life - _EARLY)
