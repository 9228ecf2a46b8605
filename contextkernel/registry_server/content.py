"""What the answers to requests are made of, as values and as a port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from contextkernel.model.digest import Digest


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A manifest of a repository; as a document it is the descriptor that a list of referrers has.

    Attributes:
        media_type: as it was pushed.
        digest: of its bytes.
        size: of them.
        artifact_type: of an artifact: its own, else the type of its configuration.
        annotations: of the manifest.
    """

    media_type: str
    digest: Digest
    size: int
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None


class Content(Protocol):
    """What a registry has. Methods may take a while; they are called on threads.

    Names and digests were checked before.
    """

    #: things can be pushed and deleted
    writable: bool

    def repositories(self) -> list[str]:
        """Names of the repositories that have a manifest, sorted."""
        ...

    def tags(self, name: str) -> list[str] | None:
        """Tags, sorted; ``None`` if there is no such repository."""
        ...

    def manifest(self, name: str, reference: Digest | str) -> tuple[Entry, bytes] | None:
        """A manifest by digest or tag, with its bytes."""
        ...

    def blob(self, name: str, digest: Digest) -> str | None:
        """Path of the file of a blob of this repository."""
        ...

    def referrers(self, name: str, subject: Digest, after: str = "") -> Iterator[Entry]:
        """The manifests that name ``subject`` as theirs, by digest, from the first one after ``after``; one at a time.

        There are none in an unknown repository.
        """
        ...
