"""The verbs of the fake engine about registries elsewhere: canned rows, recorded calls without secrets."""

from __future__ import annotations

from collections.abc import Mapping

from contextkernel.errors import InvalidInput, RegistryUnauthorized
from contextkernel.model.given import Filters
from contextkernel.model.logins import LoginResult, SearchRow
from contextkernel.testing.fake_calls import FakeCalls


def search_rows() -> tuple[SearchRow, ...]:
    """An official image and somebody's."""
    return (
        SearchRow(
            name="ubuntu", description="Ubuntu is a Debian-based Linux operating system.", stars=17_000, official=True
        ),
        SearchRow(name="ada/ubuntu-lab", description="For the lab", stars=3),
    )


class FakeRegistries(FakeCalls):
    """Has the methods of :class:`contextkernel.engine.registries.Registries`.

    Attributes:
        passwords: the one of each user; who is not there has ``password``.
        logins: user by registry.
    """

    passwords: Mapping[str, str] = {}
    logins: Mapping[str, str] = {}

    def login(self, username: str = "", password: str = "", *, registry: str = "") -> LoginResult:
        """Check the password; keep the user."""
        self._note("login", username=username, registry=registry)
        name = registry or "docker.io"
        if not username and name not in self.logins:
            raise InvalidInput(f"there are no credentials for {name}", hint="give a user name and a password")
        user = username or self.logins[name]
        if password != self.passwords.get(user, "password" if username else ""):
            raise RegistryUnauthorized(f"{name}: the registry refuses", hint=f"log in again: login {name}", status=401)
        self.logins = {**self.logins, name: user}
        return LoginResult(registry=name, username=user, path="/home/ada/.docker/config.json")

    def logout(self, registry: str = "") -> bool:
        """Forget the user."""
        self._note("logout", registry=registry)
        name = registry or "docker.io"
        found = name in self.logins
        self.logins = {key: user for key, user in self.logins.items() if key != name}
        return found

    def known_user(self, registry: str = "") -> str | None:
        """The user that was kept."""
        return self.logins.get(registry or "docker.io")

    def search(self, term: str, *, limit: int = 25, filters: Filters | None = None) -> tuple[SearchRow, ...]:
        """The rows that have the term in their name."""
        self._note("search", term=term, limit=limit, filters=dict(filters or {}))
        return tuple(row for row in search_rows() if term in row.name)[:limit]
