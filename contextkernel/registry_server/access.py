"""Who may ask: everybody who can connect to loopback may be another user of this machine.

Without a password only programs of this user and of root are answered: the kernel's table of connections (proc(5),
``/proc/net/tcp``) says whose socket the other end is. And a web page must not be able to let a browser ask.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import socket
import struct
from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from contextkernel.registry_server.refusals import Refusal

_ESTABLISHED = "01"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_ALWAYS = 0  # root may do everything anyway
_COST = {"n": 1 << 14, "r": 8, "p": 1}


class Guard(Protocol):
    """Decides about requests by what they bring with them."""

    def check(self, authorization: str, method: str, name: str) -> None:
        """Let a request pass or not.

        Args:
            authorization: the header, or empty.
            method: of HTTP.
            name: of the repository, or empty.

        Raises:
            Refusal: 401 with a challenge, or 403.
        """
        ...


class Open:
    """Everybody who got this far."""

    def check(self, authorization: str, method: str, name: str) -> None:
        """See ``Guard``."""


class PasswordHash(msgspec.Struct, frozen=True):
    """A user, and a password that cannot be read back (scrypt, RFC 7914)."""

    user: str
    salt: str
    hash: str

    @classmethod
    def of(cls, user: str, password: str) -> PasswordHash:
        """Hash a password with a new salt."""
        salt = secrets.token_hex(16)
        return cls(user, salt, _scrypt(_bytes(password), salt))

    def fits(self, user: bytes, password: bytes) -> bool:
        """Whether it is they; takes the same time for a wrong user."""
        same = hmac.compare_digest(_scrypt(password, self.salt), self.hash)
        return hmac.compare_digest(user, _bytes(self.user)) and same


class PasswordGuard:
    """One user with a password (RFC 7617).

    Args:
        known: who is let in.
        realm: to show.
    """

    def __init__(self, known: PasswordHash, realm: str = "contextkernel") -> None:
        self._known = known
        self._challenge = {"WWW-Authenticate": f'Basic realm="{realm}", charset="UTF-8"'}
        self._key = secrets.token_bytes(32)
        self._passed = b""  # of the header that was last found right: scrypt is slow on purpose

    def check(self, authorization: str, method: str, name: str) -> None:
        """See ``Guard``."""
        del method, name
        mark = hmac.digest(self._key, authorization.encode(), "sha256")
        if self._passed and hmac.compare_digest(mark, self._passed):
            return
        if not self._right(authorization):
            raise Refusal(401, "UNAUTHORIZED", "a user name and a password are needed", headers=self._challenge)
        self._passed = mark

    def _right(self, authorization: str) -> bool:
        kind, _, text = authorization.partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            user, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
            return bool(colon) and self._known.fits(user, password)
        except ValueError:
            return False


def check_browser(headers: Mapping[str, str]) -> None:
    """Refuse what a browser sends for a web page.

    No client of registries says ``Origin``; and a name of somebody's own that leads here (DNS rebinding) is not a name
    of this registry.

    Raises:
        Refusal: DENIED.
    """
    host = headers.get("Host", "")
    name = host.rpartition(":")[0] if host[-1:].isdigit() and ":" in host else host
    if "Origin" in headers or name.lower() not in _LOOPBACK:
        raise Refusal(403, "DENIED", "this registry is for programs on this machine, under a name of loopback")


class Peers:
    """Whose programs are answered.

    Args:
        users: their ids; root is always one of them.
        tables: of connections, to replace the kernel's in tests.
    """

    def __init__(self, users: Collection[int], tables: tuple[str, ...] = ("/proc/net/tcp", "/proc/net/tcp6")) -> None:
        self._users = {*users, _ALWAYS}
        self._tables = tables

    @property
    def known(self) -> bool:
        """Whether this kernel tells whose a connection is."""
        return all(os.access(table, os.R_OK) for table in self._tables[:1])

    def allowed(self, ours: tuple[str, int], theirs: tuple[str, int]) -> bool:
        """Whether the other end of a connection is a socket of one of the users.

        A socket that its program has closed counts as nobody's: the kernel shows root as its owner.

        Args:
            ours: address and port of our end.
            theirs: of the other one.
        """
        here, there = _written(*theirs), _written(*ours)
        for table in self._tables:
            try:
                with open(table, encoding="ascii") as lines:
                    for line in lines:
                        words = line.split()
                        if len(words) > 9 and _short(words[1]) in here and _short(words[2]) in there:
                            return words[3] == _ESTABLISHED and words[9] != "0" and int(words[7]) in self._users
            except FileNotFoundError:
                continue
        return False


def _written(address: str, port: int) -> tuple[str, ...]:
    """An end as the tables write it: groups of four bytes in this machine's order."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(kind, address)
    groups = [f"{struct.unpack('=I', packed[at : at + 4])[0]:08X}" for at in range(0, len(packed), 4)]
    return (f"{''.join(groups)}:{port:04X}",)


_MAPPED = f"{0:016X}{struct.unpack('=I', bytes([0, 0, 0xFF, 0xFF]))[0]:08X}"


def _short(end: str) -> str:
    """An IPv4 address that a socket of IPv6 uses, as IPv4."""
    return end.removeprefix(_MAPPED)


def _scrypt(password: bytes, salt: str) -> str:
    return hashlib.scrypt(password, salt=bytes.fromhex(salt), dklen=32, **_COST).hex()


def _bytes(text: str) -> bytes:
    """As it was typed, whatever the bytes were."""
    return text.encode("utf-8", "surrogateescape")
