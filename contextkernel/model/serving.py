"""Registries of our own, as values."""

from __future__ import annotations

import re

import msgspec

from contextkernel.errors import InvalidInput

#: the name of the registry of those who name none
DEFAULT_NAME = "registry"
#: the port that docker's registry has, and all examples
DEFAULT_PORT = 5000
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}\Z")


class RegistryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A registry of a store as it is listed.

    Attributes:
        name: unique in the store.
        address: host and port, as they stand in an image's name: ``127.0.0.1:5000``; where it was, if it is stopped.
        running: it answers.
        read_only: it shows the images of the store, and nothing can be pushed.
        user: who is let in with a password; empty if it has none.
        tags: names of images in it; of a read-only one the names it shows.
        size: bytes of its files.
        created: nanoseconds since the epoch.
    """

    name: str
    address: str
    running: bool
    read_only: bool = False
    user: str = ""
    tags: int = 0
    size: int = 0
    created: int = 0

    @property
    def reach(self) -> str:
        """Who is answered, in words."""
        return f"whoever has the password of {self.user}" if self.user else "programs of this user and root"


class RegistryImageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A tag in a registry.

    Attributes:
        registry: address of the registry.
        repository: without it.
        tag: of the image or index.
        digest: of its manifest.
        kind: ``image`` or ``index``.
        size: bytes of configuration and layers as they are kept there, of an index of all its images, each blob once.
        pushed: when the tag was set, nanoseconds since the epoch.
    """

    registry: str
    repository: str
    tag: str
    digest: str
    kind: str
    size: int
    pushed: int


def check_registry_name(name: str) -> str:
    """``name``, if it may name a registry of a store.

    Raises:
        InvalidInput: otherwise.
    """
    if not _NAME.match(name):
        raise InvalidInput(
            f"{name!r} cannot name a registry", hint="letters, digits and _ . - after the first, 63 characters at most"
        )
    return name
