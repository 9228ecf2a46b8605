"""A registry as a whole: whether it answers, what it has, and who one is there."""

from __future__ import annotations

from collections.abc import Iterator

from contextkernel.errors import RegistryRefused, RegistryUnreachable
from contextkernel.registry.connection import Connection
from contextkernel.registry.credentials import Credentials
from contextkernel.registry.listing import names
from contextkernel.registry.retrying import Tries
from contextkernel.registry.settings import Endpoint


class Registry:
    """A registry as a whole.

    Args:
        endpoint: where it answers.
        name: as in references.
        tries, credentials: as for :class:`Repository`.
    """

    def __init__(
        self, endpoint: Endpoint, name: str, *, tries: Tries | None = None, credentials: Credentials | None = None
    ) -> None:
        self.name = name
        self.connection = Connection(endpoint, name, tries=tries, credentials=credentials)

    def ping(self) -> bool:
        """Whether somebody answers who speaks this protocol, with or without wanting a login."""
        try:
            self.connection.login()
        except RegistryUnreachable:
            return False
        except RegistryRefused as problem:
            return problem.status in (401, 403)
        return True

    def catalog(self) -> Iterator[str]:
        """The names of the registry's repositories, page by page.

        Raises:
            RegistryProblem: many registries do not tell, or not everybody.
        """
        url = f"{self.connection.base}/v2/_catalog"
        return names(self.connection, url, "catalog", "repositories", ("registry:catalog:*",))

    def login(self) -> str:
        """Show the credentials.

        Returns:
            An identity token to be kept instead of the password; empty if the registry gives none.

        Raises:
            RegistryUnauthorized: they are not right. RegistryProblem: see the tree of errors.
        """
        self.connection.offline = True
        self.connection.login()
        return self.connection.identity_token
